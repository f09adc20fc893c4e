"""The command `voxrank validate`: fine-tune models, and measure how far the scores agree."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from voxrank.cli.common import (
    AlignerOption,
    DataArgument,
    DeviceOption,
    HeadAtOption,
    JsonOption,
    LanguageOption,
    ModelsOption,
    SkipsOption,
    SourceOption,
    TargetOption,
    TrustOption,
    UnitOption,
    WindowOption,
    err,
    give_json,
    log_to,
    out,
)
from voxrank.cli.completion import complete_layers, complete_score
from voxrank.config import (
    EncoderOptions,
    ExtractionOptions,
    Head,
    Sample,
    SequenceOptions,
    Strategy,
    TuningOptions,
)
from voxrank.report.progress import watch

EPILOG = """
Examples:

  voxrank validate commands.csv --model openai/whisper-tiny \\
      --model facebook/hubert-base-ls960 --out validated

  voxrank validate commands.csv --model openai/whisper-tiny \\
      --strategy layer --seeds 5 --out validated

  voxrank validate transcripts.csv --unit char --model ./my-parakeet \\
      --strategy layer --head transducer --head-at top

The same command with the same --out goes on where it stopped.
"""


def validate(
    data: DataArgument,
    *,
    model: ModelsOption = None,
    strategy: Annotated[
        Strategy,
        typer.Option(
            "--strategy",
            help="probe (a head on a frozen layer), layer (one block and a head) or full (all of the model).",
        ),
    ] = "probe",
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write validation.json, candidates.csv, plots and trials here."),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            autocompletion=complete_score,
            help="Scores to judge (repeat); see `voxrank rank --help`.",
            show_default="what `rank` orders by",
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers", metavar="LIST", autocompletion=complete_layers, help="all, or indices such as 0,3,6 or -1."
        ),
    ] = "all",
    head: Annotated[Head, typer.Option("--head", help="linear, mlp, or transducer (the model's own).")] = "linear",
    head_at: HeadAtOption = "layer",
    lora: Annotated[
        int, typer.Option("--lora", metavar="RANK", help="Train low-rank adapters in the tuned part instead; 0: no.")
    ] = 0,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Trials of each candidate.")] = 3,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Passes over the training data, at most.")] = 30,
    patience: Annotated[
        int, typer.Option("--patience", metavar="N", help="Epochs without progress after which training stops.")
    ] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Utterances in a training step.")] = 16,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="RATE",
            help="Of the tuned part.",
            show_default="5e-4 for a block, 1e-4 for a model, 1e-3 for adapters",
        ),
    ] = None,
    head_learning_rate: Annotated[
        float, typer.Option("--head-learning-rate", metavar="RATE", help="Of the head.")
    ] = 3e-3,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            metavar="N",
            help="Training utterances of a class (of transcripts: in all), at most.",
            show_default="all there are",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="NAME", help="accuracy; cer, wer, per or ter.", show_default="what suits the unit"
        ),
    ] = None,
    target: TargetOption = None,
    source: SourceOption = None,
    unit: UnitOption = None,
    language: LanguageOption = None,
    aligner: AlignerOption = "flat",
    allow_skips: SkipsOption = False,
    sample: Annotated[
        Sample | None,
        typer.Option(
            "--sample",
            metavar="KIND",
            help="What one sample is: utterance, segment, effective or frame.",
            show_default="utterance; frame for transcripts",
        ),
    ] = None,
    whisper_window: WindowOption = "full",
    window: Annotated[
        float, typer.Option("--window", metavar="SECONDS", help="Longer utterances are not trained on.")
    ] = 60,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of splits and resamples.")] = 0,
    trust_remote_code: TrustOption = None,
    json_out: JsonOption = None,
) -> None:
    """Fine-tune models for real, and report how far the scores agree, beside rules that look at no data."""
    tuning = TuningOptions(
        strategy=strategy,
        head=head,
        head_at=head_at,
        lora_rank=lora,
        seeds=seeds,
        epochs=epochs,
        patience=patience,
        batch=batch_size,
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        examples=examples,
        metric=metric,
        split_seed=seed,
    )
    encoder = EncoderOptions(
        device=device,
        whisper_window=whisper_window,
        window_s=window,
        trust_remote_code=tuple(trust_remote_code or ()),
    )
    with ExitStack() as stack:
        if out_dir is not None:
            from voxrank.results.ranking import check_folder

            check_folder(out_dir)
            stack.enter_context(log_to(out_dir))
        from voxrank.groundtruth.validation import validate as run

        try:
            result = run(
                data,
                model or [],
                tuning=tuning,
                target=target,
                source=source,
                scores=score,
                layers=layers,
                encoder=encoder,
                extraction=ExtractionOptions(sample=sample, allow_skips=allow_skips),
                sequence=SequenceOptions(unit=unit, language=language, aligner=aligner),
                folder=out_dir,
                seed=seed,
                progress=stack.enter_context(watch(err())),
            )
        except KeyboardInterrupt:
            kept = "no trial is lost; the same command goes on" if out_dir is not None else "nothing was written"
            raise KeyboardInterrupt(kept) from None
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
