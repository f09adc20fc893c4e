"""What shells complete: names that are known without importing what they stand for."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from voxrank._support.plugins import plugin_names
from voxrank.encoders.known import cached_hub_ids, model_names

VARIABLE = "_VOXRANK_COMPLETE"
"""By which a shell asks, as typer names it."""
COLUMNS = {".csv": ",", ".tsv": "\t"}
"""Ending of a manifest → what parts its columns."""
MOST_BYTES = 1 << 16
"""Of a manifest's first line."""


def complete_model(incomplete: str) -> list[str]:
    """Models that are known, and folders here that hold one."""
    return [*_starting(model_names(), incomplete), *_local_models(incomplete)]


def complete_hub_model(incomplete: str) -> list[str]:
    """Models of the hub that lie in its cache here."""
    return _starting(cached_hub_ids(), incomplete)


def complete_score(incomplete: str) -> list[str]:
    """Scores, those of plug-ins too."""
    from voxrank.cli.rank import SCORES

    return _starting((*SCORES, *plugin_names("scores")), incomplete)


def complete_aligner(incomplete: str) -> list[str]:
    """Aligners, and the models of those that take one."""
    kind, colon, model = incomplete.partition(":")
    if colon and kind in ("flat", "ctc", "head"):
        return [f"{kind}:{name}" for name in complete_model(model)]
    return _starting(("flat", "flat:", "ctc:", "head:", "uniform"), incomplete)


def complete_labels(incomplete: str) -> list[str]:
    """Other labels to compare with."""
    return ["jitter"] if incomplete and "jitter".startswith(incomplete) else complete_aligner(incomplete)


def complete_device(incomplete: str) -> list[str]:
    """Devices, whether they are here or not: to know that takes seconds."""
    return _starting(("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu"), incomplete)


def complete_unit(incomplete: str) -> list[str]:
    """Units of transcripts."""
    return _starting(("char", "phone", "word", "tokens:"), incomplete)


def complete_layers(incomplete: str) -> list[str]:
    """Layers that every model has."""
    return _starting(("all", "all,mean", "all,mean,concat", "-1", "mean", "concat"), incomplete)


def complete_column(ctx: Any, incomplete: str) -> list[str]:
    """Columns of the manifest that was named."""
    data = ctx.params.get("data")
    return _starting(columns_of(Path(data)), incomplete) if isinstance(data, str) else []


def columns_of(manifest: Path) -> tuple[str, ...]:
    """Of a table; none where it is no table, or cannot be read."""
    between = COLUMNS.get(manifest.suffix.lower())
    with suppress(OSError, UnicodeDecodeError, csv.Error):
        if between is not None and manifest.is_file():
            with manifest.open(encoding="utf-8-sig", newline="") as file:
                line = file.readline(MOST_BYTES)
            return tuple(name.strip() for name in next(csv.reader([line], delimiter=between), []))
    return ()


def _starting(names: Sequence[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _local_models(incomplete: str) -> Iterator[str]:
    """Folders that hold a checkpoint, and folders on the way to one, spelled as they were begun."""
    parent, slash, begun = incomplete.rpartition("/")
    with suppress(OSError):
        for path in sorted(Path(f"{parent}{slash}" or ".").iterdir()):
            if path.name.startswith(begun) and path.is_dir() and not path.name.startswith("."):
                if (path / "config.json").is_file():
                    yield f"{parent}{slash}{path.name}"
                elif slash:
                    yield f"{parent}{slash}{path.name}/"


@contextmanager
def colons_joined() -> Iterator[None]:
    """Where bash asks: join what it parted at colons, and print the ends of what is found, as it then wants them.

    Bash takes a colon for the end of a word, so that "pack:wh" comes as three words, of which it replaces the last.
    """
    words, place = os.environ.get("COMP_WORDS"), os.environ.get("COMP_CWORD", "")
    if os.environ.get(VARIABLE) != "complete_bash" or words is None or not place.isdigit():
        yield
        return
    joined, at, before = join_colons(words.split("\n"), int(place))
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(at)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        lines = printed.getvalue().split("\n")
        sys.stdout.write("\n".join(line.removeprefix(before) for line in lines))


def join_colons(words: list[str], place: int) -> tuple[list[str], int, str]:
    """Words around colons as one.

    Args:
        words: as bash parts them.
        place: of the word that is completed.

    Returns:
        Words, the place of the one that is completed, and what stands in it before the part that bash completes.

    Example:
        >>> join_colons(["voxrank", "rank", "-m", "pack", ":", "wh"], 5)
        (['voxrank', 'rank', '-m', 'pack:wh'], 3, 'pack:')
    """
    made: list[str] = []
    at = len(words)
    for number, word in enumerate(words):
        if number and (word.startswith(":") or (word and words[number - 1].endswith(":"))):
            made[-1] += word
        else:
            made.append(word)
        at = len(made) - 1 if number == place else at
    whole = made[at] if at < len(made) else ""
    return made, at, whole[: whole.rfind(":") + 1]
