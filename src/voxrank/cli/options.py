"""Options of the commands, made from the fields of requests (`voxrank.config`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin

import typer

from voxrank.cli import completion
from voxrank.config import Flag, types_of


def with_options(**helps: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace every parameter of a command that is a request by the options of the request's fields.

    Args:
        helps: names of options, with help texts that depend on more than the configuration.

    Example:
        >>> from voxrank.config import InspectRequest
        >>> @with_options()
        ... def command(data: str, *, request: InspectRequest) -> None: ...
        >>> list(inspect.signature(command).parameters)
        ['data', 'target', 'split', 'segments', 'unit', 'language', 'tier']
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        requests: dict[str, Any] = {
            name: parameter.annotation
            for name, parameter in signature.parameters.items()
            if is_dataclass(parameter.annotation)
        }
        parameters = [
            option
            for name, parameter in signature.parameters.items()
            for option in (_parameters(requests[name], helps) if name in requests else [parameter])
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            built = {name: build(request, values) for name, request in requests.items()}
            command(**{name: value for name, value in values.items() if name in signature.parameters}, **built)

        vars(run).update(
            __signature__=signature.replace(parameters=parameters),
            __annotations__={p.name: p.annotation for p in parameters},
        )
        return run

    return decorated


def build(request: type, values: Mapping[str, Any]) -> Any:
    """Build a request from the values of its options; None stands for the default of a field.

    Raises:
        OptionError: a value is invalid.
    """
    return request(**dict(_fields(request, values)))


def _fields(kind: type, values: Mapping[str, Any], names: Sequence[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each field of a request, or of a part of it, that differs from the default."""
    for setting in fields(kind):
        flag: Flag | None = setting.metadata.get("flag")
        if "part" in setting.metadata:
            changes = dict(_fields(setting.metadata["part"], values, setting.metadata["flags"]))
            if changes or setting.default is MISSING:
                yield setting.name, setting.metadata["part"](**changes)
        elif flag and (names is None or setting.name in names) and (value := values[_name(flag)]) is not None:
            if isinstance(value, list):
                value = tuple(value)
            yield setting.name, value if flag.unit == 1 else value * flag.unit


def _parameters(kind: type, helps: Mapping[str, str]) -> Iterator[inspect.Parameter]:
    for setting in fields(kind):
        if "part" in setting.metadata:
            part, changes = setting.metadata["part"], setting.metadata["changes"]
            for inner in fields(part):
                if inner.name in setting.metadata["flags"]:
                    yield _parameter(part, inner, changes.get(inner.name), optional=setting.default is None)
        elif (flag := setting.metadata.get("flag")) is not None:
            yield _parameter(kind, setting, helps.get(_name(flag)))


def _parameter(kind: type, setting: Field[Any], text: str | None, *, optional: bool = False) -> inspect.Parameter:
    """Return a field as a parameter that typer reads."""
    flag: Flag = setting.metadata["flag"]
    annotation, default = types_of(kind)[setting.name], setting.default
    if any(get_origin(choice) in (tuple, Sequence) for choice in (annotation, *get_args(annotation))):
        annotation, default = list[str] | None, None
    elif annotation is Any:
        annotation = str | None
    elif optional:
        annotation, default = annotation | None, None
    if isinstance(default, float) and default.is_integer():
        default = int(default)  # --help shows 60, not 60.0
    option = typer.Option(
        *flag.name.split(),
        metavar=flag.metavar,
        help=text or flag.help,
        rich_help_panel=flag.panel,
        show_default=flag.shown or flag.shown is None,
        autocompletion=getattr(completion, f"complete_{flag.complete}") if flag.complete else None,
    )
    return inspect.Parameter(
        _name(flag), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
    )


def _name(flag: Flag) -> str:
    return flag.word.replace("-", "_")
