"""The plan of a run. It follows from the options and the data alone, before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

from voxrank.alignment.labels import check_sequence
from voxrank.config import (
    DetailOptions,
    EncoderOptions,
    ExtractionOptions,
    RankRequest,
    SequenceOptions,
    StoppingOptions,
    UseOptions,
)
from voxrank.data.utterance import TIMED, Dataset, Task
from voxrank.encoders.registry import split_spec
from voxrank.errors import OptionError
from voxrank.ranking.tuning import FRAMES_FOR_TUNED, SHARE, SHARE_TIMED, Prediction, check_strategy
from voxrank.scores import Score, get_score
from voxrank.scores.names import COMBINATIONS, DEFAULT, DEFAULT_ORDER, DEFAULT_SCORES, TUNED

N_DIRECTIONS = 50
"""Default number of directions of the sliced Wasserstein distance."""


@dataclass(frozen=True, kw_only=True)
class RankPlan:
    """All decisions that follow from the options and the data. Later steps only read them.

    Attributes:
        models: specs of the candidates.
        layers: the layers, as text from the user.
        names: scores to report. A name may stand for a combination.
        order: the scores that order the ranking, by the mean of their orders; others in `names` decide ties.
        scores: the scores to compute, without duplicates.
        encoder: device, precision, windows.
        extraction: the sample, and the sketches to store of each layer.
        sequence: units and aligner of transcripts.
        tuned: what is predicted of blocks that will be tuned, where "tuned" is among the scores; otherwise None.
        stopping: early stopping; None to show all data to every model.
        details: the diagnostics.
        seed: seed of the resamples and of the rounds of early stopping.
        reads_source: whether a score reads the source data.
        left_out: one line for each score, or source, that takes no part, with the reason.
        options: the part of the request that `Ranking.options` records.
    """

    models: tuple[str, ...]
    layers: str
    names: tuple[str, ...]
    order: tuple[str, ...]
    scores: tuple[Score, ...]
    encoder: EncoderOptions
    extraction: ExtractionOptions
    sequence: SequenceOptions
    tuned: Prediction | None
    stopping: StoppingOptions | None
    details: DetailOptions
    seed: int
    reads_source: bool
    left_out: tuple[str, ...]
    options: dict[str, Any]

    @property
    def effective(self) -> bool:
        """True if samples are weighted by the effective number of independent samples."""
        return self.extraction.sample == "effective"


def check_names(request: RankRequest) -> None:
    """Check the names of scores and models, before the data are read.

    Raises:
        OptionError: a name is missing, or given twice, or no such score.
        ModelError: a model is of no known kind.
    """
    if request.scores is not None:
        for name in _distinct(request.scores, "score"):
            if name not in (DEFAULT, TUNED):
                _parts(name)
    for spec in _distinct(request.models, "model"):
        split_spec(spec)


def resolve(request: RankRequest, dataset: Dataset) -> RankPlan:
    """Decide what a run will do.

    Args:
        request: the options.
        dataset: the labelled speech; its audio is not opened.

    Returns:
        The plan.

    Raises:
        OptionError: the options contradict each other or the task.
    """
    task = dataset.task
    check_sequence(request.sequence, request.extraction, task)
    sample = request.extraction.sample or ("frame" if task in TIMED else "utterance")
    extraction = replace(request.extraction, sample=sample)
    default = default_scores(task, request.use, request.stopping)
    requested = dict.fromkeys(
        part for name in request.scores or [DEFAULT] for part in (default if name == DEFAULT else [name])
    )
    check_strategy(requested, request.use)
    predicted = predicted_of(task, request, sample)
    parts = {name: list(map(get_score, predicted.scores)) if name == TUNED else _parts(name) for name in requested}
    has_source = request.source is not None
    names, left_out = _usable_names(parts, task, with_source=has_source)
    order = default_order(task, request, sample) if (request.scores or [DEFAULT])[0] == DEFAULT else names[:1]
    _check_stopping(request.stopping, order[0], with_source=has_source)
    scores = tuple({score.name: score for name in names for score in parts[name]}.values())
    reads_source = has_source and any(score.needs_source for score in scores)
    if has_source and not reads_source:
        left_out.append("the source data are not encoded, because no score reads them (swd, frechet and tsne do)")
    tuned = predicted if TUNED in names else None
    extraction = _with_samples(request, extraction, scores, tuned=tuned is not None)
    return RankPlan(
        models=tuple(request.models),
        layers=request.layers,
        names=tuple(names),
        order=tuple(order),
        scores=scores,
        encoder=request.encoder,
        extraction=extraction,
        sequence=request.sequence,
        tuned=tuned,
        stopping=request.stopping,
        details=request.details,
        seed=request.seed,
        reads_source=reads_source,
        left_out=tuple(left_out),
        options=_recorded(request, extraction) | {"order": list(order)},
    )


def default_scores(task: Task, use: UseOptions, stopping: StoppingOptions | None = None) -> tuple[str, ...]:
    """Return the scores of a ranking when the user names none.

    The first one is the result of held-out prediction in the measure of the task: accuracy of classes, R² of values,
    mean average precision of several labels. With early stopping, "logme" comes first: how often that keeps the winner
    was measured (docs/cache). Where a block will be tuned, "tuned" is added, which orders the ranking.

    Args:
        task: the task.
        use: whether a block will be tuned.
        stopping: early stopping.
    """
    if use.strategy == "layer":
        return (*DEFAULT_SCORES[task], TUNED)
    names = DEFAULT_SCORES[task]
    return names if stopping is None else ("logme", *(name for name in names if name != "logme"))


def default_order(task: Task, request: RankRequest, sample: str) -> tuple[str, ...]:
    """Return the scores that order a ranking when the user names none.

    For classes and values of utterances, the orders by held-out prediction and by evidence are averaged: their errors
    differ, so that the mean is steadier with few examples (docs/default-score). Evidence is not comparable between
    layers where samples are frames. Everywhere else the first default score orders alone.

    Args:
        task: the task.
        request: whether a block will be tuned, and early stopping.
        sample: kind of sample.
    """
    if request.use.strategy == "layer":
        return (TUNED,)
    if request.stopping is not None:
        return default_scores(task, request.use, request.stopping)[:1]
    return _order_of_layers(task, sample)


def predicted_of(task: Task, request: RankRequest, sample: str) -> Prediction:
    """Return what is predicted of blocks that will be tuned: the scores that order frozen layers.

    With early stopping, it is the first score alone: models are dropped by it, so that it has to order them as well.

    Args:
        task: the task.
        request: where the head is, and early stopping.
        sample: kind of sample.
    """
    scores = DEFAULT_SCORES[task][:1] if request.stopping is not None else _order_of_layers(task, sample)
    return Prediction(request.use, scores, SHARE_TIMED if task in TIMED else SHARE)


def _order_of_layers(task: Task, sample: str) -> tuple[str, ...]:
    """Return the scores that order frozen layers, without early stopping."""
    first = DEFAULT_SCORES[task][:1]
    return DEFAULT_ORDER.get(task, first) if sample == "utterance" else first


def _distinct(names: Sequence[str], noun: str) -> Sequence[str]:
    """Return the names; refuse an empty list, a string and a duplicate."""
    if isinstance(names, str):
        raise OptionError(f"expected a list of {noun}s, got the string {names!r}; write [{names!r}]")
    if not names:
        raise OptionError(f"expected at least one {noun}, got none; name one with --{noun}")
    duplicates = sorted({name for name in names if list(names).count(name) > 1})
    if duplicates:
        raise OptionError(f"the {noun} {duplicates[0]!r} is given twice; give each {noun} once")
    return names


def _parts(name: str) -> list[Score]:
    """Return the scores that a name stands for: one, or those of a combination."""
    return [get_score(part) for part in COMBINATIONS.get(name, (name,))]


def _check_stopping(stopping: StoppingOptions | None, score: str, *, with_source: bool) -> None:
    """Refuse early stopping by a score of all models together, and with source data, which would be encoded whole."""
    if stopping is None:
        return
    if score in COMBINATIONS:
        raise OptionError(
            f"{score} needs all models to the end, and early stopping drops some; name --score logme, or another"
        )
    if with_source:
        raise OptionError("early stopping encodes no source data; leave --source or --confidence out")


def _usable_names(
    scores_by_name: dict[str, list[Score]], task: Task, *, with_source: bool
) -> tuple[list[str], list[str]]:
    """Return the names of the scores that can be computed, and a line for each one that cannot."""
    reasons = {
        name: next(filter(None, (_unfit(score, task, with_source=with_source) for score in scores)), "")
        for name, scores in scores_by_name.items()
    }
    usable = [name for name, reason in reasons.items() if not reason]
    left_out = [f"{name} {reason} and is left out" for name, reason in reasons.items() if reason]
    if not usable:
        raise OptionError(f"expected a score for {task}; {'; '.join(left_out)}: name another one")
    return usable, left_out


def _unfit(score: Score, task: Task, *, with_source: bool) -> str:
    """Return why a score cannot be computed; empty where it can."""
    if task not in score.tasks:
        return f"is not for {task}"
    if score.needs_source and not with_source:
        return "needs source data (--source)"
    if score.package and find_spec(score.package) is None:
        return f"needs {score.package} (pip install 'voxrank[validate]')"
    return ""


def _with_samples(
    request: RankRequest, extraction: ExtractionOptions, scores: Sequence[Score], *, tuned: bool
) -> ExtractionOptions:
    """Return the options with the number of samples and of projections to keep of each layer.

    A cache keeps them for later runs, unless it keeps the means of utterances, from which they are computed again.
    """
    keep = request.cache is not None and extraction.sample != "utterance"
    sampled = keep or request.details.details != "none" or any(score.sampled for score in scores)
    projected = keep or any(score.projected for score in scores)
    reading = [score.name for score in scores if score.sampled]
    if reading and (kept := extraction.kept_samples) < 2:
        raise OptionError(f"{reading[0]} reads samples: expected kept_samples of at least 2, got {kept}")
    multiple = FRAMES_FOR_TUNED if tuned and extraction.sample != "utterance" else 1
    return replace(
        extraction,
        kept_samples=multiple * extraction.kept_samples if sampled else 0,
        projections=(extraction.projections or N_DIRECTIONS) if projected else 0,
    )


def _recorded(request: RankRequest, extraction: ExtractionOptions) -> dict[str, Any]:
    stopping = asdict(request.stopping) if request.stopping else {}
    recorded = {"layers": request.layers, "seed": request.seed} | asdict(request.use) | stopping
    recorded |= {} if request.segments is None else {"segments": str(request.segments)}
    return recorded | asdict(request.encoder) | asdict(extraction) | asdict(request.details)
