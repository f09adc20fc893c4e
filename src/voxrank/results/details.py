"""What a ranking tells besides its order: classes, pictures, other columns, and how much data it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voxrank.config import Seconds


@dataclass(frozen=True)
class ClassView:
    """How well one class is told from the others, by samples that were held out.

    Attributes:
        name: of the class.
        samples: that were judged.
        recall: share of them that was taken for this class.
        confused_with: other classes that they were taken for, and the share of `samples`, most first.
    """

    name: str
    samples: int
    recall: float
    confused_with: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class LayerClasses:
    """The classes by one layer.

    Attributes:
        model, layer: whose features they are told by.
        classes: the hardest first.
    """

    model: str
    layer: int | str
    classes: tuple[ClassView, ...]


@dataclass(frozen=True)
class Picture:
    """Sampled features of one layer in two dimensions.

    Attributes:
        model, layer: whose they are.
        method: "pca" or "t-sne".
        place: whether the layer is the "best" or the "worst" of the ranking.
        classes: their names; empty where the targets are values.
        points: (x, y, number of the class, or value) of each sample.
        explained: share of the variance that is in the picture; None where that is not defined.
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
    """How much a layer knows of another column of the data.

    Attributes:
        column: of the data.
        model, layer: whose features they are.
        accuracy: share of held-out samples whose cell is told rightly by a linear head, the mean over cells.
        chance: the same of a layer that knows nothing, 1 / `classes`.
        classes: different cells.
        samples: that were judged.
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
    """A model's score at each step of the data.

    Attributes:
        model, layer: whose it is; the layer is the best by this score of all data.
        values: one for each step.
    """

    model: str
    layer: int | str
    values: tuple[float, ...]


@dataclass(frozen=True)
class LearningCurve:
    """Scores against the amount of data.

    Attributes:
        score: its name.
        higher_is_better: its direction.
        seconds: of audio at each step, ascending; the last one is all.
        models: best first.
        spearman: rank correlation of the models' order at each step with the last one; None for fewer than three.
        held_from_s: audio from which on the same model came first in every step.
    """

    score: str
    higher_is_better: bool
    seconds: tuple[Seconds, ...]
    models: tuple[ModelCurve, ...]
    spearman: tuple[float | None, ...]
    held_from_s: Seconds


@dataclass(frozen=True)
class Details:
    """All of these; each is empty where it was not asked for or cannot be had.

    Attributes:
        classes: how well each class is told, by the best layer of each model.
        pictures: of the best and the worst layer.
        knowledge: of other columns, of every layer.
        curve: scores against the amount of data.
    """

    classes: tuple[LayerClasses, ...] = ()
    pictures: tuple[Picture, ...] = ()
    knowledge: tuple[Knowledge, ...] = ()
    curve: LearningCurve | None = None


def fault_of(details: Details) -> str:
    """What in details does not fit together; empty where all does."""
    curve = details.curve
    lengths = set() if curve is None else {len(curve.spearman), *(len(one.values) for one in curve.models)}
    if curve is not None and (not curve.seconds or lengths != {len(curve.seconds)}):
        return "the steps of its learning curve are not as many as its values"
    for picture in details.pictures:
        known = range(len(picture.classes))
        if picture.classes and any(number not in known for _, _, number in picture.points):
            return "a point of a picture is of no class"
    return ""
