"""Readers of Arrow tables with the features of the library `datasets`: audio, classes, text and numbers.

Audio is not decoded: the bytes in an audio column are an audio file.

Source: https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxrank.data.cells import AUDIO_NAMES, RATE_NAMES, audio_in, rate_of
from voxrank.data.names import name_within
from voxrank.data.sources import Content
from voxrank.errors import DataError


def audio_column(source: Path, features: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the column with the audio, found by its type or else by its name, and notes on the choice."""
    candidates = [name for name, feature in features.items() if type(feature).__name__ == "Audio"]
    if not candidates:
        candidates = [name for name in AUDIO_NAMES if name in features]
    if not candidates:
        raise DataError(f"{source}: expected a column of audio, found: {', '.join(features)}; cast one to Audio")
    column = "audio" if "audio" in candidates else candidates[0]
    is_ambiguous = len(candidates) > 1 and type(features[column]).__name__ == "Audio"
    return column, (f"audio is the column {column!r} (also there: {', '.join(candidates)})",) if is_ambiguous else ()


def content_of(part: Any, index: int, column: str, folder: Path) -> Content:
    """Return the audio of a row."""
    row = part[index]
    rate = rate_of({name: row.column(name)[0].as_py() for name in RATE_NAMES if name in row.column_names})
    content = audio_in(row.column(column)[0].as_py(), rate)
    return folder / name_within(folder, content) if isinstance(content, str) else content


def audio_cells(column: Any) -> tuple[list[str | None], list[bool]]:
    """Return the name of each row's audio, and whether the row holds the audio."""
    import pyarrow as pa

    names: list[str | None] = []
    embedded: list[bool] = []
    for chunk in column.chunks:
        fields = {}
        if pa.types.is_struct(chunk.type):  # flattening makes the fields of an empty row empty
            fields = dict(zip((field.name for field in chunk.type), chunk.flatten(), strict=True))
        if {"bytes", "path"} <= fields.keys():
            names += fields["path"].to_pylist()
            embedded += fields["bytes"].is_valid().to_pylist()
        elif pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
            names += chunk.to_pylist()
            embedded += [False] * len(chunk)
        else:
            names += [None] * len(chunk)
            embedded += chunk.is_valid().to_pylist()
    return names, embedded


def is_cell(feature: Any) -> bool:
    """Return whether a feature is text, a number, a class or a list of them, and not audio, an image or an array."""
    kind = type(feature).__name__
    if kind in ("List", "LargeList", "Sequence"):
        inner = feature.feature
        return isinstance(inner, Mapping) or (is_cell(inner) and not _is_float(inner))
    return kind == "ClassLabel" or (kind == "Value" and "binary" not in feature.dtype)


def values_of(cells: list[Any], feature: Any) -> list[Any]:
    """Return cells with class numbers replaced by class names. Other cells stay unchanged."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return [_class_name(feature, cell) for cell in cells]
    if kind in ("List", "LargeList", "Sequence") and type(feature.feature).__name__ == "ClassLabel":
        return [None if cell is None else [_class_name(feature.feature, number) for number in cell] for cell in cells]
    return cells


def _class_name(feature: Any, number: int | None) -> str | None:
    """Return the name of a class; None where the number is not that of a class, as in test sets without labels."""
    return feature.names[number] if number is not None and 0 <= number < feature.num_classes else None


def _is_float(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith("float")


def canonical(name: str, features: Mapping[str, Any]) -> str:
    """Return the manifest column for a column.

    ``labels`` with one class each, a name that trainers use, becomes ``label``; ``label`` with floats becomes
    ``value``.
    """
    if name == "labels" and "label" not in features and type(features[name]).__name__ in ("ClassLabel", "Value"):
        return "label"
    if name == "label" and "value" not in features and _is_float(features[name]):
        return "value"
    return name
