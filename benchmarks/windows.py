"""Measure the effect of cutting Whisper's window to the utterance, on scores and on speed.

Every layer of Whisper tiny.en and base is scored on a part of arabic-commands, once in windows of 30 s and once cut to
the utterance. The results are Spearman between the scores of the layers, the largest difference, and the ratio of
encoding times (one run after the other in the same process).

Run: python benchmarks/windows.py
"""

from __future__ import annotations

from dataclasses import replace

from scipy import stats

import voxrank
from common import DATA, provenance, save
from voxrank.config import EncoderOptions

MODELS = ("pack:whisper-tiny.en", "pack:whisper-base")
EVERY = 20
"""Step in the utterances: only every such utterance is used."""


def main() -> None:
    data = voxrank.read_dataset(DATA / "arabic-commands" / "manifest.csv", split="all")
    part = replace(data, utterances=data.utterances[::EVERY])
    rows = []
    for model in MODELS:
        full, fit = (voxrank.rank(part, [model], encoder=EncoderOptions(whisper_window=w)) for w in ("full", "fit"))
        by_layer = {x.layer: x.scores["logme"].value for x in fit.layers}
        pairs = [(x.scores["logme"].value, by_layer[x.layer]) for x in sorted(full.layers, key=lambda x: x.layer)]
        values_full, values_fit = zip(*pairs, strict=True)
        rows.append(
            {
                "model": model,
                "utterances": len(part),
                "logme_full": [round(a, 4) for a, _ in pairs],
                "logme_fit": [round(b, 4) for _, b in pairs],
                "spearman": round(float(stats.spearmanr(values_full, values_fit)[0]), 3),
                "largest_difference": round(max(abs(a - b) for a, b in pairs), 4),
                "same_best_layer": full.best.layer == fit.best.layer,
                "encode_s_full": round(full.cost.encode_s, 1),
                "encode_s_fit": round(fit.cost.encode_s, 1),
                "times_quicker": round(full.cost.encode_s / fit.cost.encode_s, 1),
            }
        )
        print(rows[-1], flush=True)
    save("windows", {"made": provenance(), "data": f"arabic-commands, one in {EVERY}", "rows": rows})


if __name__ == "__main__":
    main()
