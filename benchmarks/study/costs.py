"""Measure the cost of the default ranking of each cell: forward passes, alignment, and its one score.

`run.py` times all scores of the study together; this script measures how long a user of the default waits.

Run: python benchmarks/study/costs.py [--cells conformer-de …]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))

import voxrank
from common import load, provenance, save
from study.cells import CELLS, Cell
from study.run import made

NAME = "study/costs"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=[cell.name for cell in CELLS], metavar="NAME")
    wanted = parser.parse_args(words).cells
    torch.set_num_threads(1)
    result = load(NAME) or {"cells": {}}
    for cell in (cell for cell in CELLS if cell.name in wanted):
        result["cells"][cell.name] = cost(cell)
        result["made"] = provenance()
        save(NAME, result)
        print(cell.name, result["cells"][cell.name], flush=True)


def cost(cell: Cell) -> dict[str, Any]:
    """Return the seconds of a ranking without options, on the training utterances."""
    data = cell.data()
    found = voxrank.rank(
        replace(data, utterances=tuple(one for one in data.utterances if one.split == "train")),
        made(cell.models),
        layers=cell.layers,
        encoder=cell.encoder,
        sequence=cell.sequence,
        use=cell.tuning.use,
    )
    return {"score": found.options["scores"][0], **{k: round(v, 4) for k, v in asdict(found.cost).items()}}


if __name__ == "__main__":
    main()
