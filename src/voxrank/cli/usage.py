"""Messages in one line for errors in the command line: what was expected, what came, what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from typer import TyperException

from voxrank.errors import did_you_mean

NUMBERS = {"valid integer": "a whole number", "valid number": "a number"}
"""Wording of typer → wording of voxrank."""
_CHOICE = re.compile(r"(?:Value error, )?(?P<got>'.*'|\".*\") is not one of (?P<known>.*?)\.?", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((?P<got>.*)\)", re.DOTALL)


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
