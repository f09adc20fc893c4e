"""JSON → frozen dataclasses, by the annotations of their fields: what is read is what the types say, or refused.

Nothing of the text decides what is built. A field that the text lacks takes its default; one that the dataclass lacks
is refused, since it would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from voxrank.errors import DataError

T = TypeVar("T")

SHOWN = 40
"""Characters of what came, in a message."""
LARGEST_FLOAT, LARGEST_INT = 2**53, 2**63
"""Whole numbers are smaller: up to here a float holds them exactly, and a 64-bit integer holds them."""


def read_object(path: Path, schema: int, kind: type[T], what: str, derived: Sequence[str] = ()) -> T:
    """Read a file that holds a dataclass as a JSON object, and its schema.

    Args:
        path: the file.
        schema: the version of it that is known.
        kind: the dataclass.
        what: a file of it is called.
        derived: keys of the file that follow from the others, and are not read.

    Raises:
        DataError: there is no such file, or it holds something else; in one line.
    """
    try:
        content = parsed(path.read_text(encoding="utf-8"))
        if not _is_utf8(content):
            raise ValueError("text in it is half a character")
        if not isinstance(content, dict) or "schema" not in content:
            raise ValueError("it has no schema")
        found = content.pop("schema")
        if type(found) is not int or found != schema:
            raise ValueError(f"its schema is {_shown(found)}, and this version of voxrank reads {schema}")
        return built({key: value for key, value in content.items() if key not in derived}, kind)
    except OSError as error:
        raise DataError(f"cannot read {what} at {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise DataError(f"{path} does not hold {what} of voxrank ({error}); make the file again") from error


def _is_utf8(content: Any) -> bool:
    """Whether all text in it can be written: an escape may stand for half a character."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def parsed(text: str) -> Any:
    """The content of a JSON text, whose numbers are finite.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def built(value: Any, kind: type[T], where: str = "") -> T:
    """The object of that type that a JSON value says.

    Args:
        value: as `parsed` gives it.
        kind: a dataclass, or what its fields may be: text, numbers, tuples, dicts by text, literals, unions and Any.
        where: the value is, for messages.

    Raises:
        ValueError: it does not say one; the message names the place.

    Example:
        >>> built([1, 2], tuple[float, ...])
        (1, 2)
    """
    made: T = _maker(kind)(value, kind, where)
    return made


def _maker(kind: Any) -> Callable[[Any, Any, str], Any]:
    if kind is Any:
        return lambda value, _, __: value
    return _MAKERS.get(get_origin(kind), _dataclass_of if is_dataclass(kind) else _scalar_of)


def _scalar_of(value: Any, kind: Any, where: str) -> Any:
    if type(value) is int and kind in (int, float):
        if abs(value) >= (LARGEST_FLOAT if kind is float else LARGEST_INT):
            raise _unfit(where, "a smaller number", value)
        return value  # as it is, so that it is written as it was read
    if type(value) is not kind and not (value is None and kind is type(None)):
        raise _unfit(where, {str: "text", int: "a whole number", float: "a number"}.get(kind, kind.__name__), value)
    return value


def _tuple_of(value: Any, kind: Any, where: str) -> tuple[Any, ...]:
    kinds = get_args(kind)
    if not isinstance(value, list):
        raise _unfit(where, "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _unfit(where, f"a list of {len(kinds)}", value)
    return tuple(built(item, one, f"{where}[{n}]") for n, (item, one) in enumerate(zip(value, kinds, strict=True)))


def _dict_of(value: Any, kind: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unfit(where, "an object", value)
    return {name: built(item, get_args(kind)[1], f"{where}.{name}") for name, item in value.items()}


def _literal_of(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise _unfit(where, f"one of {', '.join(get_args(kind))}", value)
    return value


def _union_of(value: Any, kind: Any, where: str) -> Any:
    """Of the first kind that fits."""
    problem = ValueError(where)
    for one in get_args(kind):
        try:
            return built(value, one, where)
        except ValueError as error:
            problem = problem if one is type(None) else error
    raise problem


def _dataclass_of(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _unfit(where, "an object", value)
    hints, known = get_type_hints(kind), fields(kind)
    if strange := sorted(value.keys() - {field.name for field in known}):
        raise ValueError(f"{_place(where)}: this version of voxrank does not know {strange[0]!r}")
    missing = [
        field.name
        for field in known
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{_place(where)}: {missing[0]!r} is missing")
    return kind(**{name: built(item, hints[name], f"{where}.{name}".lstrip(".")) for name, item in value.items()})


_MAKERS: dict[Any, Callable[[Any, Any, str], Any]] = {
    tuple: _tuple_of,
    dict: _dict_of,
    Literal: _literal_of,
    Union: _union_of,
    UnionType: _union_of,
}


def _unfit(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{_place(where)}: expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _place(where: str) -> str:
    return where or "the whole"


def _not_finite(name: str) -> float:
    raise ValueError(f"expected finite numbers, got {name}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"expected finite numbers, got {text[:SHOWN]}")
    return number
