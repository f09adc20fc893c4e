"""The confusion matrix of the classes on held-out blocks.

A sample f is assigned to the class c with the greatest

    (f − μ)ᵀ A d_c − ½ d_cᵀ A d_c,   d_c = μ_c − μ,   A = (W + tI)⁻¹.

This is the nearest class mean in the metric of the scatter within classes: linear discriminant analysis with equal
priors, so that common classes are not preferred. The mean μ, the class means μ_c and the scatter within classes W are
those of all data but the sample's block (of speakers, or of utterances), from the moments. The ridge t is the best for
all data by generalised cross-validation. Samples of a class that no other block has count as errors.

Source: Hastie, Buja and Tibshirani, "Penalized discriminant analysis", Annals of Statistics 23, 1995.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxrank.results.details import ClassView
from voxrank.scores.head_of_all import log_odds
from voxrank.scores.ridge import best_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Sample

Ids = NDArray[np.int64]

LEAST_RIDGE = 1e-7
"""Minimum ridge relative to the largest eigenvalue of the scatter, because blocks have single precision."""
CONFUSIONS = 10
"""Maximum number of confused classes listed for each class."""


def held_out_classes(moments: BlockedMoments, sample: Sample) -> Ids | None:
    """Return the held-out class (m,) of each sample; None where features are constant or there is one block.

    Args:
        moments: moments of the layer, with classes as targets.
        sample: some samples of the layer.
    """
    total = moments.total
    if sum(block.n > 0 for block in moments) < 2:
        return None
    spectrum = Spectrum.of(total)
    if not spectrum.rank:
        return None
    ridge = max(best_ridge(spectrum), LEAST_RIDGE * float(spectrum.eigenvalues[-1]))
    predicted = np.zeros(len(sample), dtype=np.int64)
    for block in np.unique(sample.blocks).tolist():
        in_block = sample.blocks == block
        remaining = total.without(moments.blocks[block].unpack())
        predicted[in_block] = nearest_class(sample.features[in_block].astype(np.float64), remaining, ridge)
    return predicted


def nearest_class(features: Array, moments: Moments, ridge: float) -> Ids:
    """Return the class of the nearest mean for each of these features (m, D), by the moments of other samples."""
    known, (odds,) = log_odds(features, moments, np.ones(features.shape[1], dtype=bool), [ridge])
    nearest: Ids = known[odds.argmax(axis=1)]
    return nearest


def class_views(names: Sequence[str], true: Ids, predicted: Ids) -> tuple[ClassView, ...]:
    """Return the held-out recall of each class that has samples, lowest first, and larger classes first among equals.

    Args:
        names: names of the classes.
        true: (m,) the class of each sample.
        predicted: (m,) the class that each sample is assigned to.
    """
    pairs, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    sizes = np.bincount(true, minlength=len(names))
    correct = dict.fromkeys(np.flatnonzero(sizes).tolist(), 0)
    confused: dict[int, list[tuple[int, int]]] = {number: [] for number in correct}
    for (number, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if number == other:
            correct[number] = count
        else:
            confused[number].append((count, other))
    views = []
    for number, hits in correct.items():
        size = int(sizes[number])
        others = sorted(confused[number], key=lambda pair: (-pair[0], pair[1]))[:CONFUSIONS]
        views.append(ClassView(names[number], size, hits / size, tuple((names[k], n / size) for n, k in others)))
    return tuple(sorted(views, key=lambda view: (view.recall, -view.samples)))
