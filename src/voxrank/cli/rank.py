"""`voxrank rank`: the main job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, cast

import typer

from voxrank.cli.common import (
    DataArgument,
    DeviceOption,
    JsonOption,
    SplitOption,
    TargetOption,
    TrustOption,
    err,
    log_to,
    out,
)
from voxrank.config import DTypeName, EncoderOptions, ExtractionOptions, Sample, WhisperWindow
from voxrank.errors import OptionError
from voxrank.progress import Progress
from voxrank.report.progress import watch
from voxrank.report.terminal import show_ranking
from voxrank.results import Ranking, writable_folder

EPILOG = """
Examples:

  voxrank rank train.csv --model openai/whisper-tiny --model facebook/hubert-base-ls960

  voxrank rank commands/ --model pack:whisper-base --model logmel --out ranked

  voxrank rank train.csv --target speaker --model ./my-wav2vec2 --layers 0,6,12
"""


def choice(name: str, value: str, known: tuple[str, ...]) -> str:
    """The value, refused when it is not one of `known`."""
    if value not in known:
        raise OptionError(f"expected --{name} to be one of {', '.join(known)}, got {value!r}")
    return value


def rank(
    data: DataArgument,
    *,
    model: Annotated[
        list[str],
        typer.Option("--model", "-m", metavar="SPEC", help="Hub id, local directory or scheme:rest (repeat)."),
    ],
    score: Annotated[
        list[str] | None, typer.Option("--score", metavar="NAME", help="Score (repeat). [default: logme]")
    ] = None,
    layers: Annotated[
        str, typer.Option("--layers", metavar="LIST", help="all, or indices such as 0,3,6 or -1.")
    ] = "all",
    target: TargetOption = None,
    split: SplitOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write ranking.json, layers.csv and run.log here.")
    ] = None,
    sample: Annotated[
        str, typer.Option("--sample", help="What one sample is: utterance (the mean) or frame.")
    ] = "utterance",
    whisper_window: Annotated[
        str, typer.Option("--whisper-window", help="full (30 s, as trained) or fit (cut to the utterance: quicker).")
    ] = "full",
    window: Annotated[
        float, typer.Option("--window", metavar="SECONDS", min=1, help="Longer audio is cut into windows.")
    ] = 60,
    batch: Annotated[float, typer.Option("--batch", metavar="SECONDS", min=1, help="Audio in one forward pass.")] = 60,
    device: DeviceOption = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, float16 or bfloat16, of the forward pass.")
    ] = "float32",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Decoders that run ahead.")] = 2,
    blocks: Annotated[int, typer.Option("--blocks", min=1, help="Resampling blocks; 1: no intervals.")] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of the resamples.")] = 0,
    trust_remote_code: TrustOption = None,
    json_out: JsonOption = False,
) -> None:
    """Rank pre-trained models, and their layers, for your labelled speech."""
    encoder = EncoderOptions(
        device=device,
        dtype=cast("DTypeName", choice("dtype", dtype, ("float32", "float16", "bfloat16"))),
        whisper_window=cast("WhisperWindow", choice("whisper-window", whisper_window, ("full", "fit"))),
        window_s=window,
        batch_s=batch,
        trust_remote_code=tuple(trust_remote_code or ()),
    )
    extraction = ExtractionOptions(
        sample=cast("Sample", choice("sample", sample, ("utterance", "frame"))), threads=threads, blocks=blocks
    )

    def ranked(progress: Progress) -> Ranking:
        from voxrank.ranking import rank as run

        return run(
            data,
            model,
            target=target,
            split=split,
            scores=score or ["logme"],
            layers=layers,
            encoder=encoder,
            extraction=extraction,
            seed=seed,
            progress=progress,
        )

    run_and_show(ranked, out_dir=out_dir, json_out=json_out)


def run_and_show(ranked: Callable[[Progress], Ranking], *, out_dir: Path | None, json_out: bool) -> None:
    """Run a ranking under a progress bar, save it if asked, and print it."""
    with ExitStack() as stack:
        if out_dir is not None:
            stack.enter_context(log_to(writable_folder(out_dir)))
        ranking = ranked(stack.enter_context(watch(err())))
    if out_dir is not None:
        ranking.save(out_dir)
    if json_out:
        typer.echo(ranking.to_json(), nl=False)
        return
    show_ranking(out(), ranking)
    if out_dir is not None:
        out().print(f"Saved in {out_dir}: ranking.json, layers.csv, run.log", soft_wrap=True, markup=False)
