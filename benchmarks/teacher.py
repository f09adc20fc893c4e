"""Measure how well each layer tells words, and voices: `python benchmarks/teacher.py`.

The teacher of a speech codec should know what is said, and little of who says it (docs/recipes). The script ranks the
layers of two Whisper models, and their mean, for the words of arabic-commands, and probes each for the speaker.
"""

from __future__ import annotations

from typing import Any

import voxrank as vr
from common import DATA, provenance, save

SET = "arabic-commands"
MODELS = ("pack:whisper-tiny.en", "pack:whisper-base")


def measure(models: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for each layer: its accuracy for words, and that of a head for speakers."""
    ranking = vr.rank(
        DATA / SET / "manifest.csv",
        models,
        layers="all,mean",
        besides=["speaker"],
        encoder=vr.EncoderOptions(whisper_window="fit"),
    )
    voices = {(one.model, one.layer): one for one in ranking.details.knowledge}
    return [
        {
            "model": layer.model,
            "layer": layer.layer,
            "word": round(layer.scores["accuracy"].value, 4),
            "speaker": round(voices[layer.model, layer.layer].accuracy, 4),
            "chance": round(voices[layer.model, layer.layer].chance, 4),
        }
        for layer in ranking.layers
    ]


def main() -> None:
    rows = measure(MODELS)
    save("teacher", {"made": provenance(), "set": SET, "rows": rows})
    for row in rows:
        print(f"{row['model']} {row['layer']}: words {row['word']:.3f}, speakers {row['speaker']:.3f}")


if __name__ == "__main__":
    main()
