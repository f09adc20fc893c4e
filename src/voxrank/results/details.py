"""The diagnostics of a ranking: classes, pictures, probing of other columns, and a learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voxrank.config import Seconds


@dataclass(frozen=True)
class ClassView:
    """Held-out recall of one class, and the classes that it is confused with.

    Attributes:
        name: name of the class.
        samples: number of held-out samples of the class.
        recall: share of `samples` that is assigned to this class.
        confused_with: other classes that the samples are assigned to, with their share of `samples`, largest first.
    """

    name: str
    samples: int
    recall: float
    confused_with: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class LayerClasses:
    """Held-out recall of every class by one layer.

    Attributes:
        model, layer: the layer whose features are used.
        classes: the classes, lowest recall first.
    """

    model: str
    layer: int | str
    classes: tuple[ClassView, ...]


@dataclass(frozen=True)
class Picture:
    """Sampled features of one layer in two dimensions.

    Attributes:
        model, layer: the layer whose features are shown.
        method: "pca" or "t-sne".
        place: whether the layer is the "best" or the "worst" of the ranking.
        classes: names of the classes; empty where the targets are values.
        points: (x, y, number of the class, or value) of each sample.
        explained: share of the variance that the picture shows; None where it is not defined.
    """

    model: str
    layer: int | str
    method: Literal["pca", "t-sne"]
    place: Literal["best", "worst"]
    classes: tuple[str, ...]
    points: tuple[tuple[float, float, float], ...]
    explained: float | None = None


@dataclass(frozen=True)
class Knowledge:
    """Held-out accuracy of probing one layer for another column of the data.

    Attributes:
        column: name of the column.
        model, layer: the layer whose features are used.
        accuracy: share of held-out samples whose cell a linear head predicts correctly; the mean over cells.
        chance: accuracy of guessing, 1 / `classes`.
        classes: number of different cells.
        samples: number of held-out samples.
    """

    column: str
    model: str
    layer: int | str
    accuracy: float
    chance: float
    classes: int
    samples: int


@dataclass(frozen=True)
class ModelCurve:
    """The score of a model at each step of the learning curve.

    Attributes:
        model, layer: the model, and its best layer by this score on all data.
        values: the score at each step.
    """

    model: str
    layer: int | str
    values: tuple[float, ...]


@dataclass(frozen=True)
class LearningCurve:
    """A score of every model against the amount of data.

    Attributes:
        score: name of the score.
        higher_is_better: direction of the score.
        seconds: audio at each step, in seconds, ascending; the last step is all data.
        models: the models, best first.
        spearman: rank correlation between the order of the models at each step and at the last step; None for fewer
            than three models.
        held_from_s: amount of audio, in seconds, from which the same model comes first in every step.
    """

    score: str
    higher_is_better: bool
    seconds: tuple[Seconds, ...]
    models: tuple[ModelCurve, ...]
    spearman: tuple[float | None, ...]
    held_from_s: Seconds


@dataclass(frozen=True)
class Details:
    """All diagnostics of a ranking. A diagnostic is empty where it was not requested or cannot be computed.

    Attributes:
        classes: held-out recall of each class, by the best layer of each model.
        pictures: pictures of the best and the worst layer.
        knowledge: held-out accuracy of probing every layer for other columns.
        curve: a score against the amount of data.
    """

    classes: tuple[LayerClasses, ...] = ()
    pictures: tuple[Picture, ...] = ()
    knowledge: tuple[Knowledge, ...] = ()
    curve: LearningCurve | None = None


def fault_of(details: Details) -> str:
    """Return a description of the first inconsistency in the details; empty where there is none."""
    curve = details.curve
    lengths = set() if curve is None else {len(curve.spearman), *(len(model.values) for model in curve.models)}
    if curve is not None and (not curve.seconds or lengths != {len(curve.seconds)}):
        return "the steps of its learning curve are not as many as its values"
    for picture in details.pictures:
        numbers = range(len(picture.classes))
        if picture.classes and any(number not in numbers for _, _, number in picture.points):
            return "a point of a picture is of no class"
    return ""
