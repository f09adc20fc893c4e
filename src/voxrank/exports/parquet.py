"""Data frames → Parquet, with what made them in the file's metadata."""

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
"""Of the metadata: a JSON object."""


def write_parquet(table: pd.DataFrame, path: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Write a table into a Parquet file that appears whole or not at all.

    The column `layer` holds the index of a layer, and nothing where several were taken together; those are named in a
    column of its own, `joint`. So each column is of one type, whatever was ranked.

    Args:
        table: its rows.
        path: of the file.
        about: what is kept in the metadata, under "voxrank", as JSON.

    Raises:
        OptionError: pyarrow is not installed, or the file cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise OptionError("Parquet needs the extra parquet; run: pip install 'voxrank[parquet]'")
    import pyarrow as pa
    from pyarrow import parquet

    content = pa.Table.from_pandas(_one_type_each(table), preserve_index=False)
    kept = {**(content.schema.metadata or {}), KEY.encode(): json.dumps(about, ensure_ascii=False).encode()}
    try:
        with replacing(Path(path)) as temporary:
            parquet.write_table(content.replace_schema_metadata(kept), temporary)
    except OSError as error:
        raise OptionError(
            f"expected a file that can be written at {path}, got: {error.strerror or error}; choose another"
        ) from error


def _one_type_each(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with whole numbers in `layer`, and names of several layers together in `joint`."""
    import pandas as pd

    indices = [None if isinstance(layer, str) else layer for layer in table["layer"]]
    joint = [layer if isinstance(layer, str) else None for layer in table["layer"]]
    changed = table.assign(layer=pd.Series(indices, dtype="Int64", index=table.index))
    changed.insert(list(changed.columns).index("layer") + 1, "joint", pd.Series(joint, dtype="str", index=table.index))
    empty = [name for name in changed.columns if changed[name].dtype == object]  # intervals that are not there
    return changed.astype(dict.fromkeys(empty, "float64"))
