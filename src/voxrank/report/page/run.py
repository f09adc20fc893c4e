"""Sections on the run: alternative labels, cost, skipped utterances, and how to reproduce it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from voxrank._support.words import count, duration, figure, megabytes, noun
from voxrank.config import EncoderOptions, ExtractionOptions, SequenceOptions, StoppingOptions, UseOptions
from voxrank.data.utterance import TIMED, Skipped
from voxrank.report.page.parts import Folded, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.truth import p_value
from voxrank.report.page.words import first_score, interval, of_layer, shown, titled
from voxrank.results.expectation import ordering
from voxrank.results.ranking import Ranking
from voxrank.scores.names import DEFAULT

LISTED = 500
"""Maximum number of skipped utterances that are listed individually."""
REASONS = 50
"""Maximum number of reasons that are counted individually."""
VERSIONED = ("voxrank", "torch", "transformers", "python")
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


def labels_part(ranking: Ranking) -> Part | None:
    """Return the section of the ranking by alternative labels of the same frames; None without any."""
    if not ranking.sensitivity:
        return None
    table = Table(
        "The ranking by other labels of the same frames",
        ("labels", "Spearman", "p", "best model", "best layer", "others equal"),
        rows_of(
            [
                text_cell(shown(result.labels)),
                number_cell(result.spearman, figure(result.spearman)),
                number_cell(result.p, p_value(result.p)),
                text_cell(shown(result.model)),
                text_cell(shown(result.layer)),
                number_cell(result.equal, str(result.equal)),
            ]
            for result in ranking.sensitivity
        ),
    )
    intro = (
        "How much the ranking depends on the alignment: the order of all layers by other labels, beside the one above. "
        "A high correlation and the same best layer mean that it depends little."
    )
    return Part("labels", "With other labels", "Other labels", (intro,), tables=(table,))


def cost_part(ranking: Ranking) -> Part:
    """Return the section on time and memory."""
    cost = ranking.cost
    facts = [
        ("Total", duration(cost.total_s)),
        ("Forward passes", duration(cost.encode_s)),
        ("Scoring", duration(cost.score_s)),
    ]
    facts += [("Aligning transcripts", duration(cost.align_s))] * bool(cost.align_s)
    facts += [("Audio taken from the cache, over all models", duration(cost.cached_s))] * bool(cost.cached_s)
    facts.append(("Peak memory", megabytes(cost.peak_rss_mb)))
    return Part("cost", "What it took", "Cost", facts=tuple(facts))


def skipped_part(ranking: Ranking) -> Part:
    """Return the section of skipped utterances, counted by reason and listed individually."""
    data, skipped = ranking.data, ranking.skipped
    if not skipped:
        return Part("skipped", "Skipped utterances", "Skipped", ("None: every utterance was used by every model.",))
    used = f"{data.used:,} of {count(data.utterances, 'utterance')} were used by every model."
    intro = f"{count(len(skipped), 'entry', 'entries')}; {used}"
    if any(skip.model for skip in skipped):
        intro += " Some were skipped by one model alone, so that the models were not all scored on the same data."
    folded = [Folded(f"List of {min(len(skipped), LISTED):,} of {len(skipped):,}", _skipped_table(skipped))]
    return Part(
        "skipped",
        "Skipped utterances",
        "Skipped",
        (intro,),
        tables=(_reasons_table(skipped),),
        folded=tuple(folded),
    )


def _reasons_table(skipped: tuple[Skipped, ...]) -> Table:
    counted = Counter(skip.reason for skip in skipped)
    rarer = len(counted) - REASONS
    more = f"; {rarer:,} rarer reasons are in ranking.json" if rarer > 0 else ""
    return Table(
        f"Reasons, the commonest first{more}",
        ("reason", "utterances"),
        rows_of(
            [text_cell(shown(reason)), number_cell(number, f"{number:,}")]
            for reason, number in counted.most_common(REASONS)
        ),
        sorted_by=(1, False),
    )


def _skipped_table(skipped: tuple[Skipped, ...]) -> Table:
    more = f"; all {len(skipped):,} are in ranking.json" if len(skipped) > LISTED else ""
    return Table(
        f"Skipped utterances{more}",
        ("utterance", "skipped by", "reason"),
        rows_of(
            [
                text_cell(shown(skip.utterance)),
                text_cell(shown(skip.model or "every model")),
                text_cell(shown(skip.reason)),
            ]
            for skip in skipped[:LISTED]
        ),
    )


def reproduce_part(ranking: Ranking) -> Part:
    """Return the section with command, versions and fingerprints."""
    options = ranking.options
    facts = [(name, shown(options[name])) for name in VERSIONED if options.get(name) is not None]
    facts.append(("Fingerprint of the data", shown(ranking.data.fingerprint)))
    if options.get("source_fingerprint"):
        facts.append(("Fingerprint of the source data", shown(options["source_fingerprint"])))
    aligner = options.get("aligner")
    if isinstance(aligner, dict):
        facts.append(("Times of labels", _aligner_text(aligner)))
    facts.append(("Seed of the resamples", shown(options.get("seed", 0))))
    paragraphs = (
        (
            "The same data, models and options give the same ranking. The fingerprint is that of rows and labels; the "
            "order of the models does not matter."
        ),
    )
    return Part("reproduce", "How to reproduce it", "Reproduce", paragraphs, code=command(ranking), facts=tuple(facts))


def _aligner_text(aligner: dict[str, object]) -> str:
    text = shown(aligner.get("aligner"))
    if aligner.get("model") is not None:
        layer = aligner.get("layer")
        text += f" on {shown(aligner['model'])}" + (f", {of_layer(layer)}" if isinstance(layer, int | str) else "")
    return text


def command(ranking: Ranking) -> str:
    """Return the command as one line for a shell, without options that have their default."""
    options = ranking.options
    words = ["voxrank", "rank", str(options.get("data", "DATA"))]
    words += _repeated("--model", (model.model for model in ranking.models))
    words += _repeated("--score", [*([DEFAULT] if ordering(ranking) else []), *options.get("scores", [])])
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


def figures(ranking: Ranking) -> tuple[tuple[str, str], ...]:
    """Return the key figures at the top of the page."""
    score, data = first_score(ranking), ranking.data
    value = ranking.best.scores[score]
    interval_text = f", 95 % interval {interval(value)}" if value.low is not None else ""
    models = count(len(ranking.models), "model")
    return (
        (figure(value.value), f"{titled(ranking, score)}{interval_text}"),
        (f"{len(ranking.layers):,}", f"{noun(len(ranking.layers), 'layer')} of {models} compared"),
        (duration(data.seconds), f"of audio, {count(data.used, 'utterance')}"),
        (duration(ranking.cost.total_s), "for all of it, nothing fine-tuned"),
    )
