"""The frozen result classes of a ranking. A ranking prints, saves and converts to tables."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from voxrank._support.files import write_atomically
from voxrank._support.json_codec import built, read_object, written
from voxrank._support.words import in_hours, percent
from voxrank.config import Seconds, Strategy, check_choice
from voxrank.data.skips import skips_warning
from voxrank.data.utterance import Skipped
from voxrank.errors import DataError, OptionError, did_you_mean
from voxrank.exports.tables import Rows, csv_text, frame, latex, markdown, write_parquet
from voxrank.results.details import Details, fault_of
from voxrank.results.expectation import expectation, ordering, reference
from voxrank.results.published import PublishedRank

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from voxrank.exports.curves import Curve

TableName = Literal["models", "layers"]
"""Rows of a table: models at their best layers, or all layers."""

SCHEMA = 1
"""Version of `ranking.json`."""
DETAILS_SCHEMA = 1
"""Version of `details.json`."""
OPTIONS = {"data": str, "target": str}
"""Options that identify the data of a ranking, with their types."""
RANKING_FILE, TABLE_FILE, DETAILS_FILE = "ranking.json", "layers.csv", "details.json"

EQUAL_TO = 1e-12
"""Relative and absolute difference up to which two scores count as equal."""
SHOWN_EQUAL = 3
"""Maximum number of layers that the verdict names as equal to the best layer."""
TOLD_APART = 0.95
"""Minimum share of resamples in which a model must be above another to count as better."""
NOT_RULED_OUT = 0.05
"""Minimum share of resamples in which a model must be the best to count as a rival."""


@dataclass(frozen=True)
class ScoreValue:
    """A score and its 95 % interval.

    Attributes:
        value: the score on all data.
        low, high: ends of the interval; None where the data form a single group, or the score has no interval.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LayerScore:
    """The scores of one layer of one model.

    Attributes:
        model: spec of the model.
        layer: index of the layer; 0 is the input of the first block. "mean" or "concat" for several layers together.
        name: name of the layer in the model.
        dim: number of features in a frame.
        scores: score name → value.
    """

    model: str
    layer: int | str
    name: str
    dim: int
    scores: dict[str, ScoreValue]


@dataclass(frozen=True)
class ModelScore:
    """The scores of one model at its best layer.

    Attributes:
        model: spec of the model.
        layer: the best layer of the model, in the form of `LayerScore.layer`.
        rank: position in the ranking; 1 is best.
        probability_best: share of resamples of the data in which this model is the best; None without resamples.
        parameters: number of weights of the encoder.
        scores: scores of the best layer.
        share: share of the data that the model saw; below 1 where it was dropped early, or the run was stopped.
        behind: how much better the best model is by the first score, with its 95 % interval, which is paired; negative
            where the model is better by that score, but not by the others that order the ranking. None for the best
            model, for models that saw less of the data, and for combined scores.
        speed: seconds of audio per wall second of forward passes and of the sums over them, per worker. Cached shards
            count with the time from the run that encoded them. None where nothing was timed.
        published: published ranks of the model among those of the catalogue, one for each source; empty where nothing
            is published.
    """

    model: str
    layer: int | str
    rank: int
    probability_best: float | None
    parameters: int
    scores: dict[str, ScoreValue]
    share: float = 1.0
    behind: ScoreValue | None = None
    speed: float | None = field(default=None, compare=False)  # a measured time, which differs between equal runs
    published: tuple[PublishedRank, ...] = ()


@dataclass(frozen=True)
class DataSummary:
    """A summary of the data that were scored.

    Attributes:
        utterances: number of utterances in the data.
        used: number of utterances that every model used.
        seconds: amount of audio that was used, in seconds.
        fingerprint: hex digest of task, ids, offsets and labels, in order; it does not depend on the audio.
        held_out: what is held out together, "speakers" or "utterances"; empty in rankings of earlier versions.
        classes: number of classes; None where the targets are not classes.
        majority: share of the most frequent class among utterances, or among segments where frames have labels.
        deviation: standard deviation of the values, in their unit; None where the targets are not values.
    """

    utterances: int
    used: int
    seconds: Seconds
    fingerprint: str
    held_out: Literal["speakers", "utterances", ""] = ""
    classes: int | None = None
    majority: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a ranking: wall time in seconds, and memory.

    Attributes:
        encode_s: time of forward passes.
        score_s: time of scoring.
        total_s: time of the whole run.
        peak_rss_mb: highest resident memory, in MB (10⁶ bytes).
        align_s: time of aligning transcripts, with the choice of features for it.
        cached_s: seconds of audio, summed over models, that were not encoded because their sketches were cached.
        detail_s: time of the diagnostics in `Ranking.details`.
    """

    encode_s: Seconds
    score_s: Seconds
    total_s: Seconds
    peak_rss_mb: float
    align_s: Seconds = 0.0
    cached_s: Seconds = 0.0
    detail_s: Seconds = 0.0


def is_equal(left: float, right: float) -> bool:
    """Return whether two scores are equal up to rounding."""
    return isclose(left, right, rel_tol=EQUAL_TO, abs_tol=EQUAL_TO)


@dataclass(frozen=True)
class Sensitivity:
    """A comparison with the ranking by an alternative alignment.

    Attributes:
        labels: source of the labels: an aligner, or "jitter".
        spearman: rank correlation over all layers of all models, by the score that orders the ranking; None for fewer
            than three layers, and where all layers score the same.
        p: p-value of `spearman`.
        model, layer: the best layer by these labels.
        equal: number of other layers that score exactly the same as the best layer.
    """

    labels: str
    spearman: float | None
    p: float | None
    model: str
    layer: int | str
    equal: int = 0


@dataclass(frozen=True)
class Ranking:
    """A ranking of models and layers.

    Attributes:
        task: "classification", "multilabel", "regression", "segmentation" or "transcription".
        data: summary of the data.
        models: the models, best first.
        layers: the layers of all models, best first.
        beats: for each model, in order, the share of resamples in which it is above each other model; None without
            blocks.
        cost: time and memory of the run.
        skipped: utterances left out, with reasons.
        options: the options of the run, to repeat it.
        sensitivity: comparisons with alternative alignments, where any were requested.
        details: diagnostics of the layers; stored beside `ranking.json`, in `details.json`.
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
        """Groups of models that cannot be told apart: the first beats each other one in under 95 % of resamples.

        Where the data form a single block, a group holds the models that score exactly the same.
        """
        groups: list[list[ModelScore]] = []
        first = 0
        for position, model in enumerate(self.models):
            if groups and self._same(first, position):
                groups[-1].append(model)
            else:
                groups.append([model])
                first = position
        return groups

    def _same(self, first: int, other: int) -> bool:
        """Return whether two models, by their positions, cannot be told apart."""
        if self.beats is not None:
            return self.beats[first][other] < TOLD_APART
        left, right = self.models[first], self.models[other]
        return left.share == right.share and self._equal(left, right)

    def _equal(self, left: ModelScore | LayerScore, right: ModelScore | LayerScore) -> bool:
        """Return whether two candidates are equal by every score that orders the ranking."""
        return all(is_equal(left.scores[name].value, right.scores[name].value) for name in self.order)

    @property
    def order(self) -> tuple[str, ...]:
        """The scores that order the ranking, by the mean of their orders; one, where it orders the ranking alone."""
        return tuple(self.options.get("order") or self.options["scores"][:1])

    @property
    def equal_layers(self) -> list[LayerScore]:
        """The other layers that score exactly the same as the best one, by the scores that order the ranking."""
        best = self.best
        seen = {model.model for model in self.models if model.share == best.share}
        return [
            layer
            for layer in self.layers
            if (layer.model, layer.layer) != (best.model, best.layer)
            and layer.model in seen
            and self._equal(layer, best)
        ]

    def to_json(self) -> str:
        """Return the text of `ranking.json`."""
        content = asdict(replace(self, details=Details()))
        del content["details"]
        return written(SCHEMA, content)

    @property
    def warning(self) -> str:
        """A warning where more than a tenth of the utterances were skipped; otherwise empty."""
        return skips_warning(self.data.utterances, self.skipped)

    @property
    def verdict(self) -> str:
        """The model and layer to fine-tune, the result to expect, its share of resamples, and layers with equal scores.

        Names are not escaped.
        """
        best = self.best
        name = next(layer.name for layer in self.layers if (layer.model, layer.layer) == (best.model, best.layer))
        if self.options.get("strategy") == "layer":
            advice = f"Fine-tune layer {best.layer} ({name}) of {best.model}"
        else:
            advice = f"Fine-tune {best.model} from layer {best.layer} ({name})"
        parts = [expectation(self)]
        if best.probability_best is not None and len(self.models) > 1:
            parts.append(f"best of {len(self.models)} models in {percent(best.probability_best)} of resamples")
            close = sum((m.probability_best or 0.0) >= NOT_RULED_OUT for m in self.models[1:])
            parts.append(f"{close} other(s) cannot be ruled out" if close else "")
        reasons = "; ".join(filter(None, parts))
        sentences = (f"{advice}: {reasons}." if reasons else f"{advice}.", reference(self))
        return " ".join(filter(None, sentences)) + _equal_layers_sentence(self.equal_layers)

    def to_pandas(self, table: TableName = "layers") -> pd.DataFrame:
        """Return a table with one row for each layer, or for each model at its best layer, best first.

        Columns of layers: model, layer, name, dim, then each score, its low and its high. Columns of models: rank,
        tied_from and tied_to (ranks of the models that it cannot be told apart from), model, layer, then each score,
        its low and its high, then probability_best, parameters, share, speed.

        It needs the extra `table`; `to_rows` returns the same values without it.

        Raises:
            OptionError: there is no such table, or the extra is not installed.
        """
        return frame(self.to_rows(table), "to_pandas()")

    def to_rows(self, table: TableName = "layers") -> list[dict[str, Any]]:
        """Return the rows of `to_pandas` as dicts of column → cell; a cell without a value is None.

        Raises:
            OptionError: there is no such table.
        """
        check_choice("table", table, TableName)
        if table == "layers":
            return [_flat(layer) for layer in self.layers]
        return [_flat_model(model, group) for group in self.groups for model in group]

    def to_csv(self, table: TableName = "layers") -> str:
        """Return a CSV text that is safe to open in a spreadsheet, with the columns of `to_pandas`."""
        return csv_text(self.to_rows(table))

    def to_markdown(self, table: TableName = "models") -> str:
        """Return a Markdown table for people. Names are escaped."""
        return markdown(self.to_rows(table))

    def to_latex(self, table: TableName = "models") -> str:
        """Return a LaTeX table for people, with booktabs rules. Names are escaped."""
        return latex(self.to_rows(table))

    def to_parquet(self, path: str | os.PathLike[str], table: TableName = "layers") -> None:
        """Write a Parquet file, with the options and the fingerprint of the data in its metadata (extra `parquet`).

        Raises:
            OptionError: the extra is not installed, or the file cannot be written.
        """
        metadata = {"schema": SCHEMA, "task": self.task, "data": asdict(self.data), "options": self.options}
        write_parquet(self.to_rows(table), path, metadata)

    def plot(self, score: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw a score over the layers of each model, with its intervals and the best layers marked (extra `plot`).

        Args:
            score: name of the score; None for the first score.
            ax: axes to draw on; None for a new figure, which notebooks show and pyplot does not register.

        Raises:
            OptionError: no such score, or matplotlib is not installed.
        """
        from voxrank.exports.curves import draw

        name = self.options["scores"][0] if score is None else score
        return draw(self._curves(name), name, ax, higher_is_better=self.options["higher_is_better"][name])

    def _curves(self, score: str) -> list[Curve]:
        from voxrank.exports.curves import curves

        directions = self.options["higher_is_better"]
        if score not in directions:
            raise OptionError(f"there is no score {score!r} in this ranking; {did_you_mean(score, directions)}")
        models = [model.model for model in self.models]
        return curves(self.to_rows(), score, models, higher_is_better=directions[score])

    def _repr_html_(self) -> str:
        """Return the HTML that notebooks show."""
        from voxrank.exports.notebook import html

        summary = f"{self.task}, {self.data.used:,} utterances, {self.data.seconds / 60:,.1f} min of audio"
        summary = f"{self.warning}. {summary}" if self.warning else summary
        curves = [
            replace(curve, best=curve.layers.index(model.layer))
            for curve, model in zip(self._curves(self.options["scores"][0]), self.models, strict=True)
        ]
        summary = " ".join(filter(None, (ordering(self), summary)))
        return html(self.to_rows("models"), curves, self.verdict, summary)

    def model_card(self, base_model: str | None = None) -> str:
        """Return a snippet for the card of the tuned model: front matter, and how its base was chosen.

        Args:
            base_model: hub id of the base; None for the spec of the best model, where that is a hub id.
        """
        from voxrank.exports.card import Facts, hub_id, model_card

        scores = self.options["scores"]
        method = (
            f"Task: {self.task}, {self.data.used:,} utterances, {in_hours(self.data.seconds, 2)} of audio. "
            f"{ordering(self) or f'Layers are ordered by {scores[0]}.'} Scores: {', '.join(scores)}. "
            f"Strategy: {self.options.get('strategy', 'probe')}."
        )
        base = hub_id(self.best.model) if base_model is None else base_model
        version = str(self.options.get("voxrank", "of an unknown version"))
        models = self.to_rows("models")
        return model_card(Facts(base, self.task, self.verdict, models, method, version, self.data.fingerprint))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `ranking.json` and `layers.csv` into a folder, which is created if needed.

        Each file is written atomically. `details.json` is written beside them where there are details; an older
        `details.json` is removed.

        Raises:
            OptionError: the folder cannot be written.
        """
        check_folder(path)
        details = Path(path) / DETAILS_FILE
        details.unlink(missing_ok=True)  # it may belong to another ranking
        save_tables(path, RANKING_FILE, self.to_json(), TABLE_FILE, self.to_rows())
        if self.details != Details():
            write_atomically(details, written(DETAILS_SCHEMA, asdict(self.details)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ranking:
        """Read a ranking from a folder that `save` wrote, or from its `ranking.json`, with the details beside it.

        Raises:
            DataError: there is no ranking, or a file is damaged or of another kind or version.
        """
        file = Path(path)
        with suppress(OSError):  # for example, the name is too long; reading the file reports it
            file = file / RANKING_FILE if file.is_dir() else file
        ranking = read_object(file, SCHEMA, cls, "a ranking")
        if fault := _fault(ranking):
            raise DataError(f"{file} does not hold a ranking of voxrank ({fault}); make the file again")
        details_file = file.with_name(DETAILS_FILE)
        if not details_file.exists():
            return ranking
        details = read_object(details_file, DETAILS_SCHEMA, Details, "the details of a ranking")
        if fault := fault_of(details):
            raise DataError(
                f"{details_file} does not hold the details of a ranking of voxrank ({fault}); make the file again"
            )
        return replace(ranking, details=details)


def _equal_layers_sentence(layers: Sequence[LayerScore]) -> str:
    """Return a space and a sentence about the layers that score the same as the best layer; empty without any."""
    if not layers:
        return ""
    names = ", ".join(f"layer {layer.layer} of {layer.model}" for layer in layers[:SHOWN_EQUAL])
    more = f" and {len(layers) - SHOWN_EQUAL} more" if len(layers) > SHOWN_EQUAL else ""
    subject = "1 other layer scores" if len(layers) == 1 else f"{len(layers)} other layers score"
    return f" {subject} exactly the same: {names}{more}."


def _fault(ranking: Ranking) -> str:
    """Return a description of the first inconsistency in a ranking; empty where there is none."""
    try:
        names = built(ranking.options.get("scores"), tuple[str, ...], ("options", "scores"))
        directions = built(ranking.options.get("higher_is_better"), dict[str, bool], ("options", "higher_is_better"))
        for name, kind in OPTIONS.items():
            built(ranking.options.get(name, kind()), kind, ("options", name))
        built(ranking.options.get("trust_remote_code", []), tuple[str, ...], ("options", "trust_remote_code"))
        order = built(ranking.options.get("order", []), tuple[str, ...], ("options", "order"))
    except ValueError as error:
        return str(error)
    of_models = [(model.model, model.layer) for model in ranking.models]
    of_layers = {(layer.model, layer.layer) for layer in ranking.layers}
    scored = [model.scores.keys() for model in ranking.models] + [layer.scores.keys() for layer in ranking.layers]
    size = len(of_models)
    faults = {
        "there are no models in it": not of_models,
        "there are no scores in it": not names,
        "its options.strategy is none": ranking.options.get("strategy", "probe") not in get_args(Strategy),
        "its order names a score that is missing": set(order) - set(names),
        "a score has no direction": set(names) - directions.keys(),
        "a score is missing": any(set(names) - scores for scores in scored),
        "a model is in it twice": len({name for name, _ in of_models}) < size,
        "a model's best layer is none of the layers": set(of_models) - of_layers,
        "the shares of resamples do not fit the models": ranking.beats is not None
        and [len(row) for row in ranking.beats] != [size] * size,
    }
    return next((fault for fault, applies in faults.items() if applies), "")


def save_tables(path: str | os.PathLike[str], name: str, text: str, table_name: str, table: Rows) -> None:
    """Write a text and a table into a folder, which is created if needed. Each file is written atomically.

    In the table, text that a spreadsheet would read as a formula starts with a single quote. Control characters are
    written as Python escapes.

    Raises:
        OptionError: the folder cannot be written.
    """
    check_folder(path)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, text)
    write_atomically(folder / table_name, csv_text(table))


def _flat(layer: LayerScore) -> dict[str, Any]:
    row = {"model": layer.model, "layer": layer.layer, "name": layer.name, "dim": layer.dim}
    return row | _flat_scores(layer.scores)


def _flat_model(model: ModelScore, tied: Sequence[ModelScore]) -> dict[str, Any]:
    ranks = {"rank": model.rank, "tied_from": tied[0].rank, "tied_to": tied[-1].rank}
    measures = {name: getattr(model, name) for name in ("probability_best", "parameters", "share", "speed")}
    return ranks | {"model": model.model, "layer": model.layer} | _flat_scores(model.scores) | measures


def _flat_scores(scores: dict[str, ScoreValue]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, score in scores.items():
        row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return row


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that `path` is, or can become, a folder that can be written, before any work is done for it.

    The check leaves no file behind.

    Raises:
        OptionError: `path` is a file, or cannot be written.
    """
    folder = Path(path)
    try:
        nearest = next((ancestor for ancestor in (folder, *folder.absolute().parents) if ancestor.exists()), folder)
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OptionError(
            f"expected a folder that can be written at {folder}, got: {reason}; choose another"
        ) from error
