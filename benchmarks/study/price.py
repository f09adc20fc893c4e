"""Measure what a ranking costs beside the fine-tuning that it replaces, for one model on recorded transcripts.

Some minutes of telephone prompts are ranked by phones: forward passes, alignment and scoring. The same model is then
tuned on them, one block and as a whole, for one epoch and for three; the difference is the time of an epoch.
Fine-tuning takes epochs × candidates × seeds as long. The size of the data changes both alike.

Run: python benchmarks/study/price.py
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch

sys.path.append(str(Path(__file__).parents[1]))

import voxrank
from common import provenance, save
from study.cells import prompts
from voxrank.config import EncoderOptions, SequenceOptions, TuningOptions

NAME = "price"
MODEL = "pack:whisper-base"
BLOCK = "3"
SEQUENCE = SequenceOptions(unit="phone", language="en-us")
ENCODER = EncoderOptions(device="cpu", whisper_window="fit")


def main() -> None:
    torch.set_num_threads(1)
    data = prompts()
    train = replace(data, utterances=tuple(one for one in data.utterances if one.split == "train"))
    ranking = voxrank.rank(train, [MODEL], encoder=ENCODER, sequence=SEQUENCE, details="none")
    one, whole = epoch("layer", BLOCK), epoch("full", "all")
    result = {
        "made": provenance(),
        "model": MODEL,
        "layers": len(ranking.layers),
        "audio_s": ranking.data.seconds,
        "rank": asdict(ranking.cost),
        "block": one,
        "whole": whole,
    }
    save(NAME, result)
    print(result)


def epoch(strategy: Literal["layer", "full"], layers: str) -> dict[str, Any]:
    """Return the seconds of an epoch of tuning, and of all that comes before and after the epochs."""
    seconds = []
    for epochs in (1, 3):
        tuning = TuningOptions(strategy=strategy, epochs=epochs, patience=epochs, seeds=1)
        found = voxrank.validate(prompts(), [MODEL], tuning=tuning, layers=layers, encoder=ENCODER, sequence=SEQUENCE)
        seconds.append(found.truth[0].seconds)
    each = (seconds[1] - seconds[0]) / 2
    return {"epoch_s": each, "before_s": seconds[0] - each, "train": found.parts.train, "train_s": found.parts.train_s}


if __name__ == "__main__":
    main()
