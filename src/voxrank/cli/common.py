"""The arguments that all commands share, and the output streams."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from voxrank._support.files import write_atomically
from voxrank.cli.commands import STANDARD_OUTPUT
from voxrank.config import OUTPUT
from voxrank.errors import OptionError, RequestError, VoxrankError, is_harmless, one_line


def checked_json(destination: str | None) -> str | None:
    """Return the value of `--json`; refuse it before the run starts if the file cannot be written.

    Raises:
        OptionError: the value is not a file that can be written.
    """
    if destination is not None and destination != STANDARD_OUTPUT:
        if not destination or Path(destination).is_dir():
            value = repr(destination) if destination else "nothing"
            raise OptionError(f"expected --json to be a file or -, got {value}; name one ending in .json")
        from voxrank.results.ranking import check_folder

        check_folder(Path(destination).parent)
    return destination


DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="CSV, TSV or JSONL manifest, folder of class folders, or Kaldi, Lhotse, WebDataset or Hugging Face data.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="[FILE]",
        callback=checked_json,
        rich_help_panel=OUTPUT,
        help="Print JSON on standard output, and nothing else there; or write it to a FILE that ends in .json.",
        show_default=False,
    ),
]


def out() -> Console:
    """Return a console on standard output."""
    return Console(highlight=False)


def err() -> Console:
    """Return a console on standard error, for progress and notes."""
    return Console(stderr=True, highlight=False)


def give_json(destination: str | None, content: str | dict[str, Any]) -> bool:
    """Print JSON, or write it to a file, according to `--json`.

    Args:
        destination: value of the option: "-" for standard output, a file, or None for neither.
        content: content to write; a string is JSON already.

    Returns:
        Whether the JSON was printed on standard output.
    """
    if destination is None:
        return False
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    if destination == STANDARD_OUTPUT:
        print_json(text)
        return True
    file = Path(destination)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.rstrip("\n") + "\n")
    return False


def print_json(text: str) -> None:
    """Print JSON on standard output.

    Escapes replace characters that the encoding lacks and characters that control terminals.
    """
    text = "\n".join(line if line.isprintable() else _in_escapes(line) for line in text.split("\n"))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=2)
    typer.echo(text.rstrip("\n"))


def _in_escapes(line: str) -> str:
    return "".join(c if is_harmless(c) else json.dumps(c)[1:-1] for c in line)


class _LineFormatter(logging.Formatter):
    """Formats each message as one line, whatever names it contains; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, name defined by logging
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Write the package's log to `run.log` in `folder` when a run completes or fails, with the reason for a failure.

    A refused request or an interrupted run leaves the folder unchanged.
    """
    text = StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("voxrank")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        logger.error("the run failed: %s", error, exc_info=not isinstance(error, VoxrankError))
        _write_log(folder, text)
        raise
    else:
        _write_log(folder, text)
    finally:
        logger.removeHandler(handler)


def _write_log(folder: Path, text: StringIO) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "run.log", text.getvalue())
