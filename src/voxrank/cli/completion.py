"""Shell completion of names that are known without heavy imports."""

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
"""Environment variable with which a shell requests completion, as typer names it."""
COLUMNS = {".csv": ",", ".tsv": "\t"}
"""File ending of a manifest → separator of its columns."""
MOST_BYTES = 1 << 16
"""Maximum length of a manifest's first line that is read."""


def complete_model(incomplete: str) -> list[str]:
    """Complete known models, and local folders that contain a model."""
    return [*_starting(model_names(), incomplete), *_local_models(incomplete)]


def complete_hub_model(incomplete: str) -> list[str]:
    """Complete models in the local cache of the hub."""
    return _starting(cached_hub_ids(), incomplete)


def complete_score(incomplete: str) -> list[str]:
    """Complete scores, including those of plug-ins."""
    from voxrank.scores.names import NAMES

    return _starting((*NAMES, *plugin_names("scores")), incomplete)


def complete_aligner(incomplete: str) -> list[str]:
    """Complete aligners, and the models of those that take a model."""
    kind, colon, model = incomplete.partition(":")
    if colon and kind in ("flat", "ctc", "head"):
        return [f"{kind}:{name}" for name in complete_model(model)]
    return _starting(("flat", "flat:", "ctc:", "head:", "uniform"), incomplete)


def complete_labels(incomplete: str) -> list[str]:
    """Complete the labels of `--against`."""
    return ["jitter"] if incomplete and "jitter".startswith(incomplete) else complete_aligner(incomplete)


def complete_device(incomplete: str) -> list[str]:
    """Complete device names, without checking which devices exist, which would take seconds."""
    return _starting(("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu"), incomplete)


def complete_unit(incomplete: str) -> list[str]:
    """Complete units of transcripts."""
    return _starting(("char", "phone", "word", "tokens:"), incomplete)


def complete_layers(incomplete: str) -> list[str]:
    """Complete layer lists that every model supports."""
    return _starting(("all", "all,mean", "all,mean,concat", "-1", "mean", "concat"), incomplete)


def complete_column(ctx: Any, incomplete: str) -> list[str]:
    """Complete columns of the manifest on the command line."""
    data = ctx.params.get("data")
    return _starting(columns_of(Path(data)), incomplete) if isinstance(data, str) else []


def columns_of(manifest: Path) -> tuple[str, ...]:
    """Return the columns of a table; empty if the file is not a table or cannot be read."""
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
    """Yield folders that contain a checkpoint, and parents of such folders, spelled as the user began them."""
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
    """Join the words that bash splits at colons, and print completions without the part before the last colon.

    Bash ends a word at a colon. "pack:wh" arrives as three words, of which bash replaces only the last.
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
    """Join words around colons.

    Args:
        words: words as bash splits them.
        place: index of the word to complete.

    Returns:
        The words, the index of the word to complete, and the prefix of that word that bash does not replace.

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
