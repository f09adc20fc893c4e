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
    words += _each("--model", (model.model for model in ranking.models))
    words += _each("--score", options.get("scores", []))
    target = options.get("target")
    if target and target not in UNWRITTEN_TARGETS:
        words += ["--target", str(target)]
    if options.get("split") is not None:
        words += ["--split", str(options["split"])]
    known = _defaults(ranking)
    for name, flag in FLAGS.items():
        if name in options and options[name] != known.get(name):
            words += [flag, _plain(options[name])]
    if options.get("budget_s") is not None:
        words += ["--budget", _plain(options["budget_s"] / 60)]
    words += _aligner(options)
    words += _each("--besides", dict.fromkeys(one.column for one in ranking.details.knowledge))
    words += _each("--against", options.get("against", ()))
    words += ["--allow-leak"] * bool(options.get("allow_leak"))
    words += ["--allow-skips"] * bool(options.get("allow_skips"))
    words += _each("--trust-remote-code", options.get("trust_remote_code", ()))
    return shown(shlex.join(words))


def _defaults(ranking: Ranking) -> dict[str, Any]:
    """Return the default of each option."""
    stages = (EncoderOptions, ExtractionOptions, SequenceOptions, UseOptions)
    known = {field.name: field.default for stage in stages for field in fields(stage)}
    known |= {"layers": "all", "seed": 0, "source": None, "segments": None}
    known["sample"] = "frame" if ranking.task in TIMED else "utterance"
    if ranking.options.get("budget_s") is not None:
        known["confidence"] = StoppingOptions().confidence
    return known


def _aligner(options: dict[str, Any]) -> list[str]:
    """Return the option for the aligner, with the features that it chose."""
    record = options.get("aligner")
    if not isinstance(record, dict) or record.get("aligner") in {None, "segments"}:
        return []
    spec = str(record["aligner"])
    if record.get("model") is not None:
        spec += f":{record['model']}"
        spec += "" if record.get("layer") is None else f"@{record['layer']}"
    return ["--aligner", spec]


def _each(flag: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
