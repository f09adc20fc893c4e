"""`voxrank cache`: what is kept of earlier runs, and how it goes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from voxrank.cli.common import CacheOption, JsonOption, out, print_json
from voxrank.config import CacheOptions
from voxrank.errors import OptionError
from voxrank.report.terminal import plain

app = typer.Typer(help="Sketches that are kept so that nothing is encoded twice: list them, or delete some.")

LS_EPILOG = """
Examples:

  voxrank cache ls

  voxrank cache prune --size 5

  voxrank cache prune --all
"""


@app.command("ls", epilog=LS_EPILOG)
def ls(*, cache: CacheOption = None, json_out: JsonOption = False) -> None:
    """List what is kept, by model and options, used last first."""
    from voxrank.cache.store import Cache

    store = Cache(CacheOptions(cache))
    found = store.holdings()
    if json_out:
        rows = [{**asdict(one), "folder": str(one.folder)} for one in found]
        print_json(json.dumps({"folder": str(store.folder), "holdings": rows}, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    table.add_column("sample")
    for heading in ("layers", "utterances", "MB", "last used"):
        table.add_column(heading, justify="right")
    for one in found:
        used = datetime.fromtimestamp(one.used, UTC).astimezone()
        layers = one.about.get("layers")
        table.add_row(
            plain(str(one.about.get("model", "?")), width=28),
            plain(str(one.about.get("sample", "?")), width=10),
            str(len(layers) if isinstance(layers, list) else "?"),
            f"{one.utterances:,}",
            f"{one.size / 1e6:,.1f}",
            f"{used:%Y-%m-%d %H:%M}",
        )
    if found:
        out().print(table)
    total = sum(one.size for one in found)
    out().print(plain(f"{total / 1e6:,.1f} MB in {store.folder}"), soft_wrap=True, highlight=False)


@app.command("prune")
def prune(
    *,
    cache: CacheOption = None,
    size: Annotated[
        float | None,
        typer.Option("--size", metavar="GB", help="Delete what was not used for longest, until no more is left."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all.")] = False,
    json_out: JsonOption = False,
) -> None:
    """Delete sketches; nothing is lost but the time to make them again."""
    from voxrank.cache.store import Cache

    if everything == (size is not None):
        raise OptionError("expected either --size GB or --all; what is there: `voxrank cache ls`")
    options = CacheOptions(cache, size_gb=0.0 if size is None else size)
    files, freed = Cache(options).prune()
    if json_out:
        print_json(json.dumps({"files": files, "bytes": freed}))
        return
    out().print(f"deleted {files:,} files, {freed / 1e6:,.1f} MB", highlight=False)
