"""Strategies of this folder's tests: bytes that are nearly valid."""

import pytest
from hypothesis import strategies as st

EXTREMES = [bytes(n) for n in (1, 2, 4, 8)] + [n * b"\xff" for n in (1, 2, 4, 8)] + [b"\x00\x00\x00\x7f", b"\x01\0\0\0"]


@st.composite
def _mutated(draw, whole, most=6, alphabet=()):
    """Return `whole` with a few stretches replaced, inserted, deleted or repeated."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 8) | st.integers(0, len(content)))
        piece = draw(st.sampled_from([*EXTREMES, *alphabet]) | st.binary(max_size=8))
        match draw(st.sampled_from(["over", "insert", "delete", "repeat", "cut"])):
            case "over":
                content[at : at + len(piece)] = piece
            case "insert":
                content[at:at] = piece
            case "delete":
                del content[at : at + length]
            case "repeat":
                content[at:at] = content[at : at + length]
            case "cut":
                del content[at:]
    return bytes(content)


@pytest.fixture(scope="session")
def mutated():
    return _mutated
