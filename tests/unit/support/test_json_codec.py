"""Content read from JSON matches its types, or is refused with the place that does not."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from voxrank._support.json_codec import built, parsed, read_object
from voxrank.errors import DataError


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    pair: tuple[float, int]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    layer: int | str = 0
    low: float | None = None
    by_name: dict[str, float] | None = None


WHOLE = {"name": "x", "inner": [{"kind": "b", "pair": [1.5, 2]}], "layer": "mean", "low": 3, "by_name": {"y": 1.0}}


def test_a_dataclass_is_read_back_unchanged():
    assert built(WHOLE, Outer) == Outer("x", (Inner("b", (1.5, 2)),), "mean", 3, {"y": 1.0})
    assert built({"name": "x"}, Outer) == Outer("x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "name: expected text, got 1"),
        ({"name": None}, "name: expected text, got null"),
        ({"layer": 1.5}, "layer: expected text, got 1.5"),
        ({"layer": True}, "layer: expected text, got true"),
        ({"low": True}, "low: expected a number, got true"),
        ({"low": "1"}, 'low: expected a number, got "1"'),
        ({"low": 2**60}, "low: expected a smaller number, got 1152921504606846976"),
        ({"inner": {}}, "inner: expected a list, got an object"),
        ({"inner": [[]]}, r"inner\[0\]: expected an object, got a list"),
        ({"inner": [{"kind": "c", "pair": [1, 2]}]}, r'inner\[0\].kind: expected one of a, b, got "c"'),
        ({"inner": [{"kind": "a", "pair": [1]}]}, r"inner\[0\].pair: expected a list of 2, got a list"),
        ({"inner": [{"kind": "a"}]}, r"inner\[0\]: 'pair' is missing"),
        ({"by_name": [1]}, "by_name: expected an object, got a list"),
        ({"by_name": {"y": "z" * 99}}, 'by_name.y: expected a number, got "zzzz.*…$'),
        ({"later": 1}, "the content: this version of voxrank does not know 'later'"),
    ],
)
def test_json_that_does_not_fit_the_dataclass_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        built(WHOLE | change, Outer)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "-1e999", "[" * 100_000, "", "{'a': 1}", "9" * 5000])
def test_text_that_is_not_finite_json_is_refused(text):
    with pytest.raises(ValueError, match=r"finite|nested|Expecting|digits"):
        parsed(text)


def test_files_with_another_schema_or_bad_content_are_refused(tmp_path):
    file = tmp_path / "outer.json"
    file.write_text(json.dumps({"schema": 2} | WHOLE))
    assert read_object(file, 2, Outer, "an outer").layer == "mean"
    with pytest.raises(DataError, match=r"outer.json does not hold an outer of voxrank \(its schema is 2, and this"):
        read_object(file, 1, Outer, "an outer")
    file.write_text('{"schema": true}')
    with pytest.raises(DataError, match="its schema is true"):
        read_object(file, 1, Outer, "an outer")
    file.write_bytes(b"\xff")
    with pytest.raises(DataError, match="does not hold an outer"):
        read_object(file, 1, Outer, "an outer")
    with pytest.raises(DataError, match=r"cannot read an outer at .*gone.json: No such file or directory; check"):
        read_object(tmp_path / "gone.json", 1, Outer, "an outer")
