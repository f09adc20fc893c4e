"""A layer's samples in two dimensions, to be looked at: by principal components, and by t-SNE.

Principal components are those of the samples themselves about their mean; the picture says which share of the variance
it shows. t-SNE starts from the first 50 of them (as its authors advise, since it then costs little) and keeps
neighbours together; distances between far points, sizes of groups and axes mean nothing in it.

Sources: Pearson, 1901; van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxrank.diagnostics.rounding import significant
from voxrank.results.details import Picture
from voxrank.scores.tsne import embedded
from voxrank.sketches.products import Array

Place = Literal["best", "worst"]

POINTS = 1024
"""In a picture by principal components, at most."""
NEIGHBOURED = 512
"""In one by t-SNE: a second of work."""
COMPONENTS = 50
"""That t-SNE starts from."""
STEPS = 500
"""Of t-SNE."""
LEAST = 4
"""Samples for t-SNE."""
DIGITS = 4
"""Of a coordinate."""


def principal(features: NDArray[Any]) -> tuple[Array, Array]:
    """Coordinates of features (m, D) along their principal directions, and the share of the variance in each.

    Of a direction's two signs the one is taken in which the sample that lies farthest out has a positive coordinate.

    Returns:
        (m, r) and (r,), the largest first, r at most `COMPONENTS`; r is 0 where all features are alike.
    """
    x = features.astype(np.float64)
    x -= x.mean(axis=0)
    tall = len(x) > x.shape[1]
    values, vectors = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    kept = np.flatnonzero(values > max(x.shape) * np.finfo(np.float32).eps * max(values[-1], 0.0))
    kept = kept[::-1][:COMPONENTS]
    coordinates = x @ vectors[:, kept] if tall else vectors[:, kept] * np.sqrt(values[kept])
    far = coordinates[np.abs(coordinates).argmax(axis=0), np.arange(len(kept))]
    total = float((x**2).sum())
    return coordinates * np.where(far < 0, -1.0, 1.0), values[kept] / total if total else values[kept]


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
    """The pictures of a layer that can be had: t-SNE where scikit-learn is installed and the samples differ.

    Args:
        model: as in `Picture`.
        layer: likewise.
        place: likewise.
        features: (m, D) samples, in the order of a draw: the first ones are a fair draw, too.
        targets: (m,) numbers of classes, or values.
        classes: their names; empty for values.
        near: whether one by t-SNE is wanted.
    """
    coordinates, shares = principal(features)
    plane = np.pad(coordinates[:, :2], ((0, 0), (0, max(2 - coordinates.shape[1], 0))))
    explained = float(shares[:2].sum()) if len(shares) else None
    made = [Picture(model, layer, "pca", place, tuple(classes), _points(plane, targets), explained)]
    few = coordinates[:NEIGHBOURED]
    if near and len(few) >= LEAST and len(shares) and find_spec("sklearn") is not None:
        rough = np.round(few / np.abs(few).max(), DIGITS).astype(np.float32)  # the same from sums in another order
        embedding = embedded(rough, seed=0, steps=STEPS)
        made.append(Picture(model, layer, "t-sne", place, tuple(classes), _points(embedding, targets)))
    return tuple(made)


def _points(plane: NDArray[Any], targets: NDArray[Any]) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (significant(x, DIGITS), significant(y, DIGITS), significant(target, DIGITS))
        for (x, y), target in zip(plane.tolist(), targets.tolist(), strict=False)
    )
