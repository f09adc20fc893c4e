"""Options that several commands take, and where they print."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="CSV, TSV or JSONL manifest, or a folder of class folders.", show_default=False
    ),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="COLUMN", help="Column to predict. [default: label, else value]")
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Rows to use; 'all' for every row. [default: train if there is one]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps …")]
TrustOption = Annotated[
    list[str] | None,
    typer.Option("--trust-remote-code", metavar="MODEL", help="Let this hub model run its own code (repeatable)."),
]


def out() -> Console:
    """Standard output."""
    return Console(highlight=False)


def err() -> Console:
    """Standard error: progress and notes."""
    return Console(stderr=True, highlight=False)


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Send the package's log to `run.log` in `folder`."""
    handler = logging.FileHandler(folder / "run.log", mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("voxrank")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
