"""A decoder of JSON to frozen dataclasses, which checks every value against the annotations of the fields.

The text never decides which classes are built. A missing field takes its default. An unknown field is refused, since it
would be lost.
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
"""Maximum number of characters of a value in a message."""
LARGEST_FLOAT, LARGEST_INT = 2**53, 2**63
"""Bounds of whole numbers: a float holds smaller numbers exactly, and a 64-bit integer holds them."""


def read_object(path: Path, schema: int, kind: type[T], what: str, derived: Sequence[str] = ()) -> T:
    """Read a dataclass from a file with a JSON object and its schema version.

    Args:
        path: path of the file.
        schema: supported version of the schema.
        kind: the dataclass.
        what: name for such a file in messages.
        derived: keys of the file that follow from others and are not read.

    Raises:
        DataError: the file is missing, or holds something else.
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
    """Return whether all text in a value is valid UTF-8. An escape may mean half a character."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def parsed(text: str) -> Any:
    """Parse a JSON text with finite numbers.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def built(value: Any, kind: type[T], where: str = "") -> T:
    """Build an object of a type from a JSON value.

    Args:
        value: result of `parsed`.
        kind: a dataclass, or a type of its fields: text, numbers, tuples, dicts by text, literals, unions and Any.
        where: place of the value, for messages.

    Raises:
        ValueError: the value does not fit the type; the message names the place.

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
        return value  # unchanged, so that writing gives the same text
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
    """Build an object of the first type that fits."""
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
