"""Readers of cells with audio: file names, bytes, arrays and tensors, alone or in a mapping, as in `datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxrank.config import Hertz
from voxrank.data.names import tidied
from voxrank.data.sources import Content
from voxrank.errors import UtteranceError

RATE_NAMES = ("sampling_rate", "sample_rate", "samplerate", "sr", "rate")
"""Names of columns and keys with the sample rate in Hz."""
AUDIO_NAMES = ("audio", "waveform", "array", "samples", "speech", "wav", "signal", "path", "audio_filepath", "file")
"""Names of columns and keys with audio or the name of a file, in order of preference."""
SAMPLE_KEYS = ("array", "waveform", "samples")


def rate_of(cells: Mapping[str, Any]) -> Hertz | None:
    """Return the sample rate in a row or a mapping, or None where it has none."""
    for name in RATE_NAMES:
        rate = plain(cells.get(name))
        if isinstance(rate, int | float) and not isinstance(rate, bool):
            return rate
    return None


def audio_in(cell: Any, rate: Hertz | None) -> Content | str:
    """Return the audio of a cell. Text, the name of a file, is returned unchanged.

    Args:
        cell: text, a path, bytes of an audio file, samples (an array, a tensor or a list), or a mapping with
            ``bytes``, ``path``, or ``array`` and ``sampling_rate``.
        rate: sample rate for samples in a cell without a rate.

    Raises:
        UtteranceError: the cell holds no audio, or samples without a rate.
    """
    if isinstance(cell, str | Path):
        return str(cell)
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, Mapping):
        samples = next((cell[key] for key in SAMPLE_KEYS if cell.get(key) is not None), None)
        content = next((part for part in (samples, cell.get("bytes"), cell.get("path")) if part is not None), None)
        if content is None or isinstance(content, Mapping):
            raise UtteranceError(f"expected audio with bytes, path or array, got the keys {', '.join(map(str, cell))}")
        return audio_in(content, rate_of(cell) or rate)
    samples = as_array(cell)
    if samples is None:
        raise UtteranceError(f"expected a file, bytes or samples, got {type(cell).__name__}")
    if rate is None:
        raise UtteranceError(f"expected the rate of the samples, found none; name it {RATE_NAMES[0]!r}")
    return samples, rate


def as_array(cell: Any) -> np.ndarray[Any, Any] | None:
    """Return the samples in a cell as an array, or None where the cell holds no samples."""
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu()
    if hasattr(cell, "__array__") or (isinstance(cell, Sequence) and not isinstance(cell, str)):
        try:
            samples = np.asarray(cell)
        except (TypeError, ValueError, RuntimeError):
            return None
        return samples if samples.ndim and samples.dtype.kind in "fiu" else None
    return None


def plain(cell: Any) -> Any:
    """Return a cell as Python text, number, list or None. Other objects are returned unchanged."""
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu().numpy()
    if isinstance(cell, np.generic) or (isinstance(cell, np.ndarray) and cell.size == 1):
        cell = cell.item()
    elif isinstance(cell, np.ndarray) and cell.ndim == 1 and len(cell) <= MAX_LIST:
        cell = cell.tolist()
    elif isinstance(cell, tuple):
        cell = list(cell)
    if cell is None or (isinstance(cell, float) and cell != cell) or type(cell).__name__ in ("NAType", "NaTType"):
        return None
    return cell


MAX_LIST = 10_000
"""Maximum number of numbers in a cell that does not hold samples."""


def as_text(value: Any, column: str) -> str | None:
    """Return the text of a cell, or of a part of it, in NFC and stripped, or None where it is empty.

    Raises:
        UtteranceError: as `checked_text`.
    """
    text = checked_text(value, column)
    return text if text is None or text.isascii() else tidied(text) or None


def checked_text(value: Any, column: str) -> str | None:
    """Return the text of a cell without changing its normal form, as file names need, or None where it is empty.

    Raises:
        UtteranceError: the cell is neither text nor a number, or its text is invalid in file names and reports.
    """
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise UtteranceError(f"expected text or a number in the column {column!r}, got {type(value).__name__}")
    text = str(value).strip()
    if "\0" in text or not (text.isascii() or text == text.encode(errors="ignore").decode()):
        raise UtteranceError(f"expected UTF-8 text in the column {column!r}, got {text!a}")
    return text or None
