"""The program `voxrank`: its commands, its exit codes, and messages in one line for errors in the command line."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache as cached
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from rich.console import Console
from typer import TyperException
from typer.main import get_command

from voxrank.cli import align, cache, demo, export, inspect, models, rank, report, validate
from voxrank.cli.commands import CONTEXT, Command, Group
from voxrank.cli.completion import colons_joined
from voxrank.errors import RequestError, VoxrankError, did_you_mean
from voxrank.report.terminal import plain

EPILOG = """
Examples:

  voxrank demo

  voxrank inspect train.csv

  voxrank rank train.csv --model openai/whisper-tiny --model logmel --out ranked

  voxrank rank --help
"""
EXIT_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
"""Exit code of an interrupted program, by the convention of shells."""
NUMBERS = {"valid integer": "a whole number", "valid number": "a number"}
"""Wording of typer → wording of voxrank."""
_CHOICE = re.compile(r"(?:Value error, )?(?P<got>'.*'|\".*\") is not one of (?P<known>.*?)\.?", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<got>.*)\)", re.DOTALL)

app = typer.Typer(
    name="voxrank",
    cls=Group,
    help="Rank pre-trained speech models and their layers for your data, without fine-tuning any of them.",
    epilog=EPILOG,
    context_settings=CONTEXT,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
Function = TypeVar("Function", bound=Callable[..., None])


class _InterruptedError(Exception):
    """Raised for Ctrl-C, so that typer does not handle it in its own way."""


def _interruptible(command: Function) -> Function:
    @wraps(command)
    def run_command(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise _InterruptedError(*interrupt.args) from interrupt

    return cast("Function", run_command)


def _add(name: str, command: Callable[..., None], epilog: str) -> None:
    app.command(name, cls=Command, epilog=epilog, context_settings=CONTEXT)(_interruptible(command))


_add("rank", rank.rank, rank.EPILOG)
_add("validate", validate.validate, validate.EPILOG)
_add("report", report.report, report.EPILOG)
_add("export", export.export, export.EPILOG)
_add("align", align.align, align.EPILOG)
_add("inspect", inspect.inspect, inspect.EPILOG)
_add("models", models.models, models.EPILOG)
_add("demo", demo.demo, demo.EPILOG)
app.add_typer(cache.app, name="cache")


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Take the options that stand before a command."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(version_of("voxrank"))
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        ctx.get_help()  # prints it
        raise typer.Exit(EXIT_WRONG_REQUEST)


def exit_code(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    The codes are 0 (done), 1 (the run failed), 2 (the request was invalid) and 130 (interrupted). A failure is reported
    in one line on standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # show "?" where the encoding lacks a character; do not fail
            stream.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OSError as error:
        _turn_off_standard_output()
        _print_error(f"cannot write: {error}")
        return EXIT_FAILED
    return code


@cached
def _command() -> Any:
    """Build the commands from their functions, once, because this takes a while."""
    return get_command(app)


def _run(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with colons_joined():
            result = _command()(args=arguments, prog_name="voxrank", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except TyperException as error:
        _print_error(usage_line(error, arguments))
        return error.exit_code
    except VoxrankError as error:
        _print_error(str(error))
        return EXIT_WRONG_REQUEST if isinstance(error, RequestError) else EXIT_FAILED
    except _InterruptedError as interrupt:
        _print_error("; ".join(["stopped", *map(str, interrupt.args)]))
        return EXIT_INTERRUPTED


def _turn_off_standard_output() -> None:
    """Redirect standard output to nowhere, so that buffered output does not fail again when Python exits."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _print_error(message: str) -> None:
    text = plain(f"voxrank: {' '.join(message.split())}")
    Console(stderr=True).print(text, soft_wrap=True, style="red")


def usage_line(error: TyperException, arguments: Sequence[str]) -> str:
    """Return one line that explains an error in the command line.

    Args:
        error: the error that typer raised.
        arguments: the arguments that the user typed.
    """
    ctx = getattr(error, "ctx", None)
    hint = "" if ctx is None else f"; see `{ctx.command_path} --help`"
    return f"{_explain(error, ctx, arguments)}{hint}"


def _explain(error: TyperException, ctx: Any, arguments: Sequence[str]) -> str:
    param, option = getattr(error, "param", None), getattr(error, "option_name", None)
    if param is not None:
        return _explain_parameter(error, param, arguments)
    if option is not None and hasattr(error, "possibilities"):
        return f"unknown option {option}; {_suggest_option(option, ctx)}"
    if option is not None:
        return f"{option} needs a value"
    extra = _EXTRA.fullmatch(error.format_message())
    if extra is not None:
        return (
            f"expected no further argument, got {extra['got']} (a file for --json ends in .json, or write --json=FILE)"
        )
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]


def _explain_parameter(error: TyperException, param: Any, arguments: Sequence[str]) -> str:
    name = param.opts[0] if param.param_type_name == "option" else param.metavar or param.name
    if not error.message:  # typer reports a missing parameter with an empty message
        return f"expected {name}, got nothing: {param.help or 'it is required'}".rstrip(".")
    choice = _CHOICE.fullmatch(error.message)
    if choice is not None:
        known = re.findall(r"'([^']*)'", choice["known"])
        near = get_close_matches(choice["got"][1:-1], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"expected {name} to be one of {', '.join(known)}, got {choice['got']}{hint}"
    kind = next((kind for wording, kind in NUMBERS.items() if wording in error.message), None)
    if kind is not None:
        return f"expected {name} to be {kind}, got {_last_value(param.opts, arguments)!r}"
    return f"{name}: {error.message.rstrip('.')}"


def _last_value(spellings: Sequence[str], arguments: Sequence[str]) -> str:
    """Return the last value that was typed for an option."""
    last = ""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in spellings:
            last = value if equals else next(iter(arguments[index + 1 :]), "")
    return last


def _suggest_option(option: str, ctx: Any) -> str:
    names = [] if ctx is None else [name for param in ctx.command.get_params(ctx) for name in param.opts]
    options = [name for name in names if name.startswith("--")]
    suggestion = did_you_mean(option, options)
    return (
        suggestion.partition(" (known")[0]
        if suggestion.startswith("did you mean")
        else f"options of {ctx.command_path}: {', '.join(options)}"
    )
