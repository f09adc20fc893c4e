"""The command `voxrank rank`: rank models and their layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxrank._support.packages import is_installed, missing_extra
from voxrank._support.progress import Progress
from voxrank.cli.common import DataArgument, JsonOption, err, give_json, log_to, out
from voxrank.cli.extras import check_extras, check_transcripts
from voxrank.cli.options import with_options
from voxrank.cli.outputs import Outputs
from voxrank.config import CACHE, CacheOptions, RankRequest
from voxrank.report.progress import Together
from voxrank.report.progress import watch as watch_in
from voxrank.report.terminal import show_ranking
from voxrank.results.details import Details
from voxrank.scores.names import NAMES

if TYPE_CHECKING:
    from voxrank.report.live import LiveView
    from voxrank.results.ranking import Ranking

REPORT = "report.html"

EPILOG = """
Examples:

  voxrank rank train.csv --model openai/whisper-tiny \\
      --model facebook/hubert-base-ls960 --out ranked

  voxrank rank commands/ --model pack:whisper-base --model logmel

  voxrank rank train.csv --model ./my-hubert --strategy layer --head-at top

  voxrank rank train.csv --target speaker --model ./my-wav2vec2 \\
      --layers 0,6,12

  voxrank rank train.csv --model openai/whisper-base --besides speaker

  voxrank rank transcripts.csv --unit phone --language en-us \\
      --model openai/whisper-base --against uniform

  voxrank rank train.csv --model openai/whisper-base --model logmel \\
      --engine ray --gpus-per-worker 0.5

  voxrank rank train.csv --model ./my-hubert --model ./my-wav2vec2 \\
      --strategy layer --then finetune.py
"""


@with_options(score=f"Score: one of {', '.join(NAMES)} (repeat). The first orders the ranking; default, by several.")
def rank(
    data: DataArgument,
    *,
    request: RankRequest,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor write the cache.", rich_help_panel=CACHE)
    ] = False,
    outputs: Outputs,
    json_out: JsonOption = None,
) -> None:
    """Rank pre-trained models, and their layers, for your labelled speech."""
    level = outputs.details or ("quick" if outputs.folder is None else "full")
    request = replace(
        request,
        details=replace(request.details, details=level),
        cache=None if no_cache else request.cache or CacheOptions(),
    )

    def rank_data(progress: Progress) -> Ranking:
        from voxrank.ranking.rank import run

        return run(data, request, progress)

    check_extras(request, outputs)
    check_transcripts(data, request)
    outputs.check(request)
    run_and_show(rank_data, outputs, json_out=json_out, trust=request.encoder.trust_remote_code)


def run_and_show(
    rank_data: Callable[[Progress], Ranking], outputs: Outputs, *, json_out: str | None, trust: Sequence[str] = ()
) -> None:
    """Run a ranking under a progress bar, save it if requested, print it, and write the other outputs.

    Args:
        rank_data: function that runs the ranking.
        outputs: the requested outputs.
        json_out: destination of the ranking as JSON.
        trust: names of the models whose own code may run.
    """
    folder = outputs.folder
    if folder is not None:
        from voxrank.results.ranking import check_folder

        check_folder(folder)
    with ExitStack() as stack:
        live = _serve_page(stack, outputs.port)
        with log_to(folder) if folder is not None else nullcontext():
            ranking = _run_watched(rank_data, live)
        if live is not None:
            live.complete(ranking)
        _save_and_print(ranking, folder, json_out=json_out)
        outputs.make(ranking, trust)


def _run_watched(rank_data: Callable[[Progress], Ranking], live: LiveView | None) -> Ranking:
    try:
        with watch_in(err()) as terminal:
            return rank_data(terminal if live is None else Together(terminal, live.recorder))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no ranking was written") from None


def _serve_page(stack: ExitStack, port: int | None) -> LiveView | None:
    """Serve a page until the stack ends, and print its address on standard error."""
    if port is None:
        return None
    from voxrank.report.live import LiveView

    live = stack.enter_context(LiveView(port))
    err().print(f"Watch at {live.url}", soft_wrap=True, markup=False)
    return live


def _save_and_print(ranking: Ranking, out_dir: Path | None, *, json_out: str | None) -> None:
    has_page = out_dir is not None and _save(ranking, out_dir)
    if give_json(json_out, ranking.to_json()):
        return
    show_ranking(out(), ranking)
    if out_dir is not None:
        details = "details.json, " if ranking.details != Details() else ""
        page = f"{REPORT}, " if has_page else ""
        files = f"{page}ranking.json, layers.csv, {details}run.log"
        out().print(f"Saved in {out_dir}: {files}", soft_wrap=True, markup=False)


def _save(ranking: Ranking, folder: Path) -> bool:
    """Save a ranking, and its page if the extra `page` is installed; return whether the page was written.

    Without the extra, a line on standard error says so. The page of an earlier ranking is removed.
    """
    ranking.save(folder)
    page = folder / REPORT
    if not is_installed("page"):
        page.unlink(missing_ok=True)
        line = f"{REPORT} was not written: {missing_extra('the page', 'page')}, then: voxrank report {folder}"
        err().print(line, soft_wrap=True, markup=False)
        return False
    from voxrank.report.page import write_page

    write_page(page, ranking)
    return True
