"""The command `voxrank validate`: fine-tune models, and measure how far the scores agree."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from voxrank.cli.common import DataArgument, JsonOption, err, give_json, log_to, out
from voxrank.cli.options import with_options
from voxrank.config import OUTPUT, ValidateRequest
from voxrank.report.progress import watch

EPILOG = """
Examples:

  voxrank validate commands.csv --model openai/whisper-tiny \\
      --model facebook/hubert-base-ls960 --out validated

  voxrank validate commands.csv --model openai/whisper-tiny \\
      --strategy layer --seeds 5 --out validated

  voxrank validate transcripts.csv --unit char --model ./my-parakeet \\
      --strategy layer --head transducer --head-at top

To go on after a stop, run the same command with the same --out.
"""


@with_options()
def validate(
    data: DataArgument,
    *,
    request: ValidateRequest,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write validation.json, candidates.csv, plots and trials here.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json_out: JsonOption = None,
) -> None:
    """Fine-tune models for real, and report how far scores and rules that look at no data agree with the results."""
    request = replace(request, tuning=replace(request.tuning, split_seed=request.seed))
    with ExitStack() as stack:
        if out_dir is not None:
            from voxrank.results.ranking import check_folder

            check_folder(out_dir)
            stack.enter_context(log_to(out_dir))
        from voxrank.groundtruth.validation import run

        try:
            result = run(data, request, out_dir, stack.enter_context(watch(err())))
        except KeyboardInterrupt:
            to_resume = "no finished trial is lost; run the same command again to go on"
            raise KeyboardInterrupt(to_resume if out_dir is not None else "nothing was written") from None
    if out_dir is not None:
        from voxrank.report.plots import save_plots

        result.save(out_dir)
        save_plots(result, out_dir)
    if give_json(json_out, result.to_json()):
        return
    from voxrank.report.validation import show_validation

    show_validation(out(), result)
    if out_dir is not None:
        files = "validation.json, candidates.csv, scatter.svg, ranks.svg, trials.sqlite, run.log"
        out().print(f"Saved in {out_dir}: {files}", soft_wrap=True, markup=False)
