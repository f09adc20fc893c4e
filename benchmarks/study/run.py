"""Run the study: validate every cell, and write its result to benchmarks/results/real/NAME.json.

Trials are stored as they end. A stopped run resumes, and more seeds are added to the stored ones.

The first study, of small models, is `--set study`; its results are in benchmarks/results/study.

Run: python benchmarks/study/run.py [--seeds 2] [--half reporting] [--cells probe-words-5 layer-phones …] [--list]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1]))

from common import DATA, load, provenance, save
from study import loes, real
from study.cells import CELLS, FOLDER, Cell
from voxrank.groundtruth.validation import validate
from voxrank.groundtruth.verdict import Validation
from voxrank.report.progress import watch
from voxrank.scores.names import DEFAULT

HELD_OUT = ("accuracy", "likelihood", "balanced")
EVIDENCE = ("logme", "knn", "ncm", "loo", "hscore", "ridge", "pwcca", "cka", "rankme", *loes.NAMES)
SCORES = (*HELD_OUT, "combined", *EVIDENCE)
TIMED_SCORES = (*HELD_OUT, *EVIDENCE, "cca")
OF_SOURCE = ("swd", "frechet")
SETS: dict[str, Callable[[], tuple[Cell, ...]]] = {real.FOLDER: real.cells, "study": lambda: CELLS}
"""Folder of the results → its cells."""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", nargs="+", default=[], metavar="NAME", help="default: all cells of the set")
    parser.add_argument("--set", choices=SETS, default=real.FOLDER, help="cells of real weights, or the first study")
    parser.add_argument("--half", choices=("development", "reporting"), help="run the cells of one half alone")
    parser.add_argument("--draw", type=int, default=0, help="of the examples of labels; others than 0 are kept apart")
    parser.add_argument("--list", action="store_true", help="name the cells and their halves")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    loes.register()
    folder = arguments.set
    for cell in SETS[folder]():
        if cell.name not in (arguments.cells or [cell.name]) or cell.half != (arguments.half or cell.half):
            continue
        if arguments.list:
            print(f"{cell.name}: {cell.half}, {cell.setting}")
            continue
        started = time.perf_counter()
        result = run(cell, arguments.seeds, arguments.draw)
        name = f"draws/{cell.name}-{arguments.draw}" if arguments.draw else cell.name
        save(f"{folder}/{name}", written(cell, result))
        print(f"{cell.name}: done in {time.perf_counter() - started:.0f} s", flush=True)


def run(cell: Cell, seeds: int, draw: int) -> Validation:
    """Validate one cell."""
    if draw and cell.sequence:
        raise SystemExit(f"{cell.name} has no examples to draw")
    data = cell.data(draw) if draw else cell.data()
    scores = [DEFAULT, *(TIMED_SCORES if cell.sequence else SCORES)]
    if cell.source is not None:
        scores += OF_SOURCE
    with watch(Console(stderr=True)) as progress:
        return validate(
            data,
            made(cell.models),
            tuning=replace(cell.tuning, seeds=seeds),
            source=cell.source() if cell.source else None,
            scores=scores,
            layers=cell.layers,
            encoder=cell.encoder,
            sequence=cell.sequence,
            folder=FOLDER / "trials" / cell.name,
            progress=progress,
        )


def made(models: Sequence[str]) -> list[str]:
    """Return the available models; conformer.py and hubert.py train the study's own."""
    missing = [spec for spec in models if spec.startswith("/") and not (Path(spec) / "config.json").exists()]
    for spec in missing:
        print(f"{spec} is not made yet, and left out", flush=True)
    return [spec for spec in models if spec not in missing]


def written(cell: Cell, result: Validation) -> dict[str, Any]:
    """Return the result to commit, without the machine's paths, with its provenance."""
    text = json.dumps(json.loads(result.to_json())).replace(str(FOLDER), "study").replace(str(DATA), "data")
    content = json.loads(text)
    content["skipped"] = content["skipped"][:20]
    found = {"made": provenance(), "cell": cell.name, "setting": cell.setting, "half": cell.half, **content}
    before = default_before(found)
    return found | ({"before": before} if before else {})


def default_before(content: dict[str, Any]) -> dict[str, Any] | None:
    """Return the agreement of the default of version 0.1: where a block is tuned, the stored one of that version."""
    if content["strategy"] == "layer":
        stored: dict[str, Any] | None = load(f"{real.FOLDER}/{content['cell']}").get("before")
        return stored
    name = "logme" if content["cell"].endswith("-5") else "combined"  # few examples of a class, or many
    return next((one for one in content["judged"] if one["name"] == name), None)


if __name__ == "__main__":
    main()
