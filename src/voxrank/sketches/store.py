"""Storage of sketches: one safetensors file, with numbers and a text header; reading it runs no code.

Arrays are tensors in their dtype, named by their path in the sketch ("4.products.gram"). All else (counts, scalar
sums, None) is JSON in the metadata, under "voxrank":

    {"schema": 1, "kind": "dict[int, Moments]", "content": {"4": {"n": 300, "total": "tensor", ...}}}

A key of a dict is a number, text, or a `SketchKey`, such as "4/0".

The result follows from the kind that the caller expects and from the annotations of its fields, never from the file.
A new field of a sketch needs no code here, and older files without it are refused. Sketches are restored bit for bit;
JSON keeps the 17 digits of a float.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from voxrank._support.files import replacing
from voxrank._support.json_codec import Keys, Rules, built, place, unfit
from voxrank.errors import SketchError, reason
from voxrank.sketches.blocks import BlockedMoments, PackedMoments
from voxrank.sketches.groups import GroupSums
from voxrank.sketches.moments import Moments, Runs
from voxrank.sketches.products import Products
from voxrank.sketches.projections import Quantiles
from voxrank.sketches.sample import Sample

SCHEMA = 1
"""Version of the header's schema."""
HEADER = "voxrank"
"""Key of the header in the file's metadata."""
TENSOR = "tensor"
"""Value in the header that stands for an array."""

T = TypeVar("T")

_TARGETS = {"cross": "TD", "target_total": "T", "square": "T", "target_gram": "TT"}
_AXES: dict[type, dict[str, str]] = {
    Products: {"centre": "D", "total": "D", "gram": "DD", "cubic": "D"},
    Runs: {"total": "D"},
    Moments: {**_TARGETS, "target_centre": "T"},
    PackedMoments: {"mean": "D", "triangle": "H", "cubic": "D", **_TARGETS},
    BlockedMoments: {"blocks": "*"},
    Sample: {"keys": "m", "features": "mD", "rows": "m", "blocks": "m", "utterances": "m"},
    GroupSums: {"groups": "p", "classes": "p", "sums": "pD", "counts": "p", "centre": "D"},
    Quantiles: {"levels": "LP*", "offsets": "L", "origin": "P"},
}
"""The registered kinds, and the axes of their fields, one letter each; a list's first axis is its length. The same
letter is the same size in the whole sketch, H is D(D+1)/2, and * is any size.
"""


def register_kind(kind: type, **axes: str) -> None:
    """Register a dataclass of sketches, so that its objects can be written and read.

    Its fields may hold numbers, text, arrays, dataclasses, lists, dicts by int, str or `SketchKey`, and None for any of
    them.

    Args:
        kind: the dataclass.
        axes: field → its axes, as in the table above; parts of a container without axes may differ in size.

    Raises:
        ValueError: the kind is already registered.
    """
    if kind in _AXES:
        raise ValueError(f"{kind.__name__} is registered already; register a kind once")
    _AXES[kind] = axes


def save_sketches(path: str | os.PathLike[str], sketches: T, kind: type[T], *, sync: bool = True) -> None:
    """Write sketches to a file atomically, without a copy of the arrays.

    Args:
        path: the file; an existing file is replaced.
        sketches: the sketches to write.
        kind: their kind, such as ``Moments``, or ``dict[int, BlockedMoments]`` for a model's layers.
        sync: whether to wait until the content is on the disk.

    Raises:
        SketchError: the file cannot be written, or the sketches are not of that kind. An existing file is not changed.
        TypeError: the kind is not registered.

    Example:
        >>> save_sketches("layers.safetensors", {4: Moments.zeros(8, 2)}, dict[int, Moments])  # doctest: +SKIP
    """
    name, arrays = _kind_name(kind), dict[str, NDArray[Any]]()
    try:
        content = _to_content(sketches, "", arrays)
        _check_sizes(_from_content(content, kind, arrays.__getitem__))
    except ValueError as error:
        raise SketchError(f"cannot write {path}: these sketches are not a {name} ({error}); check them") from error
    header = json.dumps({"schema": SCHEMA, "kind": name, "content": content})
    try:
        with replacing(Path(path), sync=sync) as temporary:
            save_file(arrays, temporary, metadata={HEADER: header})
    except (OSError, SafetensorError) as error:
        raise SketchError(
            f"cannot write {path} ({reason(error)}); check the folder and the space on its disk"
        ) from error


def load_sketches(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Read sketches that `save_sketches` wrote, bit for bit.

    Args:
        path: the file.
        kind: the expected kind.

    Raises:
        SketchError: the file is missing, damaged, not a sketch file, or of another kind or version.
        TypeError: the kind is not registered.
    """
    expected = _kind_name(kind)
    try:
        with safe_open(path, framework="np", backend="pread") as file:  # mapped pages would count beside the arrays
            content = _content(file.metadata(), expected)
            sketches: T = _from_content(content, kind, file.get_tensor)
            _check_sizes(sketches)
    except OSError as error:
        raise SketchError(f"cannot read {path} ({reason(error)}); check the path") from error
    except (ValueError, RecursionError, SafetensorError) as error:
        raise SketchError(f"{path} does not hold a {expected} ({reason(error)}); make the file again") from error
    return sketches


def _kind_name(kind: Any) -> str:
    """Return the name in the header of a registered kind, or of a dict of that kind."""
    if get_origin(kind) is dict:
        key, item = get_args(kind)
        return f"dict[{key.__name__}, {_kind_name(item)}]"
    if kind not in _AXES:
        raise TypeError(f"expected a registered kind of sketch, got {kind}; register_kind makes one known")
    return str(kind.__name__)


def _content(metadata: dict[str, str] | None, expected: str) -> Any:
    if HEADER not in (metadata or {}):
        raise ValueError("it has no header of voxrank")
    header = json.loads((metadata or {})[HEADER])
    schema, kind = _entry(header, "schema"), _entry(header, "kind")
    if schema != SCHEMA:
        raise ValueError(f"its schema is {schema}, and this version of voxrank reads {SCHEMA}")
    if kind != expected:
        raise ValueError(f"it holds a {kind}")
    return _entry(header, "content")


def _entry(node: Any, key: str) -> Any:
    if not isinstance(node, dict) or key not in node:
        raise ValueError(f"its header has no {key!r}")
    return node[key]


def _to_content(value: Any, prefix: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return the JSON of a value, and store its arrays in `arrays`."""
    if isinstance(value, np.ndarray):
        arrays[prefix[:-1]] = np.asarray(value, order="C")  # safetensors writes memory in its layout
        return TENSOR
    if isinstance(value, list):
        return [_to_content(item, f"{prefix}{index}.", arrays) for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        if any("." in str(key) for key in value):
            raise ValueError(f"a key with a dot among {list(value)}")
        return {str(key): _to_content(item, f"{prefix}{key}.", arrays) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _from_content(content: Any, kind: type[T], read: Callable[[str], NDArray[Any]]) -> T:
    """Build sketches from the content of a header; the inverse of `_to_content`.

    Args:
        content: the content.
        kind: the expected kind.
        read: returns a tensor by its name.
    """

    def array(node: Any, hint: Any, path: Keys) -> NDArray[Any]:
        if node != TENSOR:
            raise unfit(path, TENSOR, node)
        tensor, dtype = read(".".join(map(str, path[1:]))), get_args(get_args(hint)[1])[0]
        if dtype is not Any and tensor.dtype != dtype:
            raise ValueError(f"{place(path)}: expected {dtype.__name__}, got {tensor.dtype}")
        return tensor

    return built(content, kind, ("content",), Rules({np.ndarray: array}, complete=True))


def _check_sizes(value: Any, axes: str = "", sizes: dict[str, int] | None = None, name: str = "") -> None:
    """Refuse parts of a sketch whose sizes do not agree.

    Args:
        value: the sketch, or a part of it.
        axes: letters of its axes; empty if they are unknown.
        sizes: letter → size, for the sketch so far.
        name: name of the part.
    """
    sizes = {} if sizes is None else sizes
    if isinstance(value, np.ndarray):
        _check_shape(value.shape, axes, sizes, name)
    elif is_dataclass(value):
        known = _AXES.get(type(value), {})
        for field in fields(value):
            _check_sizes(getattr(value, field.name), known.get(field.name, ""), sizes, f"{name}.{field.name}")
    elif isinstance(value, list | dict):
        _check_shape((len(value),), axes[:1], sizes, name)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_sizes(item, axes[1:], sizes if axes else None, f"{name}.{key}")


def _check_shape(shape: tuple[int, ...], axes: str, sizes: dict[str, int], name: str) -> None:
    """Record the sizes of new axes, and compare the others."""
    if not axes:
        return
    expected = tuple(
        size if axis == "*" else sizes.setdefault(axis, size) for axis, size in zip(axes, shape, strict=False)
    )
    if len(axes) != len(shape) or expected != shape:
        known = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
        raise ValueError(f"{name[1:]}: expected shape ({', '.join(axes)}) with {known}, got {shape}")
    if "D" in sizes:
        sizes["H"] = sizes["D"] * (sizes["D"] + 1) // 2
