"""The commands `voxrank cache`: list and delete the cached sketches."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from voxrank._support.words import megabytes
from voxrank.cli.commands import CONTEXT, Command, Group
from voxrank.cli.common import JsonOption, give_json, out
from voxrank.cli.options import with_options
from voxrank.config import CACHE, CacheOptions, part
from voxrank.errors import OptionError
from voxrank.report.terminal import plain

app = typer.Typer(
    cls=Group,
    help="List or delete the sketches in the cache, which save encoding audio twice.",
    context_settings=CONTEXT,
)

LS_EPILOG = """
Examples:

  voxrank cache ls

  voxrank cache ls --json | jq .holdings
"""
PRUNE_EPILOG = """
Examples:

  voxrank cache prune --size 5

  voxrank cache prune --all
"""


@dataclass(frozen=True)
class FolderRequest:
    """The folder of the cache."""

    cache: CacheOptions = part(CacheOptions, "folder")


@app.command("ls", cls=Command, epilog=LS_EPILOG, context_settings=CONTEXT)
@with_options()
def ls(*, request: FolderRequest, json_out: JsonOption = None) -> None:
    """List the kept sketches by model and options, last used first."""
    from voxrank.cache.store import Cache

    store = Cache(request.cache)
    holdings = store.holdings()
    rows = [{**asdict(holding), "folder": str(holding.folder)} for holding in holdings]
    if give_json(json_out, {"folder": str(store.folder), "holdings": rows}):
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model")
    table.add_column("sample")
    for heading in ("layers", "utterances", "MB", "last used"):
        table.add_column(heading, justify="right")
    for holding in holdings:
        last_used = datetime.fromtimestamp(holding.used, UTC).astimezone()
        layers = holding.about.get("layers")
        table.add_row(
            plain(str(holding.about.get("model", "?")), width=28),
            plain(str(holding.about.get("sample", "?")), width=10),
            str(len(layers) if isinstance(layers, list) else "?"),
            f"{holding.utterances:,}",
            f"{holding.size / 1e6:,.1f}",
            f"{last_used:%Y-%m-%d %H:%M}",
        )
    if holdings:
        out().print(table)
    total = sum(holding.size for holding in holdings)
    out().print(plain(f"{megabytes(total / 1e6, 1)} in {store.folder}"), soft_wrap=True, highlight=False)


@app.command("prune", cls=Command, epilog=PRUNE_EPILOG, context_settings=CONTEXT)
@with_options()
def prune(
    *,
    request: FolderRequest,
    size: Annotated[
        float | None,
        typer.Option(
            "--size",
            metavar="GB",
            help="Delete the least recently used sketches until the cache has at most this size.",
            rich_help_panel=CACHE,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all sketches.", rich_help_panel=CACHE)] = False,
    json_out: JsonOption = None,
) -> None:
    """Delete sketches; nothing is lost but the time to make them again."""
    from voxrank.cache.store import Cache

    if everything == (size is not None):
        raise OptionError("expected either --size GB or --all; `voxrank cache ls` lists what is kept")
    options = replace(request.cache, size_gb=0.0 if size is None else size)
    files, freed = Cache(options).prune()
    if give_json(json_out, {"files": files, "bytes": freed}):
        return
    out().print(f"deleted {files:,} files, {megabytes(freed / 1e6, 1)}", highlight=False)
