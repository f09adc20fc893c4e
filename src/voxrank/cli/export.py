"""The command `voxrank export`: write a saved ranking in another format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voxrank.cli.common import JsonOption, err, give_json, print_json
from voxrank.cli.options import with_options
from voxrank.cli.outputs import check_new_file, write_text
from voxrank.config import OUTPUT, EncoderOptions, part
from voxrank.errors import OptionError

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking

Form = Literal["markdown", "latex", "csv", "parquet", "json", "card", "finetune"]
Table = Literal["models", "layers"]
"""Tables of `voxrank.results.ranking`, repeated here because importing that module takes time."""

EPILOG = """
Examples:

  voxrank export ranked --to markdown

  voxrank export ranked --to parquet --table layers --out layers.parquet

  voxrank export ranked --to finetune --out tune_winner.py
"""


@dataclass(frozen=True)
class TrustRequest:
    """The models whose own code may run."""

    encoder: EncoderOptions = part(EncoderOptions, "trust_remote_code")


@with_options()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that `voxrank rank --out` wrote.", show_default=False)
    ],
    *,
    to: Annotated[
        Form,
        typer.Option(
            "--to",
            metavar="FORM",
            help="Format: markdown, latex, csv, parquet, json, card (for a model card of the hub) or finetune (a "
            "script that tunes the best model with transformers).",
            rich_help_panel=OUTPUT,
        ),
    ] = "markdown",
    table: Annotated[
        Table | None,
        typer.Option(
            "--table",
            help="Table: models (each at its best layer) or layers (all of them).",
            show_default="layers for csv and parquet, else models",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File to write.", show_default="standard output", rich_help_panel=OUTPUT
        ),
    ] = None,
    request: TrustRequest,
    json_out: JsonOption = None,
) -> None:
    """Write a saved ranking as a table, a model card or a script that fine-tunes the winner."""
    trust = request.encoder.trust_remote_code
    _check(to, table, out_file, trust)
    from voxrank.results.ranking import Ranking

    ranking = Ranking.load(folder)
    chosen = table or ("layers" if to in ("csv", "parquet") else "models")
    if out_file is not None:
        if to == "parquet":
            ranking.to_parquet(out_file, chosen)
        else:
            write_text(out_file, _text(ranking, to, chosen, trust, out_file.name))
        err().print(f"Wrote {out_file}", soft_wrap=True, markup=False)
    if not give_json(json_out, ranking.to_json()) and out_file is None:
        _print(to, _text(ranking, to, chosen, trust))


def _check(to: Form, table: Table | None, out_file: Path | None, trust: Sequence[str] | None) -> None:
    """Refuse options that cannot be combined.

    Raises:
        OptionError: two options cannot be combined.
    """
    if table is not None and to in ("json", "card", "finetune"):
        raise OptionError(f"--table is for markdown, latex, csv and parquet; leave it out with --to {to}")
    if trust and to != "finetune":
        raise OptionError(f"--trust-remote-code is for --to finetune; leave it out with --to {to}")
    if to == "finetune" and out_file is not None:
        check_new_file(out_file)
    if to == "parquet" and out_file is None:
        raise OptionError("Parquet is written to a file; name one with --out")


def _text(ranking: Ranking, to: Form, table: Table, trust: Sequence[str], name: str = "finetune.py") -> str:
    forms: dict[str, Callable[[], str]] = {
        "markdown": lambda: ranking.to_markdown(table),
        "latex": lambda: ranking.to_latex(table),
        "csv": lambda: ranking.to_csv(table),
        "json": ranking.to_json,
        "card": ranking.model_card,
        "finetune": lambda: _script(ranking, name, trust),
    }
    return forms[to]()


def _script(ranking: Ranking, name: str, trust: Sequence[str]) -> str:
    from voxrank.integrations.finetune import script

    return script(ranking, name, trust=trust)


def _print(to: Form, text: str) -> None:
    if to == "json":
        print_json(text)
    else:
        typer.echo(text, nl=False)
