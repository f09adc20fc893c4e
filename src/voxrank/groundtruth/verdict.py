"""Results of a validation: frozen dataclasses that can be saved and turned into tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from voxrank._support.json_codec import read_object, written
from voxrank.config import Seconds
from voxrank.data.skips import skips_warning
from voxrank.data.utterance import Skipped
from voxrank.exports.tables import frame
from voxrank.groundtruth.agreement import Agreement
from voxrank.groundtruth.correlation import DECIMALS
from voxrank.results.ranking import ScoreValue, save_tables

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of `validation.json`."""
FILE = "validation.json"


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None."""
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


@dataclass(frozen=True)
class Parts:
    """The division of the data.

    Attributes:
        by: unit that is never divided between parts: "split" (the manifest's own), "speaker" or "utterance".
        train, validation, test: numbers of utterances.
        train_s: duration of the training audio.
    """

    by: str
    train: int
    validation: int
    test: int
    train_s: Seconds


@dataclass(frozen=True)
class Truth:
    """The results of fine-tuning one candidate.

    Attributes:
        model, layer, name, dim, parameters: the candidate.
        values: the metric of each seed; None where the trial failed.
        failures: reasons for which trials failed.
        seconds: total duration of all trials.
        untrained: the metric of each seed before training, with the untrained head; None where the trial failed. Empty
            in results of versions that did not measure it.
        beat_untrained: whether each seed beat its untrained head, on the validation part and on the test part; None
            where the trial failed. Empty in results of versions that did not measure it.
    """

    model: str
    layer: int
    name: str
    dim: int
    parameters: int
    values: tuple[float | None, ...]
    failures: tuple[str, ...]
    seconds: Seconds
    untrained: tuple[float | None, ...] = ()
    beat_untrained: tuple[bool | None, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean metric over the seeds that did not fail."""
        return _mean(self.values)

    @property
    def untrained_mean(self) -> float | None:
        """Mean metric before training, over the seeds that did not fail."""
        return _mean(self.untrained)


@dataclass(frozen=True)
class Place:
    """The identity of a candidate.

    Attributes:
        model: spec of the model.
        layer: index of the layer.
    """

    model: str
    layer: int


@dataclass(frozen=True)
class Verdict:
    """The conclusion of a validation: the best candidates, and whether training improved on untrained heads.

    Attributes:
        best: the candidates with the best mean metric; several where they are exactly equal.
        candidates: number of candidates with a metric.
        trials: number of completed trials for which the untrained head was also measured.
        beat_untrained: number of these trials that beat it, on the validation part and on the test part.
    """

    best: tuple[Place, ...]
    candidates: int
    trials: int
    beat_untrained: int

    @property
    def all_equal(self) -> bool:
        """True if there are several candidates and all have the same mean metric."""
        return len(self.best) == self.candidates > 1

    @property
    def none_learnt(self) -> bool:
        """True if no trial beat its untrained head."""
        return self.trials > 0 and not self.beat_untrained

    @property
    def remark(self) -> str:
        """A remark on trials that did not beat their untrained head; empty if all trials did."""
        short = self.trials - self.beat_untrained
        if not short:
            return ""
        if self.beat_untrained:
            return f"{short} of {self.trials} trials did not beat their untrained head on held-out data."
        return (
            f"No trial beat its untrained head on held-out data ({self.trials} trials): they learnt nothing that "
            "generalises, so no candidate is best. Use more data, more epochs or another learning rate."
        )


@dataclass(frozen=True)
class Judged:
    """A predictor with its agreement with fine-tuning.

    Attributes:
        name: name of the score, the rule or the probe.
        kind: "score", "rival" (the probe) or "rule".
        higher_is_better: direction of the values.
        values: value of each candidate, in order of `Validation.truth`; None where the predictor gives none.
        seconds: time taken for all candidates; all scores share their forward passes.
        agreement: agreement with the results of fine-tuning.
    """

    name: str
    kind: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    seconds: Seconds
    agreement: Agreement


@dataclass(frozen=True)
class Cost:
    """The cost of a validation, in wall-clock seconds.

    Attributes:
        encode_s, score_s, align_s: time of forward passes, scoring and aligning for the scores.
        tune_s, rival_s: time of all trials in the result, and of the probe's trials, including those of earlier runs.
        total_s: duration of this run.
        peak_rss_mb: peak resident memory of this run, in MB (10⁶ bytes).
    """

    encode_s: Seconds
    score_s: Seconds
    align_s: Seconds
    tune_s: Seconds
    rival_s: Seconds
    total_s: Seconds
    peak_rss_mb: float

    @property
    def ratio(self) -> float:
        """Time of fine-tuning divided by the time of the scores, forward passes included."""
        return self.tune_s / max(self.encode_s + self.score_s + self.align_s, 1e-9)


@dataclass(frozen=True)
class Validation:
    """The result of a validation.

    Attributes:
        task: the task, as in a ranking.
        strategy: how models were tuned.
        metric: metric of the test part: "accuracy", or an error rate ("cer", "wer", "per", "ter").
        higher_is_better: direction of the metric.
        parts: division of the data.
        truth: results of fine-tuning, for each candidate.
        judged: scores, the probe and rules, each with its agreement.
        cost: cost of the validation.
        skipped: utterances left out, with reasons.
        notes: further remarks for the user.
        options: options of the run.
        expected: the first score of each candidate with its interval, as the ranking shows it: what to expect of a head
            on frozen frames. For whole models it is that of the best layer. None where the score could not be computed.
    """

    task: str
    strategy: Literal["probe", "layer", "full"]
    metric: str
    higher_is_better: bool
    parts: Parts
    truth: tuple[Truth, ...]
    judged: tuple[Judged, ...]
    cost: Cost
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    options: dict[str, Any]
    expected: tuple[ScoreValue | None, ...] = ()

    @property
    def best(self) -> Truth | None:
        """The best candidate, or the first of several that are equal (`verdict`); None where every trial failed."""
        verdict = self.verdict
        if not verdict.best:
            return None
        first = verdict.best[0]
        return next(truth for truth in self.truth if (truth.model, truth.layer) == (first.model, first.layer))

    @property
    def verdict(self) -> Verdict:
        """The conclusion: the best candidates, and whether training improved on untrained heads."""
        sign = 1 if self.higher_is_better else -1
        goodness = {
            Place(truth.model, truth.layer): sign * truth.mean for truth in self.truth if truth.mean is not None
        }
        best = max(goodness.values(), default=0.0)
        beat = [gain for truth in self.truth for gain in truth.beat_untrained if gain is not None]
        tied = tuple(candidate for candidate, value in goodness.items() if round(value - best, DECIMALS) == 0)
        return Verdict(tied, len(goodness), len(beat), sum(beat))

    @property
    def warning(self) -> str:
        """A warning about the share of skipped utterances if it is above a tenth; otherwise empty."""
        total = self.options.get("utterances")
        return skips_warning(total, self.skipped) if isinstance(total, int) else ""

    @property
    def failed(self) -> int:
        """Number of trials that failed."""
        return sum(value is None for truth in self.truth for value in truth.values)

    def judged_by(self, name: str) -> Judged:
        """Return the predictor with this name."""
        return next(judged for judged in self.judged if judged.name == name)

    def to_json(self) -> str:
        """Return the text of `validation.json`: all fields, and the verdict derived from them."""
        return written(SCHEMA, asdict(self) | {"verdict": asdict(self.verdict)})

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per candidate: model, layer, metric (by seed and mean), then every predictor.

        The score that is named as the metric has the column ``expected_`` and its name. It needs the extra `table`;
        `to_rows` returns the same values without it.

        Raises:
            OptionError: the extra is not installed.
        """
        return frame(self.to_rows(), "to_pandas()")

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `to_pandas` as dicts of column → cell; a cell without a value is None."""
        rows = []
        for index, truth in enumerate(self.truth):
            row: dict[str, Any] = {"model": truth.model, "layer": truth.layer, "name": truth.name, "dim": truth.dim}
            row |= {"parameters": truth.parameters, self.metric: truth.mean}
            row |= {f"{self.metric}_seed{seed}": value for seed, value in enumerate(truth.values)}
            row |= {f"{self.metric}_untrained": truth.untrained_mean}
            columns = {"expected_" * (judged.name == self.metric) + judged.name: judged for judged in self.judged}
            row |= {column: judged.values[index] for column, judged in columns.items()}
            rows.append(row | {"seconds": truth.seconds, "failures": "; ".join(truth.failures)})
        return rows

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Validation:
        """Read a validation that `save` wrote.

        Args:
            path: the folder, or its `validation.json`.

        Raises:
            DataError: there is no validation, or the file is damaged or of another kind or version.
        """
        file = Path(path)
        return read_object(file / FILE if file.is_dir() else file, SCHEMA, cls, "a validation", derived=("verdict",))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `validation.json` and `candidates.csv` into a folder, each completely or not at all.

        The folder is created if it does not exist.

        Raises:
            OptionError: the folder cannot be written.
        """
        save_tables(path, FILE, self.to_json(), "candidates.csv", self.to_rows())
