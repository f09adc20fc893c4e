"""JSON of dataclasses: rankings, details, validations, alignments and headers of sketches.

Reading checks every value against the annotations of the fields; the text never decides which classes are built. A
missing field takes its default. An unknown field is refused, since it would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from voxrank.errors import DataError

T = TypeVar("T")
Keys = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

SHOWN = 40
"""Maximum number of characters of a value in a message."""
LARGEST_FLOAT, LARGEST_INT = 2**53, 2**63
"""Bounds of whole numbers: a float holds smaller numbers exactly, and a 64-bit integer holds them."""


@dataclass(frozen=True)
class Rules:
    """Rules of reading beside the annotations.

    Attributes:
        makers: origin of a type → function that builds such an object from a JSON value, the type and the path.
        complete: whether a missing field is refused even where it has a default.
    """

    makers: Mapping[Any, Callable[[Any, Any, Keys], Any]] = field(default_factory=dict)
    complete: bool = False


_PLAIN = Rules()


def written(schema: int, content: dict[str, Any]) -> str:
    """Return the text of a JSON file that `read_object` reads.

    Args:
        schema: version of the schema.
        content: the content, with finite numbers.
    """
    return json.dumps({"schema": schema, **content}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
            raise ValueError("its text holds half a surrogate pair")
        if not isinstance(content, dict) or "schema" not in content:
            raise ValueError("it has no schema")
        version = content.pop("schema")
        if type(version) is not int or version != schema:
            raise ValueError(f"its schema is {_shown(version)}, and this version of voxrank reads {schema}")
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


def built(value: Any, kind: type[T], path: Keys = (), rules: Rules = _PLAIN) -> T:
    """Build an object of a type from a JSON value.

    Args:
        value: result of `parsed`.
        kind: a dataclass, or a type of its fields: text, numbers, tuples, lists, dicts, literals, unions and Any. A key
            of a dict that is not text is built by `parse` of its type, or else by its type.
        path: keys and indices that lead to the value, for messages.
        rules: further types, and which fields may be missing.

    Raises:
        ValueError: the value does not fit the type; the message names the place.

    Example:
        >>> built([1, 2], tuple[float, ...])
        (1, 2)
    """
    origin = get_origin(kind)
    if origin in rules.makers:
        result: T = rules.makers[origin](value, kind, path)
    else:
        make = _MAKERS.get(origin, _dataclass_of if is_dataclass(kind) else _scalar_of)
        result = make(value, kind, path, rules)
    return result


def _scalar_of(value: Any, kind: Any, path: Keys, _: Rules) -> Any:
    if kind is Any:
        return value
    if type(value) is int and kind in (int, float):
        if abs(value) >= (LARGEST_FLOAT if kind is float else LARGEST_INT):
            raise unfit(path, "a smaller number", value)
        return value  # unchanged, so that writing gives the same text
    if type(value) is not kind:
        raise unfit(path, {str: "text", int: "a whole number", float: "a number"}.get(kind, kind.__name__), value)
    return value


def _sequence_of(value: Any, kind: Any, path: Keys, rules: Rules) -> Any:
    kinds, origin = get_args(kind), get_origin(kind)
    if not isinstance(value, list):
        raise unfit(path, "a list", value)
    if origin is list or kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise unfit(path, f"a list of {len(kinds)}", value)
    return origin(
        built(item, item_kind, (*path, index), rules)
        for index, (item, item_kind) in enumerate(zip(value, kinds, strict=True))
    )


def _dict_of(value: Any, kind: Any, path: Keys, rules: Rules) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise unfit(path, "an object", value)
    key_kind, item_kind = get_args(kind)
    parse = getattr(key_kind, "parse", key_kind)
    return {parse(name): built(item, item_kind, (*path, name), rules) for name, item in value.items()}


def _literal_of(value: Any, kind: Any, path: Keys, _: Rules) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise unfit(path, f"one of {', '.join(get_args(kind))}", value)
    return value


def _union_of(value: Any, kind: Any, path: Keys, rules: Rules) -> Any:
    """Build an object of the first type that fits."""
    *others, last = (option for option in get_args(kind) if option is not type(None))
    if value is None and type(None) in get_args(kind):
        return None
    for option in others:
        with suppress(ValueError):
            return built(value, option, path, rules)
    return built(value, last, path, rules)


def _dataclass_of(value: Any, kind: Any, path: Keys, rules: Rules) -> Any:
    if not isinstance(value, dict):
        raise unfit(path, "an object", value)
    kinds, required = _fields(kind)
    if unknown := sorted(value.keys() - kinds.keys()):
        raise ValueError(f"{place(path)}: this version of voxrank does not know {unknown[0]!r}")
    for name in kinds if rules.complete else required:
        if name not in value:
            raise ValueError(f"{place(path)}: {name!r} is missing")
    return kind(**{name: built(item, kinds[name], (*path, name), rules) for name, item in value.items()})


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of the fields of a dataclass by name, and the names of those without a default."""
    items, hints = fields(kind), get_type_hints(kind)
    required = [item.name for item in items if item.default is MISSING and item.default_factory is MISSING]
    return {item.name: hints[item.name] for item in items}, required


_MAKERS: dict[Any, Callable[[Any, Any, Keys, Rules], Any]] = {
    tuple: _sequence_of,
    list: _sequence_of,
    dict: _dict_of,
    Literal: _literal_of,
    Union: _union_of,
    UnionType: _union_of,
}


def unfit(path: Keys, expected: str, value: Any) -> ValueError:
    """Return the error of a value that is not what was expected at its place."""
    return ValueError(f"{place(path)}: expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def place(path: Keys) -> str:
    """Return the text of a path, such as "models[0].rank"."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".") or "the content"


def _not_finite(name: str) -> float:
    raise ValueError(f"expected finite numbers, got {name}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"expected finite numbers, got {text[:SHOWN]}")
    return number
