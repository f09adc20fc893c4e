"""The command `voxrank align`: time stamps for each unit of transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxrank._support.words import in_seconds
from voxrank.cli.common import DataArgument, JsonOption, err, give_json, log_to, out
from voxrank.cli.extras import check_extras
from voxrank.cli.options import with_options
from voxrank.config import OUTPUT, AlignRequest
from voxrank.report.progress import watch
from voxrank.report.terminal import plain, show_skipped, show_warning

EPILOG = """
Examples:

  voxrank align transcripts.csv --model pack:whisper-base --out aligned

  voxrank align transcripts.csv --unit phone --language de \\
      --aligner flat:openai/whisper-base@3 --out aligned

  voxrank align transcripts.csv \\
      --aligner ctc:facebook/wav2vec2-base-960h --out aligned
"""


@with_options()
def align(
    data: DataArgument,
    *,
    out_dir: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write alignment.ctm, textgrids/, manifest.csv and alignment.json here.",
            rich_help_panel=OUTPUT,
        ),
    ],
    request: AlignRequest,
    json_out: JsonOption = None,
) -> None:
    """Locate each unit of your transcripts in time, and write CTM, and TextGrids for Praat."""
    check_extras(request)
    from voxrank.results.ranking import check_folder

    check_folder(out_dir)
    with log_to(out_dir), watch(err()) as progress:
        from voxrank.alignment.align import run

        aligned = run(data, request, progress)
        aligned.save(out_dir)
    if give_json(json_out, aligned.to_json()):
        return
    show_warning(out(), aligned.warning)
    show_skipped(out(), aligned.skipped)
    line = plain(
        f"{len(aligned.utterances):,} utterances ({in_seconds(aligned.audio_s)}) aligned in "
        f"{in_seconds(aligned.seconds, 1)} by {aligned.record}: {len(aligned.units)} {aligned.tier}"
    )
    out().print(line, soft_wrap=True)
    in_files = all(item.utterance.audio is None for item in aligned.utterances)
    manifest = ", manifest.csv (for voxrank rank)" if in_files else " (for voxrank rank, as --segments)"
    text = f"Saved in {out_dir}: alignment.ctm, textgrids{manifest}, alignment.json, run.log"
    out().print(text, soft_wrap=True, markup=False)
