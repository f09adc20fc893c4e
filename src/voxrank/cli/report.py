"""The command `voxrank report`: write the page of a saved ranking again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxrank._support.packages import require
from voxrank.cli.common import JsonOption, give_json, out
from voxrank.cli.rank import REPORT
from voxrank.config import OUTPUT

EPILOG = """
Examples:

  voxrank report ranked

  voxrank report ranked --truth validated
"""


def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder that `voxrank rank --out` wrote.", show_default=False),
    ],
    *,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="DIR",
            help="A folder that `voxrank validate --out` wrote: the page compares scores with fine-tuning.",
            show_default="DIR, if it holds a validation",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json_out: JsonOption = None,
) -> None:
    """Write report.html for a ranking that was saved."""
    require("page", "voxrank report")
    from voxrank.results.ranking import Ranking

    ranking = Ranking.load(folder)
    directory = folder if folder.is_dir() else folder.parent
    validation = None
    if truth is not None or (directory / "validation.json").exists():
        from voxrank.groundtruth.verdict import Validation

        validation = Validation.load(directory if truth is None else truth)
    from voxrank.report.page import write_page

    write_page(directory / REPORT, ranking, validation)
    if give_json(json_out, {"report": str(directory / REPORT)}):
        return
    out().print(f"Saved {directory / REPORT}", soft_wrap=True, markup=False)
