"""Reference pages that are generated when the documentation is built: commands, scores, and the content of JSON files.

A comment in a page says what replaces it. `<!-- commands -->` is the command reference. `<!-- scores -->` and
`<!-- distances -->` are the tables of the scores without, and with, source data. `<!-- groups -->` is the table of the
groups of models. `<!-- schema: module:Class -->` is the
tables of a dataclass and of all dataclasses inside it (`without field, field`: fields that JSON lacks).
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PLACE = re.compile(r"<!-- (?:(commands|scores|distances|groups)|schema: ([\w.]+):(\w+)(?: without ([\w, ]+))?) -->")
JSON_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}


def filled(text: str) -> str:
    """Return a page with everything in its place."""
    return PLACE.sub(_made, text)


def _made(place: re.Match[str]) -> str:
    if place[1] == "groups":
        return groups()
    if place[1] in ("scores", "distances"):
        return scores(needs_source=place[1] == "distances")
    if place[1]:
        import typer

        from voxrank.cli.main import app

        return commands(typer.main.get_command(app))
    kind = getattr(import_module(place[2]), place[3])
    return schema(kind, without=(place[4] or "").split(", "))


def groups() -> str:
    """Return a table of the groups of models, in the order of the rule."""
    from voxrank.encoders.groups import GROUPS, group_models

    rows = [
        f"| `{group.name}` | {group.about} | {', '.join(f'`{spec}`' for spec in group_models(group.name))} |"
        for group in GROUPS.values()
    ]
    return "\n".join(["| group | which | models |", "|---|---|---|", *rows])


def scores(*, needs_source: bool) -> str:
    """Return a table of the scores that need source data, or of those that do not, in the order of the help."""
    from voxrank.scores import get_score
    from voxrank.scores.names import MODULES

    chosen = [score for score in map(get_score, MODULES) if score.needs_source == needs_source]
    header = ["| name | class | what it says | better | targets | reads |", "|---|---|---|---|---|---|"]
    return "\n".join([*header, *map(_score_row, chosen)])


def _score_row(score: Any) -> str:
    known = f"`{score.estimator.__name__}`" if score.estimator else ""
    better = "higher" if score.higher_is_better else "lower"
    targets = "none" if score.needs_source else "classes, values" if "regression" in score.tasks else "classes"
    reads = "sample" if score.sampled else "projections" if score.projected else "moments"
    return f"| {' | '.join([f'`{score.name}`', known, score.summary, better, targets, reads])} |"


def commands(group: Any, name: str = "voxrank") -> str:
    """Return every command of a group: its purpose, arguments, options with their defaults, and examples."""
    parts = [_options_table(group.params)] if group.params else []
    for own, command in group.commands.items():
        if command.hidden:
            continue
        full = f"{name} {own}"
        if hasattr(command, "commands"):
            parts.append(f"## `{full}`\n\n{_prose(command.help)}\n\n{commands(command, full)}")
        else:
            parts.append(one_command(command, full))
    return "\n\n".join(parts)


def one_command(command: Any, name: str) -> str:
    """Return the section of one command."""
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and not p.hidden]
    usage = " ".join([name, *(_metavar(a) for a in arguments), "[OPTIONS]"])
    parts = [f"## `{name}`", _prose(command.help), f"```text\n{usage}\n```"]
    parts += [f"`{_metavar(a)}`: {_prose(a.help)}" for a in arguments if a.help]
    parts.append(_options_table(options))
    parts += [_examples(command.epilog)] if command.epilog else []
    return "\n\n".join(parts)


def _options_table(options: list[Any]) -> str:
    rows = [f"| {_names(option)} | {_helped(option.help or '')} | {_default(option)} |" for option in options]
    return "\n".join(["| option | what it says | default |", "|---|---|---|", *rows])


def _names(option: Any) -> str:
    value = "" if _is_flag(option) else f" {_cell(_metavar(option))}"
    return ", ".join(f"`{name}{value}`" for name in sorted([*option.opts, *option.secondary_opts], key=len)[::-1])


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False))


def _metavar(param: Any) -> str:
    descriptor = getattr(param, "type_descriptor", None)
    choices = [one for one in _parts(getattr(descriptor, "annotation", None)) if get_origin(one) is Literal]
    return str(param.metavar or "|".join(get_args(choices[0]) if choices else ()) or "…")


def _default(option: Any) -> str:
    if option.required:
        return "must be given"
    if isinstance(option.show_default, str):
        return _helped(option.show_default)
    if option.default is None or option.default is False or callable(option.default):
        return ""
    return f"`{option.default}`"


def _examples(epilog: str) -> str:
    """Return the command lines of an epilog as a block, and the rest as text."""
    joined = re.sub(r"\\\n\s*", "", epilog)
    lines = [line.strip() for line in joined.split("\n") if line.strip()]
    shown = [line for line in lines if line.startswith("voxrank ")]
    said = [line for line in lines if line not in shown and line != "Examples:"]
    return "\n\n".join(["```sh\n" + "\n".join(shown) + "\n```", *said])


def schema(kind: type, without: Sequence[str] = ()) -> str:
    """Return a table of the fields of a dataclass, and one for each dataclass inside it.

    Args:
        kind: the dataclass.
        without: its fields that are left out.

    Raises:
        ValueError: a field has no line in the docstring's "Attributes".
    """
    parts = []
    for one in _inside(kind, without, []):
        said = attributes(one.__doc__ or "")
        rows = []
        for name, hint in _fields(one, without if one is kind else ()):
            if name not in said:
                raise ValueError(f"{one.__name__}.{name} has no line under Attributes in its docstring")
            meaning = re.sub(r"\bNone\b", "null", _cell(said[name]))
            rows.append(f"| `{name}` | {_kind(hint)} | {meaning} |")
        table = "\n".join(["| key | is | what it says |", "|---|---|---|", *rows])
        head = "" if one is kind else f"**{one.__name__}**: {_prose((one.__doc__ or '').split('Attributes:')[0])}\n\n"
        parts.append(head + table)
    return "\n\n".join(parts)


def _fields(kind: type, without: Sequence[str]) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in fields(kind) if field.name not in without]


def _inside(kind: type, without: Sequence[str], found: list[type]) -> list[type]:
    """Yield a dataclass and those of its fields, each once, in order."""
    if kind in found:
        return found
    found.append(kind)
    for _, hint in _fields(kind, without):
        for part in _parts(hint):
            if isinstance(part, type) and is_dataclass(part):
                _inside(part, (), found)
    return found


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _kind(hint: Any) -> str:
    """Return a type in the terms of JSON."""
    origin, inner = get_origin(hint), [part for part in get_args(hint) if part is not Ellipsis]
    if origin in (Union, types.UnionType):
        return ", or ".join(_kind(part) for part in inner)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in inner)
    if origin is tuple and len(get_args(hint)) == len(inner) > 1:
        return f"list of {', '.join(_kind(part) for part in inner)}"
    if origin in (tuple, list):
        part = _kind(inner[0])
        return f"list of ({part})" if ", or " in part else f"list of {part}"
    if origin is dict:
        return f"object: {_kind(inner[0])} → {_kind(inner[1])}"
    if hint is Any:
        return "anything"
    return JSON_NAMES.get(hint) or f"*{hint.__name__}*"


def attributes(doc: str) -> dict[str, str]:
    """Read the section "Attributes" of a docstring, with or without the indentation of its source.

    Python 3.13 removes the indentation when it compiles a docstring; older versions keep it.

    Returns:
        Name → description; one line may describe several names.
    """
    found: dict[str, str] = {}
    _, _, part = inspect.cleandoc(doc).partition("Attributes:\n")
    names: list[str] = []
    for line in part.split("\n"):
        begun = re.match(r"^ {4}(\w+(?:, \w+)*): (.*)$", line)
        if begun:
            names = begun[1].split(", ")
            found |= dict.fromkeys(names, begun[2])
        elif line.startswith(" " * 8):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return found


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _helped(text: str) -> str:
    """Return a table cell with options as code, so that no hyphen becomes a dash."""
    return re.sub(r"(?<![`\w-])(--[a-z][\w-]*)", r"`\1`", _cell(text))


def _cell(text: str) -> str:
    return _prose(text).replace("|", r"\|")
