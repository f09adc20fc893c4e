"""The command `voxrank align`: time stamps for each unit of transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxrank.cli.common import (
    AlignerOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    LanguageOption,
    SkipsOption,
    SplitOption,
    TrustOption,
    UnitOption,
    WindowOption,
    err,
    give_json,
    log_to,
    out,
)
from voxrank.cli.completion import complete_model
from voxrank.config import EncoderOptions, SequenceOptions
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


def align(
    data: DataArgument,
    *,
    out_dir: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Write alignment.ctm, textgrids/, manifest.csv and alignment.json here."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="SPEC",
            autocompletion=complete_model,
            help="Whose features the flat start may choose from (repeat).",
            show_default=False,
        ),
    ] = None,
    aligner: AlignerOption = "flat",
    unit: UnitOption = None,
    language: LanguageOption = None,
    split: SplitOption = None,
    allow_skips: SkipsOption = False,
    whisper_window: WindowOption = "full",
    device: DeviceOption = "auto",
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Decoders that run ahead.")] = 2,
    trust_remote_code: TrustOption = None,
    json_out: JsonOption = None,
) -> None:
    """Say when each unit of your transcripts is heard: CTM, and TextGrids for Praat."""
    from voxrank.results.ranking import check_folder

    check_folder(out_dir)
    encoder = EncoderOptions(
        device=device,
        whisper_window=whisper_window,
        trust_remote_code=tuple(trust_remote_code or ()),
    )
    sequence = SequenceOptions(unit=unit, language=language, aligner=aligner)
    with log_to(out_dir), watch(err()) as progress:
        from voxrank.alignment.align import align as run

        found = run(
            data,
            models=model or [],
            sequence=sequence,
            split=split,
            encoder=encoder,
            threads=threads,
            allow_skips=allow_skips,
            progress=progress,
        )
        found.save(out_dir)
    if give_json(json_out, found.to_json()):
        return
    show_warning(out(), found.warning)
    show_skipped(out(), found.skipped)
    line = plain(
        f"{len(found.utterances):,} utterances ({found.audio_s:,.0f} s) aligned in {found.seconds:,.1f} s by "
        f"{found.record}: {len(found.units)} {found.tier}"
    )
    out().print(line, soft_wrap=True)
    in_files = all(one.utterance.audio is None for one in found.utterances)
    further = ", manifest.csv (for voxrank rank)" if in_files else " (for voxrank rank, as --segments)"
    text = f"Saved in {out_dir}: alignment.ctm, textgrids{further}, alignment.json, run.log"
    out().print(text, soft_wrap=True, markup=False)
