"""The command `voxrank rank`: rank models and their layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxrank._support.progress import Progress
from voxrank.cli.common import (
    AddressOption,
    AlignerOption,
    CacheOption,
    CacheSizeOption,
    DataArgument,
    DeviceOption,
    EngineOption,
    HeadAtOption,
    JsonOption,
    LanguageOption,
    LeakOption,
    ModelsOption,
    NoCacheOption,
    SegmentsOption,
    SkipsOption,
    SourceOption,
    SplitOption,
    TargetOption,
    TierOption,
    TrustOption,
    UnitOption,
    WindowOption,
    WorkerCpusOption,
    WorkerGpusOption,
    WorkersOption,
    err,
    give_json,
    log_to,
    out,
)
from voxrank.cli.completion import complete_labels, complete_layers, complete_score
from voxrank.cli.outputs import NOTHING, Outputs
from voxrank.config import (
    CacheOptions,
    DetailLevel,
    DTypeName,
    EncoderOptions,
    EngineOptions,
    ExtractionOptions,
    Sample,
    SequenceOptions,
    StoppingOptions,
    Strategy,
    UseOptions,
)
from voxrank.errors import OptionError
from voxrank.report.progress import Together
from voxrank.report.progress import watch as watch_in
from voxrank.report.terminal import show_ranking
from voxrank.results.details import Details
from voxrank.scores.names import NAMES

if TYPE_CHECKING:
    from voxrank.report.live import LiveView
    from voxrank.results.ranking import Ranking

REPORT = "report.html"

SCORES = NAMES
"""Names of the scores; the first is the default."""
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


def rank(
    data: DataArgument,
    *,
    model: ModelsOption = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            autocompletion=complete_score,
            help=f"One of {', '.join(SCORES)} (repeat).",
            show_default="combined; logme for few examples, transcripts and segments; tuned for --strategy layer",
        ),
    ] = None,
    strategy: Annotated[
        Strategy,
        typer.Option(
            "--strategy",
            help="What the layers are for: probe (as they are), layer (their block will be tuned) or full (all of the "
            "model will be).",
        ),
    ] = "probe",
    head_at: HeadAtOption = "layer",
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            metavar="LIST",
            autocompletion=complete_layers,
            help="all, or indices such as 0,3,6 or -1; with mean or concat, also together.",
        ),
    ] = "all",
    target: TargetOption = None,
    split: SplitOption = None,
    source: SourceOption = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write report.html, ranking.json, details.json, layers.csv and run.log here."
        ),
    ] = None,
    unit: UnitOption = None,
    language: LanguageOption = None,
    aligner: AlignerOption = "flat",
    segments: SegmentsOption = None,
    tier: TierOption = None,
    silence: Annotated[
        float | None,
        typer.Option(
            "--silence",
            metavar="SHARE",
            help="Of the scored frames, that may be silence, a class of its own.",
            show_default="0.1 for transcripts, 0 for segments",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="LABELS",
            autocompletion=complete_labels,
            help="Compare with the ranking by other labels: uniform, jitter, flat:SPEC, ctc:SPEC (repeat).",
        ),
    ] = None,
    allow_leak: LeakOption = False,
    allow_skips: SkipsOption = False,
    sample: Annotated[
        Sample | None,
        typer.Option(
            "--sample",
            metavar="KIND",
            help="What one sample is: utterance (the mean), segment, effective or frame.",
            show_default="utterance; frame for transcripts and segments",
        ),
    ] = None,
    segment: Annotated[
        float, typer.Option("--segment", metavar="SECONDS", help="The longest segment of --sample segment.")
    ] = 0.2,
    whisper_window: WindowOption = "full",
    window: Annotated[
        float, typer.Option("--window", metavar="SECONDS", help="Longer audio is cut into windows of at most this.")
    ] = 60,
    batch: Annotated[float, typer.Option("--batch", metavar="SECONDS", help="Audio in one forward pass.")] = 60,
    device: DeviceOption = "auto",
    dtype: Annotated[
        DTypeName, typer.Option("--dtype", metavar="KIND", help="float32, float16 or bfloat16, of the forward pass.")
    ] = "float32",
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Decoders that run ahead.")] = 2,
    blocks: Annotated[int, typer.Option("--blocks", metavar="N", help="Resampling blocks; 1: no intervals.")] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the resamples.")] = 0,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            metavar="P",
            help="Stop early: drop models that cannot be best any more, and keep the best with this confidence.",
            show_default="all models see all data; 0.95 with --budget",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="MINUTES", help="Stop early: no round of data begins after this time."),
    ] = None,
    besides: Annotated[
        list[str] | None,
        typer.Option(
            "--besides", metavar="COLUMN", help="Another column, such as speaker: how much layers know of it (repeat)."
        ),
    ] = None,
    details: Annotated[
        DetailLevel | None,
        typer.Option(
            "--details",
            help="Classes, pictures, learning curve: none, quick, or full (t-SNE pictures too).",
            show_default="full with --out, else quick",
        ),
    ] = None,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = 20.0,
    no_cache: NoCacheOption = False,
    engine: EngineOption = "local",
    ray_address: AddressOption = None,
    workers: WorkersOption = None,
    cpus_per_worker: WorkerCpusOption = 1,
    gpus_per_worker: WorkerGpusOption = None,
    trust_remote_code: TrustOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the report in a browser of this machine while it grows.")
    ] = False,
    watch_port: Annotated[
        int | None, typer.Option("--watch-port", metavar="N", help="Of --watch.", show_default="any that is free")
    ] = None,
    then: Annotated[
        Path | None,
        typer.Option(
            "--then", metavar="FILE", help="Write a script here that fine-tunes the winner with transformers' Trainer."
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            "--mlflow",
            metavar="WHERE",
            help="Log to MLflow: the name of an experiment, or the URI of a tracking server.",
        ),
    ] = None,
    json_out: JsonOption = None,
) -> None:
    """Rank pre-trained models, and their layers, for your labelled speech."""
    encoder = EncoderOptions(
        device=device,
        dtype=dtype,
        whisper_window=whisper_window,
        window_s=window,
        batch_s=batch,
        trust_remote_code=tuple(trust_remote_code or ()),
    )
    extraction = ExtractionOptions(
        sample=sample, segment_s=segment, threads=threads, blocks=blocks, allow_skips=allow_skips
    )
    sequence = SequenceOptions(
        unit=unit,
        language=language,
        aligner=aligner,
        silence=silence,
        tier=tier,
        allow_leak=allow_leak,
        against=tuple(against or ()),
    )

    use = UseOptions(strategy=strategy, head_at=head_at)

    stopping = None
    if confidence is not None or budget is not None:
        seconds = None if budget is None else 60 * budget
        stopping = StoppingOptions(0.95 if confidence is None else confidence, seconds)
    kept = CacheOptions(cache, cache_size)
    where = EngineOptions(engine, workers, ray_address, cpus_per_worker, gpus_per_worker)

    def ranked(progress: Progress) -> Ranking:
        from voxrank.ranking.rank import rank as run

        return run(
            data,
            model or [],
            target=target,
            split=split,
            segments=segments,
            source=source,
            scores=score,
            layers=layers,
            encoder=encoder,
            extraction=extraction,
            sequence=sequence,
            use=use,
            stopping=stopping,
            details=details or ("quick" if out_dir is None else "full"),
            besides=besides or (),
            cache=None if no_cache else kept,
            engine=where,
            seed=seed,
            progress=progress,
        )

    port = _port(watch_port, watch=watch)
    outputs = Outputs(then, mlflow, encoder.trust_remote_code)
    outputs.check(model or [], out_dir, segments=segments)
    run_and_show(ranked, out_dir=out_dir, json_out=json_out, watch_port=port, outputs=outputs)


def _port(watch_port: int | None, *, watch: bool) -> int | None:
    """Return the port of the page of `--watch`, 0 for any free port, or None without a page.

    Raises:
        OptionError: a port is given without `--watch`.
    """
    if watch:
        return watch_port or 0
    if watch_port is not None:
        raise OptionError(f"--watch-port {watch_port} is of the page that --watch shows; add --watch, or leave it out")
    return None


def run_and_show(
    ranked: Callable[[Progress], Ranking],
    *,
    out_dir: Path | None,
    json_out: str | None,
    watch_port: int | None = None,
    outputs: Outputs = NOTHING,
) -> None:
    """Run a ranking under a progress bar, save it if requested, print it, and write the other outputs.

    Args:
        ranked: function that runs the ranking.
        out_dir: folder where the ranking is saved.
        json_out: destination of the ranking as JSON.
        watch_port: port of the page that shows the ranking while it grows, 0 for any free port; None: no page.
        outputs: further outputs.
    """
    if out_dir is not None:
        from voxrank.results.ranking import check_folder

        check_folder(out_dir)
    with ExitStack() as stack:
        live = _live(stack, watch_port)
        with log_to(out_dir) if out_dir is not None else nullcontext():
            ranking = _watched(ranked, live)
        if live is not None:
            live.complete(ranking)
        _save_and_print(ranking, out_dir, json_out=json_out)
        outputs.make(ranking, out_dir)


def _watched(ranked: Callable[[Progress], Ranking], live: LiveView | None) -> Ranking:
    try:
        with watch_in(err()) as terminal:
            return ranked(terminal if live is None else Together(terminal, live.recorder))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no ranking was written") from None


def _live(stack: ExitStack, port: int | None) -> LiveView | None:
    """Serve a page until the stack ends, and print its address on standard error."""
    if port is None:
        return None
    from voxrank.report.live import LiveView

    live = stack.enter_context(LiveView(port))
    err().print(f"Watch at {live.url}", soft_wrap=True, markup=False)
    return live


def _save_and_print(ranking: Ranking, out_dir: Path | None, *, json_out: str | None) -> None:
    if out_dir is not None:
        from voxrank.report.page import write_page

        ranking.save(out_dir)
        write_page(out_dir / REPORT, ranking)
    if give_json(json_out, ranking.to_json()):
        return
    show_ranking(out(), ranking)
    if out_dir is not None:
        more = "details.json, " if ranking.details != Details() else ""
        files = f"{REPORT}, ranking.json, layers.csv, {more}run.log"
        out().print(f"Saved in {out_dir}: {files}", soft_wrap=True, markup=False)
