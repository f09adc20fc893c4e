"""What a ranking is: frozen results that print, save and turn into tables."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxrank.config import Seconds
from voxrank.data.utterance import Skipped
from voxrank.details import Details
from voxrank.errors import DataError, OptionError, one_line
from voxrank.files import write_atomically
from voxrank.fromjson import built, read_object

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of `ranking.json`."""
DETAILS_SCHEMA = 1
"""Version of `details.json`."""
RANKING_FILE, TABLE_FILE, DETAILS_FILE = "ranking.json", "layers.csv", "details.json"

FORMULA_SIGNS = ("=", "+", "-", "@")
"""What a cell begins with that a spreadsheet may run."""
TOLD_APART = 0.95
"""Share of resamples from which on one model is said to be above another."""


@dataclass(frozen=True)
class ScoreValue:
    """A score and its 95 % interval; low and high are None where the data form a single group."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LayerScore:
    """One layer of one model.

    Attributes:
        model: the spec.
        layer: index; 0 is the input of the first block. "mean" or "concat" for several layers together.
        name: where it stands in the model.
        dim: numbers in a frame.
        scores: score name → value.
    """

    model: str
    layer: int | str
    name: str
    dim: int
    scores: dict[str, ScoreValue]


@dataclass(frozen=True)
class ModelScore:
    """One model at its best layer.

    Attributes:
        model: the spec.
        layer: its best layer, as `LayerScore.layer`.
        rank: 1 is best.
        probability_best: share of resamples of the data in which this model is the best; None without resamples.
        parameters: weights of the encoder.
        scores: of the best layer.
        share: of the data that it saw; below 1 where it was dropped early, or the run was stopped.
        speed: seconds of audio in a wall second of forward passes and the sums taken of them; of one worker where there
            are several. What the cache held counts as it was timed when it was encoded. None where nothing was timed.
    """

    model: str
    layer: int | str
    rank: int
    probability_best: float | None
    parameters: int
    scores: dict[str, ScoreValue]
    share: float = 1.0
    speed: float | None = field(default=None, compare=False)  # a time, not a finding


@dataclass(frozen=True)
class DataSummary:
    """What was scored: utterances asked for and used by every model, seconds of audio used, fingerprint."""

    utterances: int
    used: int
    seconds: Seconds
    fingerprint: str


@dataclass(frozen=True)
class Cost:
    """Wall seconds of forward passes, of scoring, and in all; highest resident memory in MB (10⁶ bytes).

    Those of aligning transcripts, with the choice of features for it, are `align_s`; those of `Ranking.details` are
    `detail_s`. `cached_s` is audio, summed over models, that was not encoded because the cache held what it came to.
    """

    encode_s: Seconds
    score_s: Seconds
    total_s: Seconds
    peak_rss_mb: float
    align_s: Seconds = 0.0
    cached_s: Seconds = 0.0
    detail_s: Seconds = 0.0


@dataclass(frozen=True)
class Sensitivity:
    """The ranking by other labels of the same frames.

    Attributes:
        labels: what made them: an aligner, or "jitter".
        spearman: rank correlation over all layers of all models, by the score that orders the ranking; None for fewer
            than three of them.
        p: its p-value.
        model, layer: the best by these labels.
    """

    labels: str
    spearman: float | None
    p: float | None
    model: str
    layer: int | str


@dataclass(frozen=True)
class Ranking:
    """The answer.

    Attributes:
        task: "classification", "multilabel", "regression", "segmentation" or "transcription".
        data: what was scored.
        models: best first.
        layers: of all models, best first.
        beats: for each model, in order, the share of resamples in which it is above each other one; None without
            blocks.
        cost: what it took.
        skipped: utterances left out, with reasons.
        options: what was asked for, to run it again.
        sensitivity: the ranking by other labels, where any were asked for.
        details: what else was found of its layers; kept beside `ranking.json`, in `details.json`.
    """

    task: str
    data: DataSummary
    models: tuple[ModelScore, ...]
    layers: tuple[LayerScore, ...]
    beats: tuple[tuple[float, ...], ...] | None
    cost: Cost
    skipped: tuple[Skipped, ...]
    options: dict[str, Any]
    sensitivity: tuple[Sensitivity, ...] = ()
    details: Details = field(default_factory=Details)

    @property
    def best(self) -> ModelScore:
        """The model to fine-tune, at its best layer."""
        return self.models[0]

    @property
    def groups(self) -> list[list[ModelScore]]:
        """Models that cannot be told apart, together: the first of a group beats the others in less than 95 %."""
        groups: list[list[ModelScore]] = []
        first = 0
        for position, model in enumerate(self.models):
            if groups and self.beats is not None and self.beats[first][position] < TOLD_APART:
                groups[-1].append(model)
            else:
                groups.append([model])
                first = position
        return groups

    def to_json(self) -> str:
        """The ranking as `ranking.json` holds it."""
        content = asdict(replace(self, details=Details()))
        del content["details"]
        return _json_of(SCHEMA, content)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each layer, best first; columns model, layer, name, dim, then each score, its low and high."""
        import pandas as pd

        return pd.DataFrame([_flat(layer) for layer in self.layers])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `ranking.json` and `layers.csv` into a folder, made if need be; each file appears whole or not at all.

        `details.json` is written beside them where there are details; an older one goes.

        Raises:
            OptionError: the folder cannot be written.
        """
        check_folder(path)
        details = Path(path) / DETAILS_FILE
        details.unlink(missing_ok=True)  # those of another ranking
        save_tables(path, RANKING_FILE, self.to_json(), TABLE_FILE, self.to_pandas())
        if self.details != Details():
            write_atomically(details, _json_of(DETAILS_SCHEMA, asdict(self.details)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ranking:
        """Read what `save` wrote: a folder, or its `ranking.json`; with the details that lie beside it.

        Raises:
            DataError: there is no ranking, or a file is damaged or of another kind or version.
        """
        file = Path(path)
        file = file / RANKING_FILE if file.is_dir() else file
        ranking = read_object(file, SCHEMA, cls, "a ranking")
        if fault := _fault(ranking):
            raise DataError(f"{file} does not hold a ranking of voxrank ({fault}); make the file again")
        beside = file.with_name(DETAILS_FILE)
        if not beside.exists():
            return ranking
        return replace(ranking, details=read_object(beside, DETAILS_SCHEMA, Details, "the details of a ranking"))


def _json_of(schema: int, content: dict[str, Any]) -> str:
    return json.dumps({"schema": schema, **content}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _fault(ranking: Ranking) -> str:
    """What in a ranking does not fit together; empty where all does."""
    try:
        names = built(ranking.options.get("scores"), tuple[str, ...], "options.scores")
        directions = built(ranking.options.get("higher_is_better"), dict[str, bool], "options.higher_is_better")
    except ValueError as error:
        return str(error)
    of_models = [(model.model, model.layer) for model in ranking.models]
    of_layers = {(layer.model, layer.layer) for layer in ranking.layers}
    scored = [model.scores.keys() for model in ranking.models] + [layer.scores.keys() for layer in ranking.layers]
    size = len(of_models)
    faults = {
        "there are no models in it": not of_models,
        "there are no scores in it": not names,
        "a score has no direction": set(names) - directions.keys(),
        "a score is missing": any(set(names) - own for own in scored),
        "a model is in it twice": len({name for name, _ in of_models}) < size,
        "a model's best layer is none of the layers": set(of_models) - of_layers,
        "the shares of resamples do not fit the models": ranking.beats is not None
        and [len(row) for row in ranking.beats] != [size] * size,
    }
    return next((fault for fault, found in faults.items() if found), "")


def save_tables(path: str | os.PathLike[str], name: str, text: str, table_name: str, table: pd.DataFrame) -> None:
    """Write a text and a table into a folder, made if need be; each file appears whole or not at all.

    In the table a single quote is put before text that a spreadsheet would take for a formula, and control characters
    are written as Python writes them.

    Raises:
        OptionError: the folder cannot be written.
    """
    check_folder(path)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, text)
    write_atomically(folder / table_name, _for_spreadsheets(table).to_csv(index=False, lineterminator="\n"))


def _for_spreadsheets(table: pd.DataFrame) -> pd.DataFrame:
    """A copy whose text is one line in each cell, and no formula to a spreadsheet; numbers stay as they are."""
    return table.map(_no_formula).rename(columns=_no_formula)


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = one_line(cell)  # a carriage return would begin a row
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def _flat(layer: LayerScore) -> dict[str, Any]:
    row: dict[str, Any] = {"model": layer.model, "layer": layer.layer, "name": layer.name, "dim": layer.dim}
    for name, score in layer.scores.items():
        row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return row


def check_folder(path: str | os.PathLike[str]) -> None:
    """Make sure that `path` is, or can be made, a folder that takes files, before any work is done for it.

    Nothing is left there.

    Raises:
        OptionError: it is a file, or may not be written.
    """
    folder = Path(path)
    nearest = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError(
            f"expected a folder that can be written at {folder}, got: {reason}; choose another"
        ) from error
