"""`voxrank export`: a saved ranking in another form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from voxrank.cli.common import JsonOption, err, give_json, print_json
from voxrank.cli.outputs import check_new_file, write_text
from voxrank.config import check_choice
from voxrank.errors import OptionError

if TYPE_CHECKING:
    from voxrank.results import Ranking, TableName

Form = Literal["markdown", "latex", "csv", "parquet", "json", "card", "finetune"]

EPILOG = """
Examples:

  voxrank export ranked --to markdown

  voxrank export ranked --to parquet --table layers --out layers.parquet

  voxrank export ranked --to finetune --out tune_winner.py
"""


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What voxrank rank --out wrote.", show_default=False)],
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help="markdown, latex, csv, parquet, json, card (for a model card of the hub) or finetune (a script that "
            "tunes the best model with transformers).",
        ),
    ] = "markdown",
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            help="models (each at its best layer) or layers (all of them).",
            show_default="layers for csv and parquet, else models",
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write here.", show_default="standard output"),
    ] = None,
    json_out: JsonOption = None,
) -> None:
    """Write a saved ranking as a table, a model card or a script that fine-tunes the winner."""
    check_choice("form", to, Form)
    if table is not None and to in ("json", "card", "finetune"):
        raise OptionError(f"--table is for markdown, latex, csv and parquet; leave it out with --to {to}")
    if to == "finetune" and out_file is not None:
        check_new_file(out_file)
    if to == "parquet" and out_file is None:
        raise OptionError("Parquet is written to a file; name one with --out")
    from voxrank.results import Ranking

    ranking = Ranking.load(folder)
    if give_json(json_out, ranking.to_json()):
        return
    chosen = cast("TableName", table or ("layers" if to in ("csv", "parquet") else "models"))
    if out_file is None:
        _print(to, _text(ranking, to, chosen))
        return
    if to == "parquet":
        ranking.to_parquet(out_file, chosen)
    else:
        write_text(out_file, _text(ranking, to, chosen, out_file.name))
    err().print(f"Wrote {out_file}", soft_wrap=True, markup=False)


def _text(ranking: Ranking, to: str, table: TableName, name: str = "finetune.py") -> str:
    forms: dict[str, Callable[[], str]] = {
        "markdown": lambda: ranking.to_markdown(table),
        "latex": lambda: ranking.to_latex(table),
        "csv": lambda: ranking.to_csv(table),
        "json": ranking.to_json,
        "card": ranking.model_card,
        "finetune": lambda: _script(ranking, name),
    }
    return forms[to]()


def _script(ranking: Ranking, name: str) -> str:
    from voxrank.finetune import script

    return script(ranking, name)


def _print(to: str, text: str) -> None:
    if to == "json":
        print_json(text)
    else:
        typer.echo(text, nl=False)
