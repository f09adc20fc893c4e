"""Options shared by several commands, and the output streams."""

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
from voxrank.cli.completion import (
    complete_aligner,
    complete_column,
    complete_device,
    complete_hub_model,
    complete_model,
    complete_unit,
)
from voxrank.config import EngineName, HeadPlace, WhisperWindow
from voxrank.errors import OptionError, RequestError, VoxrankError, is_harmless, one_line


def checked_json(where: str | None) -> str | None:
    """Return the value of `--json`; refuse it before the run starts if the file cannot be written.

    Raises:
        OptionError: the value is not a file that can be written.
    """
    if where is not None and where != STANDARD_OUTPUT:
        if not where or Path(where).is_dir():
            got = repr(where) if where else "nothing"
            raise OptionError(f"expected --json to be a file or -, got {got}; name one ending in .json")
        from voxrank.results.ranking import check_folder

        check_folder(Path(where).parent)
    return where


DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="CSV, TSV or JSONL manifest, folder of class folders, or Kaldi, Lhotse, WebDataset or Hugging Face data.",
        show_default=False,
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="SPEC",
        autocompletion=complete_model,
        help="Hub id, local directory or scheme:rest, at least one (repeat).",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", metavar="DATA", help="Speech as in pre-training, for swd, frechet and tsne."),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        autocompletion=complete_column,
        help="Column to predict.",
        show_default="what the columns say",
    ),
]
UnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="UNIT",
        autocompletion=complete_unit,
        help="Of transcripts: char, phone, word or tokens:SPEC (a tokenizer).",
        show_default="char",
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help="Of transcripts, for phones: en-us, de, fr …", show_default=False),
]
AlignerOption = Annotated[
    str,
    typer.Option(
        "--aligner",
        metavar="SPEC",
        autocompletion=complete_aligner,
        help="flat, flat:SPEC or flat:SPEC@LAYER (no trained aligner), ctc:SPEC, head:SPEC@LAYER or uniform.",
    ),
]
SegmentsOption = Annotated[
    str | None,
    typer.Option(
        "--segments",
        metavar="PATH",
        help="Times: a folder of TextGrids, or a CTM, RTTM or JSON file.",
        show_default=False,
    ),
]
TierOption = Annotated[
    str | None,
    typer.Option(
        "--tier", metavar="NAME", help="Tier of TextGrid or JSON files.", show_default="phones, or the only one"
    ),
]
LeakOption = Annotated[bool, typer.Option("--allow-leak", help="Take labels from a model trained on a candidate.")]
SkipsOption = Annotated[
    bool, typer.Option("--allow-skips", help="Use what is left where more than half of the utterances are skipped.")
]
WindowOption = Annotated[
    WhisperWindow,
    typer.Option("--whisper-window", help="full (30 s, as trained) or fit (cut to the utterance: quicker)."),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="NAME", help="Rows to use; 'all' for every row.", show_default="train if there is one"
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="[FILE]",
        callback=checked_json,
        help="Print JSON on standard output, and nothing else there; or write it to a FILE that ends in .json.",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps …", autocompletion=complete_device),
]
HeadAtOption = Annotated[
    HeadPlace, typer.Option("--head-at", help="Of --strategy layer: on the tuned layer, or on the top of the model.")
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where sketches are kept, so that nothing is encoded twice.",
        show_default="VOXRANK_CACHE, or voxrank in your cache folder",
    ),
]
CacheSizeOption = Annotated[
    float, typer.Option("--cache-size", metavar="GB", help="Of all that is kept; what was not used for longest goes.")
]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep sketches.")]
EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", help="Where models run: local (this process), or ray (workers of a Ray cluster)."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="Of a running cluster; auto for the one of this machine.",
        show_default="a cluster of this machine, for this run",
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Of --engine ray.", show_default="as many as there is room")
]
WorkerCpusOption = Annotated[
    int, typer.Option("--cpus-per-worker", metavar="N", help="Cores of one worker of --engine ray.")
]
WorkerGpusOption = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker",
        metavar="SHARE",
        help="Of one worker of --engine ray, such as 0.5 for two on a GPU.",
        show_default="1 where there are GPUs",
    ),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-remote-code",
        metavar="MODEL",
        autocompletion=complete_hub_model,
        help="Let this hub model run its own code (repeatable).",
    ),
]


def out() -> Console:
    """Return a console on standard output."""
    return Console(highlight=False)


def err() -> Console:
    """Return a console on standard error, for progress and notes."""
    return Console(stderr=True, highlight=False)


def give_json(where: str | None, content: str | dict[str, Any]) -> bool:
    """Print JSON, or write it to a file, according to `--json`.

    Args:
        where: value of the option: "-" for standard output, a file, or None for neither.
        content: content to write; a string is JSON already.

    Returns:
        Whether the JSON was printed on standard output.
    """
    if where is None:
        return False
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    if where == STANDARD_OUTPUT:
        print_json(text)
        return True
    file = Path(where)
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
