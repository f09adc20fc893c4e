"""`voxrank`: the commands, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from rich.console import Console

from voxrank.cli import align, cache, demo, export, inspect, models, rank, report, validate
from voxrank.errors import RequestError, VoxrankError
from voxrank.report.terminal import plain

EXIT_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
"""As shells count it."""

app = typer.Typer(
    name="voxrank",
    help="Which pre-trained speech model, and which layer of it, should you fine-tune? Ranked without fine-tuning any.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
Command = TypeVar("Command", bound=Callable[..., None])


class _InterruptedError(Exception):
    """Ctrl-C, told apart before typer answers it in its own way."""


def _interruptible(command: Command) -> Command:
    @wraps(command)
    def run_command(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise _InterruptedError(*interrupt.args) from interrupt

    return cast("Command", run_command)


app.command("rank", epilog=rank.EPILOG)(_interruptible(rank.rank))
app.command("validate", epilog=validate.EPILOG)(_interruptible(validate.validate))
app.command("report", epilog=report.EPILOG)(_interruptible(report.report))
app.command("export", epilog=export.EPILOG)(_interruptible(export.export))
app.command("align", epilog=align.EPILOG)(_interruptible(align.align))
app.command("inspect")(_interruptible(inspect.inspect))
app.command("models")(_interruptible(models.models))
app.command("demo")(_interruptible(demo.demo))
app.add_typer(cache.app, name="cache")


@app.callback(invoke_without_command=True)
def main(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False
) -> None:
    """Take the options that stand before a command."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("voxrank"))
        raise typer.Exit


def exit_code(arguments: list[str] | None = None) -> int:
    """Run a command line and give its exit code: 0 done, 1 the run failed, 2 the request was wrong, 130 interrupted.

    A failure is one line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal's encoding lacks is shown as "?", not a failure
            stream.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OSError as error:
        _turn_off_standard_output()
        _complain(f"cannot write: {error}")
        return EXIT_FAILED
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        app(args=arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except VoxrankError as error:
        _complain(str(error))
        return EXIT_WRONG_REQUEST if isinstance(error, RequestError) else EXIT_FAILED
    except _InterruptedError as interrupt:
        _complain("; ".join(["stopped", *map(str, interrupt.args)]))
        return EXIT_INTERRUPTED
    return 0


def _turn_off_standard_output() -> None:
    """What waits to be written would fail once more when Python exits."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _complain(message: str) -> None:
    text = plain(f"voxrank: {' '.join(message.split())}")
    Console(stderr=True).print(text, soft_wrap=True, style="red")
