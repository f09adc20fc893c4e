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
MAX_BYTES = 1 << 16
"""Maximum length of a manifest's first line that is read."""


def complete_model(incomplete: str) -> list[str]:
    """Complete known models, and local folders and files that contain a model."""
    return [*_matching(model_names(), incomplete), *_local_models(incomplete)]


def complete_hub_model(incomplete: str) -> list[str]:
    """Complete models in the local cache of the hub."""
    return _matching(cached_hub_ids(), incomplete)


def complete_family(incomplete: str) -> list[str]:
    """Complete families of the catalogue."""
    from voxrank.encoders.catalogue import read_catalogue

    return _matching(sorted({model.family for model in read_catalogue() if model.family is not None}), incomplete)


def complete_licence(incomplete: str) -> list[str]:
    """Complete licences of the catalogue."""
    from voxrank.encoders.catalogue import OPEN, read_catalogue

    known = sorted({model.licence for model in read_catalogue() if model.licence is not None})
    return _matching((OPEN, *known), incomplete)


def complete_speech(incomplete: str) -> list[str]:
    """Complete the languages of the speech that models of the catalogue were trained on."""
    from voxrank.encoders.catalogue import MANY_LANGUAGES, read_catalogue

    known = {code for model in read_catalogue() for code in model.languages}
    return _matching(sorted(known - {MANY_LANGUAGES}), incomplete)


def complete_order(incomplete: str) -> list[str]:
    """Complete orders of the catalogue."""
    from voxrank.encoders.published import order_names

    return _matching(order_names(), incomplete)


def complete_score(incomplete: str) -> list[str]:
    """Complete scores, including those of plug-ins."""
    from voxrank.scores.names import NAMES

    return _matching((*NAMES, *plugin_names("scores")), incomplete)


def complete_aligner(incomplete: str) -> list[str]:
    """Complete aligners, and the models of those that take a model."""
    kind, colon, model = incomplete.partition(":")
    if colon and kind in ("flat", "ctc", "head"):
        return [f"{kind}:{name}" for name in complete_model(model)]
    return _matching(("flat", "flat:", "ctc:", "head:", "uniform"), incomplete)


def complete_labels(incomplete: str) -> list[str]:
    """Complete the labels of `--against`."""
    return ["jitter"] if incomplete and "jitter".startswith(incomplete) else complete_aligner(incomplete)


def complete_device(incomplete: str) -> list[str]:
    """Complete device names, without checking which devices exist, which would take seconds."""
    return _matching(("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu"), incomplete)


def complete_unit(incomplete: str) -> list[str]:
    """Complete units of transcripts."""
    return _matching(("char", "phone", "word", "tokens:"), incomplete)


def complete_layers(incomplete: str) -> list[str]:
    """Complete layer lists that every model supports."""
    return _matching(("all", "all,mean", "all,mean,concat", "-1", "mean", "concat"), incomplete)


def complete_column(ctx: Any, incomplete: str) -> list[str]:
    """Complete columns of the manifest on the command line."""
    data = ctx.params.get("data")
    return _matching(columns_of(Path(data)), incomplete) if isinstance(data, str) else []


def columns_of(manifest: Path) -> tuple[str, ...]:
    """Return the columns of a table; empty if the file is not a table or cannot be read."""
    separator = COLUMNS.get(manifest.suffix.lower())
    with suppress(OSError, UnicodeDecodeError, csv.Error):
        if separator is not None and manifest.is_file():
            with manifest.open(encoding="utf-8-sig", newline="") as file:
                line = file.readline(MAX_BYTES)
            return tuple(name.strip() for name in next(csv.reader([line], delimiter=separator), []))
    return ()


def _matching(names: Sequence[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _local_models(incomplete: str) -> Iterator[str]:
    """Yield .nemo files, folders that contain a checkpoint, and their parents, spelled as the user began them."""
    parent, slash, prefix = incomplete.rpartition("/")
    with suppress(OSError):
        for path in sorted(Path(f"{parent}{slash}" or ".").iterdir()):
            if path.name.startswith(prefix) and path.suffix == ".nemo":
                yield f"{parent}{slash}{path.name}"
            elif path.name.startswith(prefix) and path.is_dir() and not path.name.startswith("."):
                if (path / "config.json").is_file():
                    yield f"{parent}{slash}{path.name}"
                elif slash:
                    yield f"{parent}{slash}{path.name}/"


@contextmanager
def colons_joined() -> Iterator[None]:
    """Join the words that bash splits at colons, and print completions without the part before the last colon.

    Bash ends a word at a colon. "pack:wh" arrives as three words, of which bash replaces only the last.
    """
    words, index = os.environ.get("COMP_WORDS"), os.environ.get("COMP_CWORD", "")
    if os.environ.get(VARIABLE) != "complete_bash" or words is None or not index.isdigit():
        yield
        return
    joined, new_index, prefix = join_colons(words.split("\n"), int(index))
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(new_index)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        lines = printed.getvalue().split("\n")
        sys.stdout.write("\n".join(line.removeprefix(prefix) for line in lines))


def join_colons(words: list[str], index: int) -> tuple[list[str], int, str]:
    """Join words around colons.

    Args:
        words: words as bash splits them.
        index: index of the word to complete.

    Returns:
        The words, the index of the word to complete, and the prefix of that word that bash does not replace.

    Example:
        >>> join_colons(["voxrank", "rank", "-m", "pack", ":", "wh"], 5)
        (['voxrank', 'rank', '-m', 'pack:wh'], 3, 'pack:')
    """
    joined: list[str] = []
    new_index = len(words)
    for position, word in enumerate(words):
        if position and (word.startswith(":") or (word and words[position - 1].endswith(":"))):
            joined[-1] += word
        else:
            joined.append(word)
        new_index = len(joined) - 1 if position == index else new_index
    completed = joined[new_index] if new_index < len(joined) else ""
    return joined, new_index, completed[: completed.rfind(":") + 1]
