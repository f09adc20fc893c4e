"""Pictures of a layer: its samples in two dimensions, by principal components and by t-SNE.

Principal components are computed from the samples about their mean. The picture reports the share of the variance that
it shows. t-SNE starts from the first 50 components (as its authors advise, to save time) and keeps neighbours together.
In a t-SNE picture, axes, sizes of groups and distances between far points have no meaning.

Sources: Pearson, 1901; van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxrank.diagnostics.curve import significant
from voxrank.results.details import Picture
from voxrank.scores.tsne import embedded
from voxrank.sketches.eigen import eigh
from voxrank.sketches.products import Array

Place = Literal["best", "worst"]

POINTS = 1024
"""Maximum number of points in a picture by principal components."""
NEIGHBOURED = 512
"""Maximum number of points in a picture by t-SNE, which takes about a second."""
COMPONENTS = 50
"""Maximum number of components that t-SNE starts from."""
STEPS = 500
"""Number of steps of t-SNE."""
LEAST = 4
"""Minimum number of samples for t-SNE."""
DIGITS = 4
"""Significant digits of a coordinate."""


def principal(features: NDArray[Any]) -> tuple[Array, Array]:
    """Return the coordinates of features (m, D) along their principal directions, and the variance share of each.

    The sign of a direction is chosen so that the coordinate of largest absolute value is positive.

    Returns:
        (m, r) and (r,), the largest first, r at most `COMPONENTS`; r is 0 where all features are equal.
    """
    x = features.astype(np.float64)
    x -= x.mean(axis=0)
    tall = len(x) > x.shape[1]
    values, vectors = eigh(x.T @ x if tall else x @ x.T)
    selected = np.flatnonzero(values > max(x.shape) * np.finfo(np.float32).eps * max(values[-1], 0.0))
    selected = selected[::-1][:COMPONENTS]
    coordinates = x @ vectors[:, selected] if tall else vectors[:, selected] * np.sqrt(values[selected])
    largest = coordinates[np.abs(coordinates).argmax(axis=0), np.arange(len(selected))]
    total = float((x**2).sum())
    return coordinates * np.where(largest < 0, -1.0, 1.0), values[selected] / total if total else values[selected]


def pictures(
    model: str,
    layer: int | str,
    place: Place,
    features: NDArray[Any],
    targets: NDArray[Any],
    classes: Sequence[str],
    *,
    near: bool,
) -> tuple[Picture, ...]:
    """Return the pictures of a layer, by t-SNE only where scikit-learn is installed and the samples differ.

    Args:
        model: spec of the model.
        layer: label of the layer.
        place: whether the layer is the "best" or the "worst" of the ranking.
        features: (m, D) samples in random order, so that the first ones are a random sample, too.
        targets: (m,) numbers of classes, or values.
        classes: names of the classes; empty for values.
        near: whether to make a picture by t-SNE.
    """
    coordinates, shares = principal(features)
    plane = np.pad(coordinates[:, :2], ((0, 0), (0, max(2 - coordinates.shape[1], 0))))
    explained = float(shares[:2].sum()) if len(shares) else None
    result = [Picture(model, layer, "pca", place, tuple(classes), _points(plane, targets), explained)]
    subset = coordinates[:NEIGHBOURED]
    if near and len(subset) >= LEAST and len(shares) and find_spec("sklearn") is not None:
        rounded = np.round(subset / np.abs(subset).max(), DIGITS).astype(
            np.float32
        )  # equal also from sums in another order
        embedding = embedded(rounded, seed=0, steps=STEPS)
        result.append(Picture(model, layer, "t-sne", place, tuple(classes), _points(embedding, targets)))
    return tuple(result)


def _points(plane: NDArray[Any], targets: NDArray[Any]) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (significant(x, DIGITS), significant(y, DIGITS), significant(target, DIGITS))
        for (x, y), target in zip(plane.tolist(), targets.tolist(), strict=False)
    )
