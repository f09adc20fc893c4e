"""Checks that refuse implausible numbers in a checkpoint's files before anything is built from them.

A line of config.json can ask for a billion blocks, or for attention code that is fetched from the hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voxrank.config import Hertz
from voxrank.errors import ModelError, shortened

RATES_HZ: tuple[Hertz, Hertz] = (1_000, 768_000)
MAX_LAYERS = 512
MAX_LABELS = 1_000_000
MAX_COUNT = 100_000
"""Maximum of any other count in config.json, such as heads, groups or codebooks."""
MAX_STEPS = 100_000
"""Maximum of the numbers in preprocessor_config.json (bands, hop, FFT length), except the rate and sample counts."""
MAX_SAMPLES = 100_000_000
MAX_MEL_BINS = 1_024
BYTES_BEHIND_A_WEIGHT = 0.25
"""Minimum storage per weight, in bytes: 4 bits, halved for safety."""
SMALL_WEIGHTS = 1 << 24
"""Number of weights up to which their storage is not checked."""
ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""Implementations of attention that transformers includes; it fetches others from the hub, as code."""


def check_config(name: str, content: Any, *, trusted: bool) -> None:
    """Refuse a config.json that asks for more than any model has, or for code.

    Args:
        name: the model, for messages.
        content: the parsed JSON.
        trusted: whether code that comes with the model may run.

    Raises:
        ModelError: the file asks for more, or for code.
    """
    for key, value in _entries(content):
        if key.endswith("_implementation") and not trusted:
            _check_attention(name, key, value)
        limit = _limit(key)
        if limit is not None and isinstance(value, int | float) and not value <= limit:
            raise ModelError(
                f"{name}: config.json says {key} = {value:g}, and no model has more than {limit:,}; get the model again"
            )


def check_extractor(name: str, content: Any) -> None:
    """Refuse a preprocessor_config.json with implausible numbers.

    Raises:
        ModelError: a number is implausible.
    """
    for key, value in _entries(content):
        limit = MAX_SAMPLES if "samples" in key else RATES_HZ[1] if key == "sampling_rate" else MAX_STEPS
        if isinstance(value, int | float) and not -limit <= value <= limit:
            raise ModelError(
                f"{name}: preprocessor_config.json says {key} = {value:g}, beyond the {limit:,} that any model has; "
                "get the model again"
            )


def check_rate(what: str, rate: Any) -> None:
    """Refuse an invalid sample rate.

    Raises:
        ModelError: the rate is not a whole number in the range of `RATES_HZ`.
    """
    if isinstance(rate, bool) or not isinstance(rate, int) or not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        shown = shortened(repr(rate), 40)
        raise ModelError(
            f"{what}: expected a sample rate of {RATES_HZ[0]:,} to {RATES_HZ[1]:,} Hz, got {shown}; get the model again"
        )


def check_stored(name: str, folder: Path, parameters: int) -> None:
    """Refuse a folder whose config.json needs far more weights than its files can hold: the rest would be random.

    Raises:
        ModelError: the files are too small.
    """
    stored = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".safetensors", ".bin") and f.is_file())
    if parameters > SMALL_WEIGHTS and parameters * BYTES_BEHIND_A_WEIGHT > stored:
        raise ModelError(
            f"{name}: config.json makes {parameters:,} weights, and its files of weights hold {stored:,} bytes; "
            "use the complete checkpoint and its own config.json"
        )


def _check_attention(name: str, key: str, value: Any) -> None:
    for chosen in value.values() if isinstance(value, dict) else [value]:
        if chosen not in ATTENTION:
            raise ModelError(
                f"{name}: config.json asks for {key} = {shortened(repr(chosen), 60)}, which is code from elsewhere: "
                f"take the line out, or if you trust its authors, add --trust-remote-code {name}"
            )


def _limit(key: str) -> int | None:
    if key == "num_labels":
        return MAX_LABELS
    if key.removesuffix("s").endswith(("layer", "block", "depth")):
        return MAX_LAYERS
    return MAX_COUNT if key.startswith("num_") else None


def _entries(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in parsed JSON with the name of its key; the parser limits the depth of nesting."""
    if isinstance(content, dict) and not key.endswith("_implementation"):
        for name, value in content.items():
            yield from _entries(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value, key)
    else:
        yield key, content
