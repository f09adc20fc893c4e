"""The reader of CTranslate2's file format (model.bin): it reads data only, and checks every length.

Source: CTranslate2's `ModelSpec.save` writes this layout.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxrank.errors import ModelError

Buffer = bytes | bytearray | memoryview | mmap.mmap

VERSIONS = (4, 5, 6)
"""Versions of the file layout that store the type and size in bytes of each variable."""

SPEC = "WhisperSpec"
# Type id in the file → name, numpy type. numpy has no bfloat16: it is the upper half of a float32.
_TYPES = {
    0: ("float32", "<f4"),
    1: ("int8", "i1"),
    2: ("int16", "<i2"),
    3: ("int32", "<i4"),
    4: ("float16", "<f2"),
    5: ("bfloat16", "<u2"),
}


@dataclass(frozen=True)
class Variable:
    """A tensor in its stored form.

    Attributes:
        type_name: "float32", "float16", "bfloat16", "int32", "int16" or "int8".
        shape: () for a scalar.
        stored: view of the file, without a copy; for bfloat16 the bits, as unsigned 16-bit integers.
    """

    type_name: str
    shape: tuple[int, ...]
    stored: NDArray[Any]

    def float32(self) -> NDArray[np.float32]:
        """Return the values as a float32 copy."""
        if self.type_name == "bfloat16":
            return (self.stored.astype(np.uint32) << 16).view(np.float32)
        return self.stored.astype(np.float32)


Variables = Mapping[str, Variable]


def read_variables(buffer: Buffer) -> dict[str, Variable]:
    """Return name → variable of every tensor in a model.bin, including aliases, as views of `buffer`.

    Raises:
        ModelError: the bytes end early or are inconsistent, or belong to another version or kind of model.
    """
    reader = _Reader(memoryview(buffer).cast("B"))
    version = reader.number("<I")
    if version not in VERSIONS:
        raise ModelError(
            f"expected model.bin of version {VERSIONS[0]} to {VERSIONS[-1]}, got {version}; convert it again"
        )
    spec = reader.text()
    reader.number("<I")  # revision of the spec
    if spec != SPEC:
        raise ModelError(f"expected a Whisper ({SPEC}), got {spec!r}; only Whisper is read from CTranslate2 files")
    variables: dict[str, Variable] = {}
    for _ in range(reader.number("<I")):
        name = reader.text()
        if name in variables:
            raise ModelError(f"model.bin holds {name!r} twice; it is damaged: get it again")
        variables[name] = reader.variable(name)
    for _ in range(reader.number("<I")):
        alias, name = reader.text(), reader.text()
        if name not in variables:
            raise ModelError(f"model.bin names {name!r} but does not hold it; it is damaged: get it again")
        variables[alias] = variables[name]
    return variables


class _Reader:
    """Reads bytes in order and never beyond the end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int, what: str) -> memoryview:
        left = len(self._data) - self._position
        if count > left:
            raise ModelError(f"model.bin ends early: {what} takes {count} bytes and {left} are left; get it again")
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout), "a number"))[0])

    def text(self) -> str:
        """Read a string that is stored with its length and a final zero byte."""
        raw = bytes(self.take(self.number("<H"), "a name"))
        try:
            return raw.removesuffix(b"\0").decode()
        except UnicodeDecodeError as error:
            raise ModelError("model.bin holds a name that is not text; it is damaged: get it again") from error

    def variable(self, name: str) -> Variable:
        shape = tuple(self.number("<I") for _ in range(self.number("<B")))
        type_id, size = self.number("<B"), self.number("<I")
        if type_id not in _TYPES:
            raise ModelError(f"model.bin stores {name!r} in an unknown type ({type_id}); convert the model again")
        type_name, layout = _TYPES[type_id]
        if prod(shape) * np.dtype(layout).itemsize != size:
            raise ModelError(f"model.bin gives {name!r} {size} bytes for shape {shape} of {type_name}; get it again")
        stored = np.frombuffer(self.take(size, repr(name)), layout)
        try:
            return Variable(type_name, shape, stored.reshape(shape))
        except ValueError as error:  # too many dimensions for numpy, or empty ones
            raise ModelError(f"model.bin gives {name!r} an impossible shape; it is damaged: get it again") from error
