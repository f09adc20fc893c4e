"""Writes data frames to Parquet, with their origin in the file's metadata."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxrank._support.files import replacing
from voxrank.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

KEY = "voxrank"
"""Key of the metadata, whose value is a JSON object."""


def write_parquet(table: pd.DataFrame, path: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Write a table into a Parquet file, completely or not at all.

    The column `layer` contains the index of a layer. It is empty for joint layers, whose names are in the column
    `joint`. Each column therefore has a single type for every ranking.

    Args:
        table: the table.
        path: path of the file.
        about: metadata, stored as JSON under "voxrank".

    Raises:
        OptionError: pyarrow is not installed, or the file cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise OptionError("Parquet needs the extra parquet; run: pip install 'voxrank[parquet]'")
    import pyarrow as pa
    from pyarrow import parquet

    arrow_table = pa.Table.from_pandas(_with_joint_column(table), preserve_index=False)
    metadata = {**(arrow_table.schema.metadata or {}), KEY.encode(): json.dumps(about, ensure_ascii=False).encode()}
    try:
        with replacing(Path(path)) as temporary:
            parquet.write_table(arrow_table.replace_schema_metadata(metadata), temporary)
    except OSError as error:
        raise OptionError(
            f"expected a file that can be written at {path}, got: {error.strerror or error}; choose another"
        ) from error


def _with_joint_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with whole numbers in `layer`, and names of joint layers in `joint`."""
    import pandas as pd

    indices = [None if isinstance(layer, str) else layer for layer in table["layer"]]
    joint = [layer if isinstance(layer, str) else None for layer in table["layer"]]
    split = table.assign(layer=pd.Series(indices, dtype="Int64", index=table.index))
    split.insert(list(split.columns).index("layer") + 1, "joint", pd.Series(joint, dtype="str", index=table.index))
    untyped = [name for name in split.columns if split[name].dtype == object]  # columns of intervals without values
    return split.astype(dict.fromkeys(untyped, "float64"))
