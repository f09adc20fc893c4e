"""A reader of a small format of data sets, with a line for each clip, and a line where another speaker begins.

::

    # anna
    yes  clips/0001.wav
    no   clips/0002.wav
    # ben
    yes  clips/0003.wav

`voxrank rank commands.spoken …` reads this format because of the ending ".spoken"; `voxrank rank spoken:anything.txt …`
reads a file with any name.
"""

from __future__ import annotations

from pathlib import Path

from voxrank.data.formats import Format
from voxrank.data.rows import Request, Row, build_dataset
from voxrank.data.utterance import Dataset, Skipped

COLUMNS = ("path", "label", "speaker")


def matches(source: str) -> bool:
    """Return whether a path has this format; the check is cheap and raises nothing."""
    return source.lower().endswith(".spoken") and Path(source).is_file()


def read(source: str, request: Request) -> Dataset:
    """Read the data set. Unusable lines are skipped, with reasons."""
    rows: list[Row] = []
    skipped: list[Skipped] = []
    speaker = None
    for number, line in enumerate(Path(source).read_text(encoding="utf-8").splitlines(), start=1):
        label, _, path = line.strip().partition(" ")
        where = f"line {number}"
        if label == "#":
            speaker = path.strip()
        elif path:
            rows.append(Row(where, dict(zip(COLUMNS, (path.strip(), label, speaker), strict=True))))
        elif label:
            skipped.append(Skipped(f"{Path(source).name}, {where}", f"expected a label and a path, got {label!r}"))
    return build_dataset(Path(source), COLUMNS, rows, skipped, request)


FORMAT = Format("spoken lists", matches, read)
"""The format to which the entry point refers."""
