"""The panels of `--help`, with their options. Add every new option here."""

from __future__ import annotations

PANELS: dict[str, tuple[str, ...]] = {
    "Models and scores": ("--model", "--score", "--layers", "--strategy", "--head-at"),
    "Data": ("--target", "--split", "--source", "--besides", "--allow-skips"),
    "Transcripts and segments": (
        *("--unit", "--language", "--aligner", "--segments", "--tier", "--silence", "--against", "--allow-leak"),
    ),
    "Training": (
        *("--head", "--lora", "--seeds", "--epochs", "--patience", "--batch-size", "--learning-rate"),
        *("--head-learning-rate", "--examples", "--metric"),
    ),
    "What a sample is": ("--sample", "--segment"),
    "Forward passes": (
        *("--whisper-window", "--window", "--batch", "--device", "--dtype", "--threads", "--trust-remote-code"),
    ),
    "Certainty and time": ("--blocks", "--seed", "--confidence", "--budget"),
    "Cache": ("--cache", "--cache-size", "--no-cache", "--size", "--all"),
    "Workers": ("--engine", "--ray-address", "--workers", "--cpus-per-worker", "--gpus-per-worker"),
    "Output": (
        "--out",
        "--details",
        "--watch",
        "--watch-port",
        "--truth",
        "--then",
        "--mlflow",
        "--to",
        "--table",
        "--json",
    ),
    "This command": ("--install", "--install-completion", "--show-completion", "--version", "--help"),
}
"""Panel → options, both in the order in which they are shown."""

_PLACES = {option: (place, panel) for place, (panel, options) in enumerate(PANELS.items()) for option in options}


def panel_of(options: list[str]) -> tuple[int, str | None]:
    """Return position and name of an option's panel, by the option's spellings; last and None if it has no panel."""
    return next((_PLACES[option] for option in options if option in _PLACES), (len(PANELS), None))
