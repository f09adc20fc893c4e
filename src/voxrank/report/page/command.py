"""The command line that reproduces a ranking, derived from its options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from voxrank.config import EncoderOptions, ExtractionOptions, SequenceOptions, StoppingOptions, UseOptions
from voxrank.data.utterance import TIMED
from voxrank.report.page.words import shown
from voxrank.results.ranking import Ranking

FLAGS = {
    "unit": "--unit",
    "language": "--language",
    "segments": "--segments",
    "tier": "--tier",
    "silence": "--silence",
    "strategy": "--strategy",
    "head_at": "--head-at",
    "sample": "--sample",
    "segment_s": "--segment",
    "whisper_window": "--whisper-window",
    "window_s": "--window",
    "batch_s": "--batch",
    "dtype": "--dtype",
    "device": "--device",
    "blocks": "--blocks",
    "seed": "--seed",
    "layers": "--layers",
    "source": "--source",
    "confidence": "--confidence",
}
"""Option → flag, in the order in which flags are written if they differ from the default."""
UNWRITTEN_TARGETS = {"label", "folder", "segments"}
"""Targets that are found without `--target`: the default column, class folders, and files of segments."""


def command(ranking: Ranking) -> str:
    """Return the command as one line for a shell, without options that have their default."""
    options = ranking.options
    words = ["voxrank", "rank", str(options.get("data", "DATA"))]
    words += _repeated("--model", (model.model for model in ranking.models))
    words += _repeated("--score", options.get("scores", []))
    target = options.get("target")
    if target and target not in UNWRITTEN_TARGETS:
        words += ["--target", str(target)]
    if options.get("split") is not None:
        words += ["--split", str(options["split"])]
    defaults = _defaults(ranking)
    for name, flag in FLAGS.items():
        if name in options and options[name] != defaults.get(name):
            words += [flag, _argument(options[name])]
    if options.get("budget_s") is not None:
        words += ["--budget", _argument(options["budget_s"] / 60)]
    words += _aligner(options)
    words += _repeated("--besides", dict.fromkeys(probe.column for probe in ranking.details.knowledge))
    words += _repeated("--against", options.get("against", ()))
    words += ["--allow-leak"] * bool(options.get("allow_leak"))
    words += ["--allow-skips"] * bool(options.get("allow_skips"))
    words += _repeated("--trust-remote-code", options.get("trust_remote_code", ()))
    return shown(shlex.join(words))


def _defaults(ranking: Ranking) -> dict[str, Any]:
    """Return the default of each option."""
    stages = (EncoderOptions, ExtractionOptions, SequenceOptions, UseOptions)
    defaults = {field.name: field.default for stage in stages for field in fields(stage)}
    defaults |= {"layers": "all", "seed": 0, "source": None, "segments": None}
    defaults["sample"] = "frame" if ranking.task in TIMED else "utterance"
    if ranking.options.get("budget_s") is not None:
        defaults["confidence"] = StoppingOptions().confidence
    return defaults


def _aligner(options: dict[str, Any]) -> list[str]:
    """Return the option for the aligner, with the features that it chose."""
    aligner = options.get("aligner")
    if not isinstance(aligner, dict) or aligner.get("aligner") in {None, "segments"}:
        return []
    spec = str(aligner["aligner"])
    if aligner.get("model") is not None:
        spec += f":{aligner['model']}"
        spec += "" if aligner.get("layer") is None else f"@{aligner['layer']}"
    return ["--aligner", spec]


def _repeated(flag: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


def _argument(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
