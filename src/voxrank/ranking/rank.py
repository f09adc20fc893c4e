"""Data and models → ranking: the whole run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from voxrank._support.memory import keep_heap_small
from voxrank._support.progress import Progress
from voxrank.alignment.labels import Labelled, check_sequence, label
from voxrank.alignment.preparation import Prepared, prepare, prepare_source
from voxrank.cache.store import Cache
from voxrank.config import (
    CacheOptions,
    DetailLevel,
    DetailOptions,
    EncoderOptions,
    EngineOptions,
    ExtractionOptions,
    SequenceOptions,
    StoppingOptions,
    UseOptions,
    check_number,
)
from voxrank.data.read import read_dataset
from voxrank.data.skips import skips_warning
from voxrank.data.utterance import TIMED, Dataset, Task
from voxrank.encoders.pool import Stable, parse_layers
from voxrank.encoders.registry import split_spec
from voxrank.engines.base import engine_of
from voxrank.errors import OptionError
from voxrank.ranking.build import Assembly
from voxrank.ranking.collector import LabelComparison, Tally
from voxrank.ranking.diagnosing import Detailing
from voxrank.ranking.runner import Run
from voxrank.ranking.tuning import TUNED, Asked
from voxrank.results.ranking import Ranking
from voxrank.scores import Score, get_score
from voxrank.scores.registry import COMBINATIONS
from voxrank.targets.labels import remarks
from voxrank.targets.timeline import UNLABELLED

logger = logging.getLogger(__name__)

LEAST_EXAMPLES = 20
"""Of a class, on average, from which on nearest neighbours have a say in the default ranking."""

FRAMES_FOR_TUNED = 4
"""How many times the usual samples are kept for it: accuracies of neighbouring layers are near to each other."""

N_DIRECTIONS = 50
"""Of the sliced Wasserstein distance."""


def rank(
    data: Any,
    models: Sequence[str],
    *,
    target: str | None = None,
    split: str | None = None,
    segments: str | os.PathLike[str] | None = None,
    source: Any = None,
    scores: Sequence[str] | None = None,
    layers: str = "all",
    encoder: EncoderOptions | None = None,
    extraction: ExtractionOptions | None = None,
    sequence: SequenceOptions | None = None,
    use: UseOptions | None = None,
    cache: CacheOptions | None = None,
    engine: EngineOptions | None = None,
    stopping: StoppingOptions | None = None,
    details: DetailLevel = "quick",
    besides: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank pre-trained speech models, and their layers, for labelled speech, without fine-tuning any of them.

    Args:
        data: a manifest, a folder, or another data set that `read_dataset` reads, by its path, hub id or as an object
            (pandas, PyTorch, `datasets`, lhotse); or a `Dataset`.
        models: specs: hub ids, local directories, or ``scheme:rest`` (see ``voxrank models``).
        target: column to predict; by default label, else labels, value, segments or text, the first that is there; text
            where `sequence` names a unit.
        split: rows to use; by default "train", else splits whose names mean training data; "all" for every row.
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
        details: what else is found of layers (`Ranking.details`): "quick" has classes, pictures and a learning curve,
            "full" pictures by t-SNE too; "none".
        besides: other columns of the data, such as "speaker": how much every layer knows of them is among the details.
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
    wished = DetailOptions(details, tuple(besides))
    dataset = _dataset(data, target, split, segments, sequence.tier, wished.besides)
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
    sampled = keep or details != "none" or any(score.sampled for score in chosen)
    many = FRAMES_FOR_TUNED if TUNED in names and extraction.sample != "utterance" else 1
    store = None if cache is None else Cache(cache, watcher.note)
    extraction = replace(
        extraction,
        kept_samples=many * extraction.kept_samples if sampled else 0,
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
    from_source = () if origin is None else origin.notes
    skipped = skips_warning(len(dataset) + len(dataset.skipped), (*dataset.skipped, *prepared.skipped))
    notes = (*dataset.notes, *prepared.notes, *from_source)
    said = (*filter(None, [skipped]), *notes, *remarks(prepared.targets), *left_out)
    for line in (_introduction(dataset, prepared), *said):
        logger.info(line)
        watcher.note(line)
    effective = extraction.sample == "effective"
    tally = Tally(chosen, prepared.targets, expecting, effective=effective)
    comparison = LabelComparison(labelled.against, names[0], tally)
    detailing = Detailing(wished, dataset, prepared, names, chosen, effective=effective)
    parts = [prepared] if origin is None else [prepared, origin]
    shares = dict.fromkeys(asked, 1.0)
    wanted = {"layers": layers, "seed": seed} | asdict(use) | (asdict(stopping) if stopping else {})
    wanted |= {} if segments is None else {"segments": os.fspath(segments)}
    wanted |= asdict(encoding) | asdict(extraction) | asdict(wished) | _sequence_options(sequence, labelled)
    assembly = Assembly(dataset, prepared, origin, names, chosen, wanted, seed, labelled.seconds, started)
    with running:
        run = Run(running, stable, asked, comparison, extraction, store, watcher, seed)
        made = run.raced(prepared, tally, names[0], stopping, shares) if stopping else run.all(parts)
        for spec, sketches in made:
            last = len(stable.layers[spec]) - 1
            tally.add(spec, stable.parameters[spec], asked[spec], last, sketches)
            comparison.add(spec, asked[spec], last, sketches)
            watcher.ranked(partial(assembly.so_far, tally, shares))
            detailing.add(tally.candidates[-len(asked[spec].ranked) :], sketches[0], shares[spec])
    for line in comparison.left_out.values():
        watcher.note(line)
    ranking = assembly.ranking(tally, shares, comparison.compared(tally.candidates, shares))
    ranking = detailing.complete(ranking, assembly.audio(tally, shares))
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
        return f"needs {score.package} (pip install 'voxrank[validate]')"
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
    rest = f"{dataset.unused:,} rows of other splits are not used; " if dataset.unused else ""
    part = "" if dataset.split == "all" else f" of split {dataset.split!r} ({rest}--split all takes every row)"
    blocks = len({shard.block for shard in prepared.shards})
    return f"{dataset.task} of {dataset.target!r}: {len(prepared.items):,} utterances{part}{classes}, {blocks} blocks"


def _log(ranking: Ranking) -> None:
    for skipped in ranking.skipped:
        logger.warning("skipped %s (%s): %s", skipped.utterance, skipped.model or "every model", skipped.reason)
    for model in ranking.models:
        logger.info("rank %d: %s, layer %s: %s", model.rank, model.model, model.layer, model.scores)
    logger.info("%d of %d utterances used; %s", ranking.data.used, ranking.data.utterances, ranking.cost)


def _dataset(
    data: Any,
    target: str | None,
    split: str | None,
    segments: str | os.PathLike[str] | None,
    tier: str | None,
    besides: Sequence[str],
) -> Dataset:
    if not isinstance(data, Dataset):
        return read_dataset(data, target=target, split=split, segments=segments, tier=tier, besides=besides)
    if any(option is not None for option in (target, split, segments, tier)):
        raise OptionError(
            "target, split, segments and tier are for read_dataset, and a Dataset was given; read it with them instead"
        )
    for column in besides:
        data.cells(column)
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


def _sequence_options(sequence: SequenceOptions, labelled: Labelled) -> dict[str, Any]:
    """How frames got their labels, where they have labels of their own."""
    if labelled.record is None:
        return {}
    return asdict(sequence) | {"aligner": asdict(labelled.record)}
