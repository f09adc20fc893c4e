"""A complete validation: fine-tune the candidates and measure how far the scores agree with the result."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from voxrank._support.memory import peak_rss_mb
from voxrank._support.packages import version
from voxrank._support.progress import Progress
from voxrank.alignment.preparation import check_dataset_skips, readable_items
from voxrank.config import (
    DetailOptions,
    EncoderOptions,
    RankRequest,
    Seconds,
    SequenceOptions,
    TuningOptions,
    ValidateKeywords,
    ValidateRequest,
    spelled_out,
)
from voxrank.data.read import read_dataset
from voxrank.data.shards import Item
from voxrank.data.utterance import Dataset, Skipped
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.groups import with_models
from voxrank.encoders.joint import JOINT_KINDS
from voxrank.encoders.pool import parse_layers
from voxrank.encoders.registry import load_encoder
from voxrank.errors import OptionError
from voxrank.groundtruth.agreement import agreement
from voxrank.groundtruth.answers import Answers, find_answers
from voxrank.groundtruth.rules import Candidate, rule_names, rule_values
from voxrank.groundtruth.splits import Split, divide, draw_examples
from voxrank.groundtruth.strategies import Work, plain_heads, run_trials, tunable_layers
from voxrank.groundtruth.transducer_head import check_transducer, transducer_heads
from voxrank.groundtruth.trials import Row, TrialStore
from voxrank.groundtruth.verdict import Cost, Judged, Parts, Truth, Validation
from voxrank.ranking.plan import check_names
from voxrank.ranking.rank import run as rank_as
from voxrank.results.ranking import Ranking, ScoreValue, check_folder

logger = logging.getLogger(__name__)

BASELINE = "probe on 10 %"
BASELINE_SHARE = 0.1
"""Share of the training data for the cheapest fair competitor of the scores: a probe of every layer."""

ORDER = "mean order"
"""Name of the order of a ranking by several scores."""
TRIALS = "trials.sqlite"


@spelled_out(ValidateRequest, ValidateKeywords)
def validate(
    data: Any,
    models: Sequence[str],
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Unpack[ValidateKeywords],
) -> Validation:
    """Fine-tune models, and report how far scores of the frozen models agree with the results.

    The data are divided into training, validation and test utterances (`voxrank.groundtruth.splits`). Scores use the
    training part. The validation part decides when training stops, and the metric is measured on the test part. The
    scores are compared with rules that use no data, and with a probe of every layer. The probe is trained on a tenth of
    the training data and measured on the validation part.

    Args:
        data: labelled speech, as for `rank`; all rows are used, according to their `split` where they have one.
        models: specs of the candidates.
        tuning: strategy, head, seeds and epochs.
        target: column to predict, as for `rank`.
        source: source data, for the scores that compare them with `data`.
        scores: names of scores; the default is that of `rank`.
        layers: "all", or indices.
        encoder: device, precision and windows.
        extraction: what a sample is, for the scores.
        sequence: unit and language of transcripts, and the aligner for the scores.
        folder: folder where each trial is saved as it ends, so that an interrupted run can continue; None: trials are
            not saved.
        seed: seed of the resamples.
        progress: receives the progress.

    Returns:
        The metric of every candidate and seed, and the agreement of every score, every rule and the probe with it.

    Raises:
        DataError, ModelError, OptionError: the request is invalid; nothing was trained.
        RunError: the run failed. A single trial that fails is reported in the result.
    """
    keywords: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return run(data, ValidateRequest(models=models, **keywords), folder, progress or Progress())


def run(data: Any, request: ValidateRequest, folder: str | os.PathLike[str] | None, watcher: Progress) -> Validation:
    """Fine-tune models and compare scores with the results, as a request says; see `validate`."""
    started = time.perf_counter()
    request = with_models(request)
    tuning, sequence, encoding, extraction = request.tuning, request.sequence, request.encoder, request.extraction
    scoring = RankRequest(
        models=request.models,
        source=request.source,
        scores=request.scores,
        layers=request.layers,
        encoder=encoding,
        extraction=extraction,
        sequence=sequence,
        use=tuning.use,
        details=DetailOptions("none"),
        seed=request.seed,
    )
    check_names(scoring)
    _check_encoding(encoding)
    _check_layers(request.layers)
    dataset = data if isinstance(data, Dataset) else read_dataset(data, target=request.column, split="all")
    items, unreadable, data_notes = readable_items(dataset, dataset.source, extraction)
    answers = find_answers(items, dataset, sequence, tuning)
    check_dataset_skips(dataset, [*unreadable, *answers.skipped], extraction)
    split = divide([item for item in items if item.utterance.id in answers.by_utterance], dataset, tuning)
    unknown_class = [Skipped(item.utterance.id, "its class is missing in the training part") for item in split.left_out]
    if tuning.head == "transducer":
        for spec in request.models:
            check_transducer(spec)
    setting = _setting(dataset, split, answers, tuning, encoding, sequence)
    with ExitStack() as stack:
        path = folder if folder is not None else stack.enter_context(tempfile.TemporaryDirectory())
        check_folder(path)
        training = tuple(item.utterance for item in split.train)
        ranking = rank_as(replace(dataset, utterances=training, skipped=(), split="all"), scoring, watcher)
        trials = _Trials(split, answers, tuning, setting, Path(path), watcher)
        for spec in request.models:
            trials.add(load_encoder(spec, encoding), request.layers)
    if not trials.candidates:
        raise OptionError(f"none of the models can be tuned by the strategy {tuning.strategy}; take --strategy probe")
    evaluation = _Evaluation(trials, answers, tuning, ranking, request.seed)
    return Validation(
        task=dataset.task,
        strategy=tuning.strategy,
        metric=answers.metric,
        higher_is_better=answers.higher_is_better,
        parts=Parts(split.by, len(split.train), len(split.validation), len(split.test), _seconds(split.train)),
        truth=evaluation.truth,
        judged=evaluation.all(),
        cost=Cost(
            ranking.cost.encode_s,
            ranking.cost.score_s,
            ranking.cost.align_s,
            sum(row.seconds for row in trials.rows),
            sum(row.seconds for row in trials.baseline_rows),
            time.perf_counter() - started,
            peak_rss_mb(),
        ),
        skipped=tuple(
            dict.fromkeys(
                [*dataset.skipped, *unreadable, *answers.skipped, *unknown_class, *trials.skipped, *ranking.skipped]
            )
        ),
        notes=(*data_notes, *trials.notes),
        options=_options(dataset, ranking, request),
        expected=evaluation.expected(),
    )


def _check_encoding(encoding: EncoderOptions) -> None:
    """Refuse options that the Trainer cannot follow: it tunes in float32, on the first device."""
    if encoding.dtype != "float32":
        raise OptionError(f"models are tuned in float32, got {encoding.dtype}; leave the dtype out")
    if encoding.device[-2:-1] == ":" and encoding.device[-1] != "0":
        raise OptionError(
            f"models are tuned on the first device, got {encoding.device}; name another by CUDA_VISIBLE_DEVICES"
        )


def _check_layers(layers: str) -> None:
    """Refuse a request for joint layers alone: a head is trained on the frames of one layer."""
    words = [word.strip() for word in layers.split(",")]
    if any(word in JOINT_KINDS for word in words) and all(word in ("", *JOINT_KINDS) for word in words):
        raise OptionError(
            f"expected layers that a head can be trained on, got only joint ones ({layers}); name all, or indices"
        )


class _Trials:
    """The trials of all models, and the trials of the probe."""

    def __init__(
        self,
        split: Split,
        answers: Answers,
        options: TuningOptions,
        setting: dict[str, Any],
        folder: Path,
        watcher: Progress,
    ) -> None:
        self._options, self._folder, self._watcher = options, folder, watcher
        self._answers, self._setting = answers, setting
        self._split = split
        tenth = _draw_tenth(split, answers)
        self._baseline_split = Split(tenth, split.validation, split.validation, split.by)
        self.candidates: list[Candidate] = []
        self.rows: list[Row] = []
        self.baseline_rows: list[Row] = []
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self._done = 0

    def add(self, encoder: Encoder, layers: str) -> None:
        """Run the trials of one model, and the trials of its probes."""
        requested = [
            layer.index for layer in parse_layers(layers, encoder.layers, encoder.spec) if isinstance(layer, Layer)
        ]
        tunable = tunable_layers(encoder, requested, self._options)
        if not tunable:
            self.notes.append(f"{encoder.spec} has no weights that can be tuned here, and is left out")
            self._watcher.note(self.notes[-1])
            return
        setting = self._setting | {"weights": weights_digest(encoder)}
        work = Work(self._split, self._answers, self._options, setting)
        store = TrialStore(self._folder / TRIALS)
        self._total = len(tunable) * self._options.seeds
        self._done = 0
        heads = transducer_heads if self._options.head == "transducer" else plain_heads(self._options)
        results = run_trials(encoder, tunable, work, store, heads=heads, on_trial=self._report)
        last = len(encoder.layers) - 1
        self.candidates += [
            Candidate(encoder.spec, layer, last, encoder.layers[layer].dim, encoder.parameters) for layer in tunable
        ]
        self.rows += results.rows
        self.skipped += results.skipped
        probe = replace(
            self._options, strategy="probe", head="linear", head_at="layer", lora_rank=0, seeds=1, learning_rate=None
        )
        baseline = Work(self._baseline_split, self._answers, probe, setting, "rival")
        probed = requested if self._options.strategy == "full" else tunable
        self.baseline_rows += run_trials(encoder, probed, baseline, store, on_trial=lambda _: None).rows

    def _report(self, row: Row) -> None:
        self._done += 1
        trial, metric = row.trial, self._answers.metric
        result = f"{metric} {row.metric:.4f}" if row.metric is not None else f"failed: {row.reason}"
        text = f"{trial.model}, layer {trial.layer}, seed {trial.seed}: {result} ({row.seconds:.1f} s)"
        self._watcher.trial(text, self._done, self._total)


class _Evaluation:
    """Collects the results of fine-tuning, and measures how well each predictor agrees with them."""

    def __init__(self, trials: _Trials, answers: Answers, tuning: TuningOptions, ranking: Ranking, seed: int) -> None:
        self._trials, self._tuning, self._ranking, self._seed = trials, tuning, ranking, seed
        self._metric, self._higher = answers.metric, answers.higher_is_better
        rows: dict[tuple[str, int | str], list[Row]] = {}
        for row in trials.rows:
            rows.setdefault((row.trial.model, row.trial.layer), []).append(row)
        names = {(layer.model, layer.layer): layer.name for layer in ranking.layers}
        self.truth = tuple(
            Truth(
                c.model,
                int(c.layer),
                names.get((c.model, c.layer), ""),
                c.dim,
                c.parameters,
                tuple(row.metric for row in rows[c.model, c.layer]),
                tuple(row.reason for row in rows[c.model, c.layer] if row.reason),
                sum(row.seconds for row in rows[c.model, c.layer]),
                tuple(row.history.get("untrained", {}).get(answers.metric) for row in rows[c.model, c.layer]),
                tuple(self._beats_untrained(row) for row in rows[c.model, c.layer]),
            )
            for c in trials.candidates
        )
        self._values = np.array(
            [[np.nan if value is None else value for value in truth.values] for truth in self.truth], dtype=np.float64
        )

    def _beats_untrained(self, row: Row) -> bool | None:
        """Return whether a trial beat its untrained head on the validation and the test part; None where it failed."""
        if row.metric is None:
            return None
        validation = [metrics[self._metric] for metrics in row.history["validation"]]
        pairs = (
            (row.metric, row.history["untrained"][self._metric]),
            (validation[row.history["chosen"]], validation[0]),
        )
        return all(after > before if self._higher else after < before for after, before in pairs)

    def all(self) -> tuple[Judged, ...]:
        """Return the predictors with their agreement: scores, what orders the ranking first, the probe, and rules."""
        cost = self._ranking.cost
        seconds = cost.encode_s + cost.align_s + cost.score_s
        order, names = self._ranking.order, self._ranking.options["scores"]
        several = len(order) > 1
        judged = [self._evaluate(ORDER, "score", self._by_order(), seconds, higher=True)] if several else []
        judged += [
            self._evaluate(
                name,
                "score",
                self._by_score(name),
                seconds,
                higher=self._ranking.options["higher_is_better"][name],
            )
            for name in (names if several else dict.fromkeys((*order, *names)))
        ]
        seconds = sum(row.seconds for row in self._trials.baseline_rows)
        judged.append(self._evaluate(BASELINE, "rival", self._by_baseline(), seconds, higher=self._higher))
        for name in rule_names():
            values = rule_values(name, self._trials.candidates)
            if values is not None:
                judged.append(self._evaluate(name, "rule", values, 0.0, higher=True))
        return tuple(judged)

    def _evaluate(self, name: str, kind: str, values: Any, seconds: Seconds, *, higher: bool) -> Judged:
        values = np.asarray(values, dtype=np.float64)
        measured = agreement(
            values,
            self._values,
            truth_higher_is_better=self._higher,
            score_higher_is_better=higher,
            seed=self._seed,
        )
        without_nan = tuple(None if np.isnan(value) else float(value) for value in values)
        return Judged(name, kind, higher, without_nan, seconds, measured)

    def expected(self) -> tuple[ScoreValue | None, ...]:
        """Return the first score of each candidate; for whole models, that of their best layer."""
        name = self._ranking.options["scores"][0]
        if self._tuning.strategy == "full":
            best = {model.model: model.scores[name] for model in self._ranking.models}
            return tuple(best.get(c.model) for c in self._trials.candidates)
        found = {(layer.model, layer.layer): layer.scores[name] for layer in self._ranking.layers}
        return tuple(found.get((c.model, c.layer)) for c in self._trials.candidates)

    def _by_order(self) -> list[float]:
        """Return the share of layers that the ranking puts below each candidate; for whole models, their best layer."""
        layers = self._ranking.layers
        others = max(len(layers) - 1, 1)
        below = {(layer.model, layer.layer): n / others for n, layer in enumerate(reversed(layers))}
        if self._tuning.strategy != "full":
            return [below.get((c.model, c.layer), np.nan) for c in self._trials.candidates]
        return [max(n for (model, _), n in below.items() if model == c.model) for c in self._trials.candidates]

    def _by_score(self, name: str) -> list[float]:
        """Return the score of each candidate; for whole models, the score of the best layer."""
        scores: dict[tuple[str, Any], float] = {
            (layer.model, layer.layer): layer.scores[name].value for layer in self._ranking.layers
        }
        if self._tuning.strategy != "full":
            return [scores.get((c.model, c.layer), np.nan) for c in self._trials.candidates]
        best = max if self._ranking.options["higher_is_better"][name] else min
        return [
            best(value for (model, _), value in scores.items() if model == c.model) for c in self._trials.candidates
        ]

    def _by_baseline(self) -> list[float]:
        """Return the best validation metric of each candidate's probe; for whole models, that of the best layer."""
        best = max if self._higher else min
        best_metrics: dict[tuple[str, int], float] = {}
        for row in self._trials.baseline_rows:
            if row.status == "done":
                best_metrics[row.trial.model, row.trial.layer] = best(
                    metrics[self._metric] for metrics in row.history["validation"]
                )
        if self._tuning.strategy != "full":
            return [best_metrics.get((c.model, int(c.layer)), np.nan) for c in self._trials.candidates]
        return [
            best((value for (model, _), value in best_metrics.items() if model == c.model), default=np.nan)
            for c in self._trials.candidates
        ]


def _draw_tenth(split: Split, answers: Answers) -> tuple[Item, ...]:
    """Select a tenth of the training utterances: at least one of each class, or at least ten with transcripts."""
    if answers.sequences:
        return tuple(draw_examples(split.train, max(10, round(BASELINE_SHARE * len(split.train))), seed=0))
    per_class = len(split.train) / len({item.utterance.label for item in split.train})
    return tuple(draw_examples(split.train, max(1, round(BASELINE_SHARE * per_class)), seed=0))


def weights_digest(encoder: Encoder) -> str:
    """Return a hex digest of a model's weights, or of spec and plug-in version where there is no torch network."""
    digest = hashlib.sha256(f"{encoder.spec}{encoder.origin}".encode() if encoder.network() is None else b"")
    network = encoder.network()
    for name, value in sorted(network.state_dict().items()) if network is not None else ():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _setting(
    dataset: Dataset,
    split: Split,
    answers: Answers,
    tuning: TuningOptions,
    encoding: EncoderOptions,
    sequence: SequenceOptions,
) -> dict[str, Any]:
    """Return all settings that a trial's result depends on, besides model, layer and seed."""
    parts = {name: [item.utterance.id for item in part] for name, part in split.parts().items()}
    options = asdict(tuning)
    for name in ("seeds", "metric", "validation", "test", "examples", "split_seed"):
        del options[name]  # the parts already contain their effect, or they are stored separately
    return {
        "data": dataset.fingerprint(),
        "parts": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32],
        "metric": answers.metric,
        "units": hashlib.sha256(json.dumps(answers.names).encode()).hexdigest()[:32],
        "unit": sequence.unit,
        "language": sequence.language,
        "tuning": options,
        "whisper_window": encoding.whisper_window,
        "window_s": encoding.window_s,
        "dtype": encoding.dtype,
    }


def _options(dataset: Dataset, ranking: Ranking, request: ValidateRequest) -> dict[str, Any]:
    """Return the options of the run, for the result."""
    return {
        **{name: version(name) for name in ("voxrank", "torch", "transformers")},
        "data": dataset.source,
        "target": dataset.target,
        "fingerprint": dataset.fingerprint(),
        "utterances": len(dataset) + len(dataset.skipped),
        "layers": request.layers,
        "seed": request.seed,
        "sample": ranking.options["sample"],
        "scores": ranking.options["scores"],
        "order": list(ranking.order),
        "tuning": asdict(request.tuning),
        "encoder": asdict(request.encoder),
        "sequence": {
            "unit": request.sequence.unit,
            "language": request.sequence.language,
            "aligner": ranking.options.get("aligner"),
        },
    }


def _seconds(items: Sequence[Item]) -> Seconds:
    return sum(item.seconds for item in items)
