"""Data and models → ranking: the whole run."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from voxrank.aligning import Labelled, check_sequence, label
from voxrank.cache.store import Cache
from voxrank.config import (
    CacheOptions,
    EncoderOptions,
    EngineOptions,
    ExtractionOptions,
    SequenceOptions,
    StoppingOptions,
    UseOptions,
    check_number,
)
from voxrank.data.read import read_dataset
from voxrank.data.utterance import TIMED, Dataset, Skipped, Task
from voxrank.encoders.base import Layer
from voxrank.encoders.registry import split_spec
from voxrank.engines.base import Engine, engine_of
from voxrank.engines.local import ModelSketch
from voxrank.errors import OptionError, RunError
from voxrank.joint import JointLayer, LayerVersion, layer_label
from voxrank.memory import keep_heap_small, peak_rss_mb
from voxrank.ordering import Column, beats, best_of_each, probability_best
from voxrank.preparation import Origin, Prepared, prepare, prepare_source
from voxrank.progress import Progress
from voxrank.racing import Standing, beaten, first_share, plan_rounds
from voxrank.results import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity
from voxrank.scores import Score, get_score
from voxrank.scores.estimate import Estimate
from voxrank.scores.registry import COMBINATIONS, estimate_all
from voxrank.scores.view import LayerView, SourceView
from voxrank.shards import Item, Shard
from voxrank.sketches.projections import Quantiles
from voxrank.stable import Stable, parse_layers
from voxrank.targets.labels import Targets, remarks
from voxrank.targets.timeline import UNLABELLED
from voxrank.tuned import TUNED, Asked, expected, mean_of

logger = logging.getLogger(__name__)

Columns = dict[str, Column]
"""Score name → that score of every candidate; the first one orders the ranking."""

LEAST_EXAMPLES = 20
"""Of a class, on average, from which on nearest neighbours have a say in the default ranking."""

FRAMES_FOR_TUNED = 4
"""How many times the usual samples are kept for it: accuracies of neighbouring layers are near to each other."""

N_DIRECTIONS = 50
"""Of the sliced Wasserstein distance."""


def rank(
    data: str | os.PathLike[str] | Dataset,
    models: Sequence[str],
    *,
    target: str | None = None,
    split: str | None = None,
    segments: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | Dataset | None = None,
    scores: Sequence[str] | None = None,
    layers: str = "all",
    encoder: EncoderOptions | None = None,
    extraction: ExtractionOptions | None = None,
    sequence: SequenceOptions | None = None,
    use: UseOptions | None = None,
    cache: CacheOptions | None = None,
    engine: EngineOptions | None = None,
    stopping: StoppingOptions | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank pre-trained speech models, and their layers, for labelled speech, without fine-tuning any of them.

    Args:
        data: a manifest (CSV, TSV, JSONL), a folder of class folders, or a `Dataset`.
        models: specs: hub ids, local directories, or ``scheme:rest`` (see ``voxrank models``).
        target: column to predict; by default label, else labels, value, segments or text, the first that is there; text
            where `sequence` names a unit.
        split: rows to use; by default "train" where the data have it, else all; "all" for every row.
        segments: a file, or a folder of files, that says what is heard when (TextGrid, CTM, RTTM, Audacity, JSON).
        source: speech that the models were pre-trained on, or like it, for the scores that compare it with `data`; its
            labels are not read.
        scores: names; the first one orders the ranking. By default "combined", which averages the order by LogME and by
            kNN; "logme" where labels are those of frames, or classes have fewer than 20 examples; "tuned" where `use`
            says that the block of a layer will be tuned.
        layers: "all", or indices such as "0,3,6" (negative ones count from the last layer); with "mean" or "concat"
            also those layers together, such as "all,mean".
        encoder: device, precision, windows.
        extraction: what a sample is, blocks, threads.
        sequence: how transcripts and segments become labels of frames: units, aligner, silence.
        use: what the layers are for: as they are, or one block tuned.
        cache: where sketches are kept, so that nothing is encoded twice and a run that was stopped goes on; None:
            nowhere.
        engine: where models run: in this process, or on the workers of a cluster.
        stopping: stop early: models see the data in rounds, and those that cannot be best any more are dropped. None:
            all models see all data.
        seed: of the resamples behind `probability_best`, and of the draw of rounds.
        progress: told of each step.

    Returns:
        The models and the layers, best first, with 95 % intervals.

    Raises:
        DataError, ModelError, OptionError: the request was wrong; nothing was encoded.
        RunError: the run failed.

    Example:
        ``rank("train.csv", models=["openai/whisper-tiny", "facebook/hubert-base-ls960"]).best.model``
    """
    started = time.perf_counter()
    keep_heap_small()
    encoding, extraction = encoder or EncoderOptions(), extraction or ExtractionOptions()
    sequence, use, watcher = sequence or SequenceOptions(), use or UseOptions(), progress or Progress()
    running = engine_of(engine or EngineOptions(), encoding, watcher.note)
    check_number("seed", seed, 0, whole=True)
    named = {} if scores is None else {name: _parts(name) for name in _distinct(scores, "score")}
    specs = _distinct(models, "model")
    if target is None and segments is None and sequence.unit is not None and not isinstance(data, Dataset):
        target = "text"
    dataset = _dataset(data, target, split, segments, sequence.tier)
    check_sequence(sequence, extraction, dataset.task)
    extraction = replace(extraction, sample=extraction.sample or ("frame" if dataset.task in TIMED else "utterance"))
    if not named:
        named = {name: _parts(name) for name in [default_score(dataset, use, stopping)]}
    if TUNED in named:
        named[TUNED] = [score for score in named[TUNED] if dataset.task in score.tasks]
    if TUNED in named and use.strategy != "layer":
        raise OptionError(f"{TUNED} is for blocks that will be tuned; add --strategy layer, or name another score")
    _check_stopping(stopping, next(iter(named)), with_source=source is not None)
    ready = prepare(dataset, extraction, sequence)
    names, left_out = _usable_names(named, dataset.task, with_source=source is not None)
    chosen = list({score.name: score for name in names for score in named[name]}.values())
    keep = cache is not None  # what any score may ask for later
    many = FRAMES_FOR_TUNED if TUNED in names and extraction.sample != "utterance" else 1
    store = None if cache is None else Cache(cache, watcher.note)
    extraction = replace(
        extraction,
        kept_samples=many * extraction.kept_samples if keep or any(score.sampled for score in chosen) else 0,
        projections=(extraction.projections or N_DIRECTIONS) if keep or any(score.projected for score in chosen) else 0,
    )
    compared = any(score.needs_source for score in chosen)
    origin = prepare_source(source, extraction) if compared and source is not None else None
    if origin is None and source is not None:
        left_out.append("no score reads the source data (swd, frechet and tsne do): they are not encoded")
    stable = Stable(specs, encoding, watcher)
    expecting = use if TUNED in names else None
    asked = _asked(specs, layers, stable, expecting)
    left_out += [f"{spec} has no block to tune and is left out" for spec in specs if spec not in asked]
    labelled = label(ready, sequence, specs, stable, encoding, extraction.threads, watcher, store=store)
    prepared = labelled.prepared
    if labelled.record is not None:
        left_out.insert(0, f"times: {labelled.record}")
    for line in (_introduction(dataset, prepared), *prepared.notes, *remarks(prepared.targets), *left_out):
        logger.info(line)
        watcher.note(line)
    compared_by = _Versions(labelled.against, chosen[:1], prepared.targets)
    tally = _Tally(chosen, prepared.targets, expecting, effective=extraction.sample == "effective")
    parts = [prepared] if origin is None else [prepared, origin]
    shares = dict.fromkeys(asked, 1.0)
    with running:
        run = _Run(running, stable, asked, compared_by, extraction, store, watcher, seed)
        made = run.raced(prepared, tally, names[0], stopping, shares) if stopping else run.all(parts)
        for spec, sketches in made:
            compared_by.add(compared_by.layers(asked[spec].ranked), sketches[0])
            tally.add(spec, stable.parameters[spec], asked[spec], len(stable.layers[spec]) - 1, sketches)
    seen = max(shares.values())
    skipped = tuple(dict.fromkeys([*dataset.skipped, *prepared.skipped, *tally.skipped]))
    used = _used(prepared.items if seen == 1 else first_share(prepared.shards, seen, seed=seed), skipped)
    if origin is not None:
        skipped = tuple(dict.fromkeys([*skipped, *_of_source([*origin.skipped, *tally.source_skipped])]))
    columns = _columns(tally.candidates, chosen, names, seed)
    models = [c.model for c in tally.candidates]
    behind = np.array([shares[model] < seen for model in models])
    first = columns[names[0]].put_last(behind)
    order = sorted(first.order(), key=lambda candidate: -shares[models[candidate]])
    best = best_of_each(order, models)
    ranking = Ranking(
        task=dataset.task,
        data=DataSummary(
            len(dataset) + len(dataset.skipped), len(used), sum(i.seconds for i in used), dataset.fingerprint()
        ),
        models=_rank_models(tally.candidates, best, columns, probability_best(first, models), shares),
        beats=beats(first, models, [models[i] for i in best]),
        layers=tuple(_layer_score(tally.candidates[i], _values(columns, i)) for i in order),
        cost=Cost(
            tally.encode_s,
            tally.score_s,
            time.perf_counter() - started,
            peak_rss_mb(),
            labelled.seconds,
            tally.cached_s,
        ),
        skipped=skipped,
        options=_options(dataset, origin, columns, layers, seed)
        | asdict(use)
        | (asdict(stopping) if stopping else {})
        | asdict(encoding)
        | asdict(extraction)
        | _sequence_options(sequence, labelled),
        sensitivity=compared_by.compared(tally.candidates),
    )
    _log(ranking)
    return ranking


def default_score(dataset: Dataset, use: UseOptions, stopping: StoppingOptions | None = None) -> str:
    """The score that orders a ranking where none is named.

    "tuned" where a block will be tuned. Else "combined"; "logme" where labels are those of frames, and where a class
    has few examples: their nearest neighbours then say little (docs/study); and where models may be dropped, since the
    combined order is one of all models.
    """
    if use.strategy == "layer":
        return TUNED
    few = dataset.task == "classification" and len(dataset) < LEAST_EXAMPLES * len(dataset.classes)
    return "logme" if dataset.task in TIMED or few or stopping else "combined"


def _check_stopping(stopping: StoppingOptions | None, score: str, *, with_source: bool) -> None:
    """Refuse a race that cannot be decided.

    Raises:
        OptionError: its score says nothing of one model alone, or source data would be encoded whole.
    """
    if stopping is None:
        return
    if COMBINATIONS.get(score, (score,)) != (score,) and score != TUNED:
        raise OptionError(f"{score} is an order of all models, and some may be dropped; name --score logme, or another")
    if with_source:
        raise OptionError("models that may be dropped see no source data; leave --source or --confidence out")


def _parts(name: str) -> list[Score]:
    """The scores that a name stands for: one, or those of a combination."""
    return [get_score(part) for part in COMBINATIONS.get(name, (name,))]


def _asked(specs: Sequence[str], layers: str, stable: Stable, use: UseOptions | None) -> dict[str, Asked]:
    """The layers of every model that takes part.

    Args:
        specs: of the models.
        layers: as the user names them.
        stable: has the models.
        use: of the layers, where that makes a difference; a model without a block then takes no part.

    Raises:
        OptionError: a model has no such layers, or no model takes part.
    """
    chosen = {spec: parse_layers(layers, stable.layers[spec], spec) for spec in specs}
    if use is None:
        return {spec: Asked(own, own) for spec, own in chosen.items()}
    asked = {spec: Asked.of(own, stable.layers[spec], use) for spec, own in chosen.items()}
    if not any(one.ranked for one in asked.values()):
        raise OptionError(f"none of the layers {layers!r} is made by a block that can be tuned; leave --strategy out")
    return {spec: one for spec, one in asked.items() if one.ranked}


def _usable_names(named: dict[str, list[Score]], task: Task, *, with_source: bool) -> tuple[list[str], list[str]]:
    """Names of the scores that can be had, and a line for each that cannot.

    Raises:
        OptionError: none can.
    """
    reasons = {
        name: next(filter(None, (_unfit(score, task, with_source=with_source) for score in parts)), "")
        for name, parts in named.items()
    }
    usable = [name for name, reason in reasons.items() if not reason]
    left_out = [f"{name} {reason} and is left out" for name, reason in reasons.items() if reason]
    if not usable:
        raise OptionError(f"expected a score for {task}; {'; '.join(left_out)}: name another one")
    return usable, left_out


def _unfit(score: Score, task: Task, *, with_source: bool) -> str:
    """Why a score cannot be had; empty where it can."""
    if task not in score.tasks:
        return f"is not for {task}"
    if score.needs_source and not with_source:
        return "needs source data (--source)"
    if score.package and find_spec(score.package) is None:
        return f"needs {score.package} (the extra study)"
    return ""


def _introduction(dataset: Dataset, prepared: Prepared) -> str:
    """What will be scored, in one line."""
    what = {
        "classification": "classes",
        "multilabel": "labels",
        "segmentation": "labels of frames",
        "transcription": "units",
    }.get(dataset.task)
    timed = prepared.targets.timed
    silence = timed is not None and timed.rest != UNLABELLED
    classes = f", {prepared.targets.count - silence} {what}{' and silence' if silence else ''}" if what else ""
    part = "" if dataset.split == "all" else f" of split {dataset.split!r} (--split all takes every row)"
    blocks = len({shard.block for shard in prepared.shards})
    return f"{dataset.task} of {dataset.target!r}: {len(prepared.items):,} utterances{part}{classes}, {blocks} blocks"


def _log(ranking: Ranking) -> None:
    for skipped in ranking.skipped:
        logger.warning("skipped %s (%s): %s", skipped.utterance, skipped.model or "every model", skipped.reason)
    for model in ranking.models:
        logger.info("rank %d: %s, layer %s: %s", model.rank, model.model, model.layer, model.scores)
    logger.info("%d of %d utterances used; %s", ranking.data.used, ranking.data.utterances, ranking.cost)


def _dataset(
    data: str | os.PathLike[str] | Dataset,
    target: str | None,
    split: str | None,
    segments: str | os.PathLike[str] | None,
    tier: str | None,
) -> Dataset:
    if not isinstance(data, Dataset):
        return read_dataset(data, target=target, split=split, segments=segments, tier=tier)
    if any(option is not None for option in (target, split, segments, tier)):
        raise OptionError(
            "target, split, segments and tier are for read_dataset, and a Dataset was given; read it with them instead"
        )
    return data


def _distinct(names: Sequence[str], what: str) -> list[str]:
    """The names, refused when there are none or one is there twice.

    A spec with an unknown scheme is refused by `split_spec`, before anything is read.
    """
    if isinstance(names, str):
        raise OptionError(f"expected a list of {what}s, got the string {names!r}; write [{names!r}]")
    if not names:
        raise OptionError(f"expected at least one {what}, got none; name one with --{what}")
    doubled = sorted({name for name in names if list(names).count(name) > 1})
    if doubled:
        raise OptionError(f"the {what} {doubled[0]!r} is given twice; give each {what} once")
    if what == "model":
        for spec in names:
            split_spec(spec)
    return list(names)


@dataclass(frozen=True)
class _Candidate:
    """One layer of one model, scored."""

    model: str
    parameters: int
    layer: Layer
    estimates: dict[str, Estimate]


class _Run:
    """Models through an engine.

    Args:
        running: the engine.
        stable: has the models.
        asked: their layers.
        compared_by: other labels, whose layers are sketched too.
        extraction: what a sample is.
        store: holds what need not be encoded.
        watcher: told of each step.
        seed: of the draw of rounds.
    """

    def __init__(
        self,
        running: Engine,
        stable: Stable,
        asked: dict[str, Asked],
        compared_by: _Versions,
        extraction: ExtractionOptions,
        store: Cache | None,
        watcher: Progress,
        seed: int,
    ) -> None:
        self._running, self._stable, self._asked, self._compared_by = running, stable, asked, compared_by
        self._extraction, self._store, self._watcher, self._seed = extraction, store, watcher, seed

    def all(self, parts: Sequence[Prepared]) -> Iterator[tuple[str, list[ModelSketch]]]:
        """Each model with its sketches of the data and, where there are some, of the source data."""
        for position, spec in enumerate(self._asked, start=1):
            self._starts(spec, position, [shard for part in parts for shard in part.shards])
            runner = self._running.runner(spec, partial(self._stable.take, spec))
            layers = (self._layers(spec), self._asked[spec].read)
            yield (
                spec,
                [
                    runner.sketch(p.shards, p.targets, read, self._extraction, self._watcher.advance, self._store)
                    for p, read in zip(parts, layers, strict=False)
                ],
            )
            self._watcher.finish()

    def raced(
        self, prepared: Prepared, tally: _Tally, name: str, stopping: StoppingOptions, shares: dict[str, float]
    ) -> Iterator[tuple[str, list[ModelSketch]]]:
        """Each model with its sketch of as much of the data as it took to see that it cannot be best.

        Args:
            prepared: the data.
            tally: reads scores off sketches.
            name: of the score that decides.
            stopping: when to stop.
            shares: filled in with the share of the data that each model saw.
        """
        started, before = time.perf_counter(), None
        sketches: dict[str, ModelSketch] = {}
        rounds = plan_rounds(prepared.shards, shard_s=self._extraction.shard_s, seed=self._seed)
        left = list(self._asked)
        for one in rounds:
            share, shards = one.share, one.shards
            for position, spec in enumerate(left, start=1):
                self._starts(spec, position, shards)
                runner = self._running.runner(spec, partial(self._stable.lend, spec))
                made = runner.sketch(
                    shards, prepared.targets, self._layers(spec), self._extraction, self._watcher.advance, self._store
                )
                if spec in sketches:
                    sketches[spec].merge(made)
                else:
                    sketches[spec] = made
                shares[spec] = share
                self._watcher.finish()
            last = {spec: len(self._stable.layers[spec]) - 1 for spec in left}
            now = Standing(
                share,
                {spec: tally.goodness(name, self._asked[spec], last[spec], sketches[spec]) for spec in left},
            )
            gone = beaten(now, before, confidence=stopping.confidence, models=len(self._asked), rounds=len(rounds))
            left, before = [spec for spec in left if spec not in gone], now
            for spec in sorted(gone):
                self._watcher.note(
                    f"{spec} cannot be best any more, and is dropped after {100 * share:.0f} % of the data"
                )
            spent = stopping.budget_s is not None and time.perf_counter() - started > stopping.budget_s
            if spent or len(left) == 1 < len(self._asked):
                break
        if spent and len(left) > 1:
            self._watcher.note(
                f"the budget is spent after {100 * share:.0f} % of the data, with {len(left)} models left"
            )
        encoded = sum(shares.values()) / len(shares)
        self._watcher.note(f"{100 * encoded:.0f} % of what all models on all data would take was encoded")
        for spec, sketch in sketches.items():
            yield spec, [sketch]

    def _layers(self, spec: str) -> list[Layer]:
        """All that are sketched."""
        return [*self._asked[spec].read, *self._compared_by.layers(self._asked[spec].ranked)]

    def _starts(self, spec: str, position: int, shards: Sequence[Shard]) -> None:
        logger.info("%s: begins, model %d of %d", spec, position, len(self._asked))
        self._watcher.start(spec, position, len(self._asked), sum(shard.seconds for shard in shards))


class _Tally:
    """Collects scored layers, skipped utterances and times as the models finish.

    Args:
        scores: of every layer.
        targets: of the data.
        use: of the layers, where what is to be expected of it is asked for.
        effective: whether samples count for no more than the independent ones that they are worth.
    """

    def __init__(self, scores: Sequence[Score], targets: Targets, use: UseOptions | None, *, effective: bool) -> None:
        self._scores, self._targets, self._use, self._effective = scores, targets, use, effective
        self.candidates: list[_Candidate] = []
        self.skipped: list[Skipped] = []
        self.source_skipped: list[Skipped] = []
        self.encode_s = 0.0
        self.score_s = 0.0
        self.cached_s = 0.0

    def add(self, spec: str, parameters: int, asked: Asked, last: int, sketches: Sequence[ModelSketch]) -> None:
        """Score the layers of a model, from its sketch of the data and, where there are some, of the source data.

        Args:
            spec: of the model.
            parameters: of its encoder.
            asked: its layers that are candidates, and those that are read.
            last: index of its last layer.
            sketches: of the data, and of the source data.
        """
        started = time.perf_counter()
        sketch, origin = sketches[0], sketches[1] if len(sketches) > 1 else None
        self.skipped += sketch.skipped
        self.source_skipped += origin.skipped if origin is not None else []
        for made, what in zip(sketches, ("", " of the source"), strict=False):
            self.encode_s += made.encode_s
            self.cached_s += made.cached_s
            if not made.used_s:
                raise RunError(
                    f"{spec} could use none of the utterances{what}; the first reason: {made.skipped[0].reason}"
                )
        found = self._estimates(self._scores, asked, last, sketch, origin)
        self.candidates += [
            _Candidate(spec, parameters, layer, estimates) for layer, estimates in zip(asked.ranked, found, strict=True)
        ]
        self.score_s += time.perf_counter() - started

    def goodness(self, name: str, asked: Asked, last: int, sketch: ModelSketch) -> list[Estimate]:
        """Of each candidate layer by one score, higher for better."""
        started = time.perf_counter()
        scores = [score for score in self._scores if score.name in COMBINATIONS.get(name, (name,))]
        sign = 1 if name == TUNED or get_score(name).higher_is_better else -1
        found = [one[name] for one in self._estimates(scores, asked, last, sketch, None)]
        self.score_s += time.perf_counter() - started
        return [Estimate(sign * one.value, sign * one.influence) for one in found]

    def _estimates(
        self, scores: Sequence[Score], asked: Asked, last: int, sketch: ModelSketch, origin: ModelSketch | None
    ) -> list[dict[str, Estimate]]:
        """Of each candidate layer."""
        found = {
            layer.index: estimate_all(
                scores, _view(layer.index, sketch, origin, self._targets, effective=self._effective)
            )
            for layer in asked.read
        }
        made = [dict(found[layer.index]) for layer in asked.ranked]
        if self._use is not None:
            parts = [name for name in COMBINATIONS[TUNED] if name in made[0]]
            known = {index: mean_of([one[name] for name in parts]) for index, one in found.items()}
            for layer, estimates in zip(asked.ranked, made, strict=True):
                estimates[TUNED] = expected(known, layer.index, last, self._use)
        return made


class _Versions:
    """The ranking by other labels of the same frames.

    Args:
        names: of the labels, in order of `Timed.versions`.
        scores: the first one orders the ranking.
        targets: of the data.
    """

    def __init__(self, names: Sequence[str], scores: Sequence[Score], targets: Targets) -> None:
        self._names, self._score, self._targets = names, scores[0], targets
        self._values: dict[str, list[float]] = {name: [] for name in names}

    def layers(self, layers: Sequence[Layer]) -> list[LayerVersion]:
        """Every layer once for each kind of labels."""
        first = max(layer.index for layer in layers) + 1
        made = itertools.product(
            range(len(self._names)), (layer for layer in layers if not isinstance(layer, JointLayer))
        )
        return [
            LayerVersion(first + place, layer.name, layer.dim, layer.frame_rate, layer.index, version)
            for place, (version, layer) in enumerate(made)
        ]

    def add(self, layers: Sequence[LayerVersion], sketch: ModelSketch) -> None:
        """Score the layers of a model."""
        for layer in layers:
            view = _view(layer.index, sketch, None, self._targets, effective=False)
            self._values[self._names[layer.version]].append(estimate_all([self._score], view)[self._score.name].value)

    def compared(self, candidates: Sequence[_Candidate]) -> tuple[Sensitivity, ...]:
        """Each with the ranking itself."""
        plain = [c for c in candidates if not isinstance(c.layer, JointLayer)]
        own = [c.estimates[self._score.name].value for c in plain]
        sign = 1 if self._score.higher_is_better else -1
        found = []
        for name, values in self._values.items():
            best = plain[int(np.argmax(sign * np.array(values)))]
            same = spearmanr(own, values) if len(own) > 2 else None
            found.append(
                Sensitivity(
                    name,
                    None if same is None else float(same.statistic),
                    None if same is None else float(same.pvalue),
                    best.model,
                    layer_label(best.layer),
                )
            )
        return tuple(found)


def _view(
    layer: int, sketch: ModelSketch, origin: ModelSketch | None, targets: Targets, *, effective: bool
) -> LayerView:
    """What scores read of a layer."""
    moments = sketch.layers[layer]
    source = None
    if origin is not None:
        projected = Quantiles.together(origin.projections.get(layer, {}).values())
        source = SourceView(origin.layers[layer].total, origin.samples.get(layer), projected)
    return LayerView(
        moments,
        sketch.samples.get(layer),
        targets.rows,
        weight=1 / moments.total.inflation() if effective else 1.0,
        projections=sketch.projections.get(layer),
        source=source,
    )


def _of_source(skipped: Sequence[Skipped]) -> list[Skipped]:
    """The same, said to be of the source data."""
    return [replace(one, reason=f"source data: {one.reason}") for one in skipped]


def _used(items: Sequence[Item], skipped: Sequence[Skipped]) -> list[Item]:
    gone = {s.utterance for s in skipped}
    return [item for item in items if item.utterance.id not in gone]


def _columns(candidates: Sequence[_Candidate], scores: Sequence[Score], names: Sequence[str], seed: int) -> Columns:
    """Every score asked for, in the order asked for; a combination is followed by what it is made of."""
    direction = {score.name: score.higher_is_better for score in scores} | {TUNED: True}
    plain = {
        name: Column.of([c.estimates[name] for c in candidates], higher_is_better=direction[name], seed=seed)
        for name in candidates[0].estimates
    }
    columns: Columns = {}
    for name in names:
        parts = [part for part in COMBINATIONS.get(name, ()) if part in plain]
        columns[name] = plain[name] if name in plain else Column.combined([plain[part] for part in parts])
        columns |= {part: plain[part] for part in parts if part not in columns}
    return columns


def _rank_models(
    candidates: Sequence[_Candidate],
    best: Sequence[int],
    columns: Columns,
    probability: dict[str, float],
    shares: dict[str, float],
) -> tuple[ModelScore, ...]:
    return tuple(
        ModelScore(
            c.model,
            layer_label(c.layer),
            position,
            probability.get(c.model),
            c.parameters,
            _values(columns, i),
            shares[c.model],
        )
        for position, (i, c) in enumerate(((i, candidates[i]) for i in best), start=1)
    )


def _values(columns: Columns, candidate: int) -> dict[str, ScoreValue]:
    return {name: column.values[candidate] for name, column in columns.items()}


def _layer_score(c: _Candidate, values: dict[str, ScoreValue]) -> LayerScore:
    return LayerScore(c.model, layer_label(c.layer), c.layer.name, c.layer.dim, values)


def _sequence_options(sequence: SequenceOptions, labelled: Labelled) -> dict[str, Any]:
    """How frames got their labels, where they have labels of their own."""
    if labelled.record is None:
        return {}
    return asdict(sequence) | {"aligner": asdict(labelled.record)}


def _options(dataset: Dataset, origin: Origin | None, columns: Columns, layers: str, seed: int) -> dict[str, Any]:
    return {
        "voxrank": version("voxrank"),
        "data": dataset.source,
        "target": dataset.target,
        "split": dataset.split,
        "source": None if origin is None else origin.dataset.source,
        "source_fingerprint": None if origin is None else origin.dataset.fingerprint(),
        "scores": list(columns),
        "higher_is_better": {name: column.higher_is_better for name, column in columns.items()},
        "layers": layers,
        "seed": seed,
    }
