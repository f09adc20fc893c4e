"""Data and models → ranking: the whole run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from voxrank.config import EncoderOptions, ExtractionOptions, check_number
from voxrank.data.audio import probe_all
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset, Skipped, Task
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.registry import load_encoder, split_spec
from voxrank.engines.local import ModelSketch, sketch_model
from voxrank.errors import DataError, OptionError, RunError
from voxrank.joint import JOINT_KINDS, JointLayer, layer_label
from voxrank.memory import keep_heap_small, peak_rss_mb
from voxrank.ordering import Column, beats, best_of_each, probability_best
from voxrank.progress import Progress
from voxrank.results import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue
from voxrank.scores import Score, get_score
from voxrank.scores.estimate import Estimate
from voxrank.scores.registry import COMBINATIONS
from voxrank.scores.view import LayerView
from voxrank.shards import Item, Shard, plan_shards
from voxrank.targets.labels import Targets, remarks, utterance_targets

logger = logging.getLogger(__name__)

Columns = dict[str, Column]
"""Score name → that score of every candidate; the first one orders the ranking."""

KEPT_PARAMETERS = 500_000_000
"""Models are loaded once to see that all of them can be; up to this many weights in all stay loaded."""


def rank(
    data: str | os.PathLike[str] | Dataset,
    models: Sequence[str],
    *,
    target: str | None = None,
    split: str | None = None,
    scores: Sequence[str] = ("combined",),
    layers: str = "all",
    encoder: EncoderOptions | None = None,
    extraction: ExtractionOptions | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank pre-trained speech models, and their layers, for labelled speech, without fine-tuning any of them.

    Args:
        data: a manifest (CSV, TSV, JSONL), a folder of class folders, or a `Dataset`.
        models: specs: hub ids, local directories, or ``scheme:rest`` (see ``voxrank models``).
        target: column to predict; by default label, else value.
        split: rows to use; by default "train" where the data have it, else all; "all" for every row.
        scores: names; the first one orders the ranking. "combined" averages the order by LogME and by kNN.
        layers: "all", or indices such as "0,3,6" (negative ones count from the last layer); with "mean" or "concat"
            also those layers together, such as "all,mean".
        encoder: device, precision, windows.
        extraction: what a sample is, blocks, threads.
        seed: of the resamples behind `probability_best`.
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
    encoding, extraction, watcher = (
        encoder or EncoderOptions(),
        extraction or ExtractionOptions(),
        progress or Progress(),
    )
    check_number("seed", seed, 0, whole=True)
    named = {name: _parts(name) for name in _distinct(scores, "score")}
    specs = _distinct(models, "model")
    dataset = _dataset(data, target, split)
    prepared = _prepare(dataset, extraction)
    names, left_out = _usable_names(named, dataset.task)
    chosen = list({score.name: score for name in names for score in named[name]}.values())
    if not any(score.sampled for score in chosen):
        extraction = replace(extraction, kept_samples=0)
    stable = _Stable(specs, encoding, watcher)
    wanted = {spec: parse_layers(layers, stable.layers[spec], spec) for spec in specs}
    for line in (_introduction(dataset, prepared), *remarks(prepared.targets), *left_out):
        logger.info(line)
        watcher.note(line)
    tally = _Tally(effective=extraction.sample == "effective")
    for position, spec in enumerate(specs, start=1):
        logger.info("%s: begins, model %d of %d", spec, position, len(specs))
        watcher.start(spec, position, len(specs), sum(item.seconds for item in prepared.items))
        sketch = sketch_model(
            stable.take(spec), prepared.shards, prepared.targets, wanted[spec], extraction, watcher.advance
        )
        tally.add(spec, stable.parameters[spec], wanted[spec], sketch, chosen, prepared.targets)
        watcher.finish()
    skipped = tuple(dict.fromkeys([*dataset.skipped, *prepared.skipped, *tally.skipped]))
    used = _used(prepared.items, skipped)
    columns = _columns(tally.candidates, chosen, names, seed)
    first = columns[names[0]]
    order, models = first.order(), [c.model for c in tally.candidates]
    best = best_of_each(order, models)
    ranking = Ranking(
        task=dataset.task,
        data=DataSummary(
            len(dataset) + len(dataset.skipped), len(used), sum(i.seconds for i in used), dataset.fingerprint()
        ),
        models=_rank_models(tally.candidates, best, columns, probability_best(first, models)),
        beats=beats(first, models, [models[i] for i in best]),
        layers=tuple(_layer_score(tally.candidates[i], _values(columns, i)) for i in order),
        cost=Cost(tally.encode_s, tally.score_s, time.perf_counter() - started, peak_rss_mb()),
        skipped=skipped,
        options=_options(dataset, columns, layers, seed) | asdict(encoding) | asdict(extraction),
    )
    _log(ranking)
    return ranking


def _parts(name: str) -> list[Score]:
    """The scores that a name stands for: one, or those of a combination."""
    return [get_score(part) for part in COMBINATIONS.get(name, (name,))]


def _usable_names(named: dict[str, list[Score]], task: Task) -> tuple[list[str], list[str]]:
    """Names of the scores that serve the task, and a line for each that does not.

    Raises:
        OptionError: none does.
    """
    left_out = []
    for name, parts in named.items():
        unfit = [score for score in parts if task not in score.tasks]
        if unfit:
            left_out.append(f"{name} is for {' and '.join(unfit[0].tasks)} and is left out")
    usable = [name for name, parts in named.items() if all(task in score.tasks for score in parts)]
    if not usable:
        raise OptionError(f"expected a score for {task}, got {', '.join(named)}; name another one")
    return usable, left_out


def _introduction(dataset: Dataset, prepared: _Prepared) -> str:
    """What will be scored, in one line."""
    classes = f", {prepared.targets.count} classes" if dataset.task == "classification" else ""
    part = "" if dataset.split == "all" else f" of split {dataset.split!r} (--split all takes every row)"
    blocks = len({shard.block for shard in prepared.shards})
    return f"{dataset.task} of {dataset.target!r}: {len(prepared.items):,} utterances{part}{classes}, {blocks} blocks"


def _log(ranking: Ranking) -> None:
    for skipped in ranking.skipped:
        logger.warning("skipped %s (%s): %s", skipped.utterance, skipped.model or "every model", skipped.reason)
    for model in ranking.models:
        logger.info("rank %d: %s, layer %s: %s", model.rank, model.model, model.layer, model.scores)
    logger.info("%d of %d utterances used; %s", ranking.data.used, ranking.data.utterances, ranking.cost)


def _dataset(data: str | os.PathLike[str] | Dataset, target: str | None, split: str | None) -> Dataset:
    if not isinstance(data, Dataset):
        return read_dataset(data, target=target, split=split)
    if target is not None or split is not None:
        raise OptionError("target and split are for read_dataset, and a Dataset was given; read it with them instead")
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
class _Prepared:
    """What every candidate sees: the utterances that can be used, their targets and shards."""

    items: list[Item]
    skipped: tuple[Skipped, ...]
    targets: Targets
    shards: list[Shard]


def _prepare(dataset: Dataset, options: ExtractionOptions) -> _Prepared:
    probed, skipped = probe_all(dataset, options.threads)
    if not probed:
        reason = f"; the first: {skipped[0].utterance}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"none of the {len(dataset)} utterances of {dataset.source} can be read{reason}")
    targets = utterance_targets([p.utterance for p in probed], dataset.task)
    items = [Item(p.utterance, p.seconds, row) for row, p in enumerate(probed)]
    shards = plan_shards(items, dataset.target, blocks=options.blocks, shard_s=options.shard_s)
    return _Prepared(items, skipped, targets, shards)


class _Stable:
    """The candidates: each is loaded once before anything is encoded, and small ones stay loaded."""

    def __init__(self, specs: Sequence[str], options: EncoderOptions, watcher: Progress) -> None:
        self._options = options
        self._kept: dict[str, Encoder] = {}
        self.layers: dict[str, tuple[Layer, ...]] = {}
        self.parameters: dict[str, int] = {}
        for position, spec in enumerate(specs, start=1):
            watcher.load(spec, position, len(specs))
            encoder = load_encoder(spec, options)
            self.layers[spec], self.parameters[spec] = encoder.layers, encoder.parameters
            if sum(self.parameters.values()) <= KEPT_PARAMETERS:
                self._kept[spec] = encoder

    def take(self, spec: str) -> Encoder:
        """The encoder, which the caller then owns."""
        return self._kept.pop(spec, None) or load_encoder(spec, self._options)


def parse_layers(wanted: str, layers: Sequence[Layer], spec: str) -> list[Layer]:
    """The layers a user asked for.

    Args:
        wanted: comma-separated indices (negative ones count from the last layer) or "all", and "mean" or "concat" for
            those named together; of all layers where none is named.
        layers: that the model has.
        spec: the model, for the message.

    Raises:
        OptionError: no such list, the model has no such layer, or its layers cannot be put together.
    """
    words = [part.strip() for part in wanted.split(",") if part.strip()]
    kinds = [kind for kind in JOINT_KINDS if kind in words]
    named = [word for word in words if word not in JOINT_KINDS]
    try:
        numbers = list(range(len(layers))) if named in (["all"], []) and words else [int(word) for word in named]
    except ValueError:
        numbers = []
    if not numbers:
        raise OptionError(f"expected layers as 'all' or indices such as 0,3,6, with mean or concat, got {wanted!r}")
    missing = [number for number in numbers if not -len(layers) <= number < len(layers)]
    if missing:
        raise OptionError(f"{spec} has layers 0 to {len(layers) - 1}, not {missing[0]}; see `voxrank models {spec}`")
    chosen = [layers[place] for place in sorted({number % len(layers) for number in numbers})]
    joint = [JointLayer.of(kind, chosen, len(layers) + place, spec) for place, kind in enumerate(kinds)]
    return [*(chosen if named else []), *joint]


@dataclass(frozen=True)
class _Candidate:
    """One layer of one model, scored."""

    model: str
    parameters: int
    layer: Layer
    estimates: dict[str, Estimate]


class _Tally:
    """Collects scored layers, skipped utterances and times as the models finish.

    Args:
        effective: whether samples count for no more than the independent ones that they are worth.
    """

    def __init__(self, *, effective: bool) -> None:
        self._effective = effective
        self.candidates: list[_Candidate] = []
        self.skipped: list[Skipped] = []
        self.encode_s = 0.0
        self.score_s = 0.0

    def add(
        self,
        spec: str,
        parameters: int,
        layers: Sequence[Layer],
        sketch: ModelSketch,
        scores: Sequence[Score],
        targets: Targets,
    ) -> None:
        """Score every layer of a model."""
        started = time.perf_counter()
        self.skipped += sketch.skipped
        self.encode_s += sketch.encode_s
        if not sketch.used_s:
            raise RunError(f"{spec} could use none of the utterances; the first reason: {sketch.skipped[0].reason}")
        for layer in layers:
            moments, sample = sketch.layers[layer.index], sketch.samples.get(layer.index)
            weight = 1 / moments.total.inflation() if self._effective else 1.0
            view = LayerView(moments, sample, targets.rows, weight)
            estimates = {score.name: score.estimate(view) for score in scores}
            self.candidates.append(_Candidate(spec, parameters, layer, estimates))
        self.score_s += time.perf_counter() - started


def _used(items: Sequence[Item], skipped: Sequence[Skipped]) -> list[Item]:
    gone = {s.utterance for s in skipped}
    return [item for item in items if item.utterance.id not in gone]


def _columns(candidates: Sequence[_Candidate], scores: Sequence[Score], names: Sequence[str], seed: int) -> Columns:
    """Every score asked for, in the order asked for; a combination is followed by what it is made of."""
    plain = {
        score.name: Column.of(
            [c.estimates[score.name] for c in candidates], higher_is_better=score.higher_is_better, seed=seed
        )
        for score in scores
    }
    columns: Columns = {}
    for name in names:
        parts = COMBINATIONS.get(name, ())
        columns[name] = Column.combined([plain[part] for part in parts]) if parts else plain[name]
        columns |= {part: plain[part] for part in parts if part not in columns}
    return columns


def _rank_models(
    candidates: Sequence[_Candidate], best: Sequence[int], columns: Columns, probability: dict[str, float]
) -> tuple[ModelScore, ...]:
    return tuple(
        ModelScore(c.model, layer_label(c.layer), position, probability.get(c.model), c.parameters, _values(columns, i))
        for position, (i, c) in enumerate(((i, candidates[i]) for i in best), start=1)
    )


def _values(columns: Columns, candidate: int) -> dict[str, ScoreValue]:
    return {name: column.values[candidate] for name, column in columns.items()}


def _layer_score(c: _Candidate, values: dict[str, ScoreValue]) -> LayerScore:
    return LayerScore(c.model, layer_label(c.layer), c.layer.name, c.layer.dim, values)


def _options(dataset: Dataset, columns: Columns, layers: str, seed: int) -> dict[str, Any]:
    return {
        "voxrank": version("voxrank"),
        "data": dataset.source,
        "target": dataset.target,
        "split": dataset.split,
        "scores": list(columns),
        "higher_is_better": {name: column.higher_is_better for name, column in columns.items()},
        "layers": layers,
        "seed": seed,
    }
