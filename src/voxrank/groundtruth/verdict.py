"""What a validation gives: frozen results that save and turn into tables."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from voxrank.config import Seconds
from voxrank.data.skips import skips_warning
from voxrank.data.utterance import Skipped
from voxrank.fromjson import read_object
from voxrank.groundtruth.agreement import Agreement
from voxrank.results import save_tables

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of `validation.json`."""
FILE = "validation.json"


@dataclass(frozen=True)
class Parts:
    """How the data were divided.

    Attributes:
        by: what was held apart: "split" (the manifest's own), "speaker" or "utterance".
        train, validation, test: utterances.
        train_s: audio of the training part.
    """

    by: str
    train: int
    validation: int
    test: int
    train_s: Seconds


@dataclass(frozen=True)
class Truth:
    """What fine-tuning a candidate gave.

    Attributes:
        model, layer, name, dim, parameters: the candidate.
        values: the metric of each seed; None where the trial failed.
        failures: why.
        seconds: of all its trials.
    """

    model: str
    layer: int
    name: str
    dim: int
    parameters: int
    values: tuple[float | None, ...]
    failures: tuple[str, ...]
    seconds: Seconds

    @property
    def mean(self) -> float | None:
        """Over the seeds that there are."""
        known = [value for value in self.values if value is not None]
        return fmean(known) if known else None


@dataclass(frozen=True)
class Judged:
    """A predictor beside the truth.

    Attributes:
        name: of the score, the rule or the rival.
        kind: "score", "rival" or "rule".
        higher_is_better: its direction.
        values: of each candidate, in order of `Validation.truth`; None where it says nothing.
        seconds: that it took for all candidates; scores share their forward passes.
        agreement: with the truth.
    """

    name: str
    kind: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    seconds: Seconds
    agreement: Agreement


@dataclass(frozen=True)
class Cost:
    """What a validation took, in wall seconds.

    Attributes:
        encode_s, score_s, align_s: of forward passes, scoring and aligning for the scores.
        tune_s, rival_s: of all trials of the result, and of the rival's, also those of earlier runs.
        total_s: of this run.
        peak_rss_mb: highest resident memory of this run, in MB (10⁶ bytes).
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
        """How many times cheaper the scores are than the fine-tuning that they stand for, forward passes counted."""
        return self.tune_s / max(self.encode_s + self.score_s + self.align_s, 1e-9)


@dataclass(frozen=True)
class Validation:
    """The result.

    Attributes:
        task: as in a ranking.
        strategy: how models were tuned.
        metric: of the test part: "accuracy", or an error rate ("cer", "wer", "per", "ter").
        higher_is_better: of the metric.
        parts: how the data were divided.
        truth: what fine-tuning gave, a candidate each.
        judged: scores, the rival and rules, each with its agreement.
        cost: what it took.
        skipped: utterances left out, with reasons.
        notes: what else a user should know.
        options: what was asked for.
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

    @property
    def best(self) -> Truth | None:
        """The candidate that fine-tuning found best; None where every trial failed."""
        known = [one for one in self.truth if one.mean is not None]
        sign = 1 if self.higher_is_better else -1
        return max(known, key=lambda one: sign * (one.mean or 0.0), default=None)

    @property
    def warning(self) -> str:
        """A line on the share of skipped utterances where it is above a tenth; empty where it is not."""
        total = self.options.get("utterances")
        return skips_warning(total, self.skipped) if isinstance(total, int) else ""

    @property
    def failed(self) -> int:
        """Trials that gave nothing."""
        return sum(value is None for one in self.truth for value in one.values)

    def judged_by(self, name: str) -> Judged:
        """One predictor by its name."""
        return next(one for one in self.judged if one.name == name)

    def to_json(self) -> str:
        """As `validation.json` holds it."""
        content = {"schema": SCHEMA, **asdict(self)}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_pandas(self) -> pd.DataFrame:
        """One row for each candidate: model, layer, its metric by seed and on average, then every predictor."""
        import pandas as pd

        rows = []
        for place, one in enumerate(self.truth):
            row: dict[str, Any] = {"model": one.model, "layer": one.layer, "name": one.name, "dim": one.dim}
            row |= {"parameters": one.parameters, self.metric: one.mean}
            row |= {f"{self.metric}_seed{seed}": value for seed, value in enumerate(one.values)}
            row |= {judged.name: judged.values[place] for judged in self.judged}
            rows.append(row | {"seconds": one.seconds, "failures": "; ".join(one.failures)})
        return pd.DataFrame(rows)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Validation:
        """Read what `save` wrote: a folder, or its `validation.json`.

        Raises:
            DataError: there is no validation, or the file is damaged or of another kind or version.
        """
        file = Path(path)
        return read_object(file / FILE if file.is_dir() else file, SCHEMA, cls, "a validation")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `validation.json` and `candidates.csv` into a folder, made if need be, each whole or not at all.

        Raises:
            OptionError: the folder cannot be written.
        """
        save_tables(path, FILE, self.to_json(), "candidates.csv", self.to_pandas())
