"""Numbers in a checkpoint's own files that no model has: refused before anything is built of them.

A line of config.json can ask for a thousand million blocks, or for attention that is fetched from the hub as code.
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
"""Of anything else that config.json counts: heads, groups, codebooks."""
MAX_STEPS = 100_000
"""Of any number in preprocessor_config.json but the rate and numbers of samples: bands, hop, length of the FFT."""
MAX_SAMPLES = 100_000_000
MAX_MEL_BINS = 1_024
BYTES_BEHIND_A_WEIGHT = 0.25
"""At the least: 4 bits, and as much again to spare."""
SMALL_WEIGHTS = 1 << 24
"""Up to which it does not matter how many are stored."""
ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""What transformers itself brings; it fetches others from the hub, as code."""


def check_config(name: str, content: Any, *, trusted: bool) -> None:
    """Refuse a config.json that asks for more than any model has, or for code.

    Args:
        name: the model, for the message.
        content: as JSON.
        trusted: whether code that the model names may run.

    Raises:
        ModelError: it does.
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
    """Refuse a preprocessor_config.json whose numbers are beyond belief.

    Raises:
        ModelError: they are.
    """
    for key, value in _entries(content):
        limit = MAX_SAMPLES if "samples" in key else RATES_HZ[1] if key == "sampling_rate" else MAX_STEPS
        if isinstance(value, int | float) and not -limit <= value <= limit:
            raise ModelError(
                f"{name}: preprocessor_config.json says {key} = {value:g}, beyond the {limit:,} that any model has; "
                "get the model again"
            )


def check_rate(what: str, rate: Any) -> None:
    """Refuse what is no sample rate.

    Raises:
        ModelError: it is not a whole number in the range of `RATES_HZ`.
    """
    if isinstance(rate, bool) or not isinstance(rate, int) or not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        said = shortened(repr(rate), 40)
        raise ModelError(
            f"{what}: expected a sample rate of {RATES_HZ[0]:,} to {RATES_HZ[1]:,} Hz, got {said}; get the model again"
        )


def check_stored(name: str, folder: Path, parameters: int) -> None:
    """Refuse a folder whose config.json makes far more weights than its files can hold: they would be made up.

    Raises:
        ModelError: it does.
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
    """Every value inside, with the name that it stands under; JSON that was read is not nested beyond recursion."""
    if isinstance(content, dict) and not key.endswith("_implementation"):
        for name, value in content.items():
            yield from _entries(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value, key)
    else:
        yield key, content
