"""How well each class is told from the others, by samples whose whole block is left out.

A sample f is taken for the class c with the greatest

    (f − μ)ᵀ A d_c − ½ d_cᵀ A d_c,   d_c = μ_c − μ,   A = (W + tI)⁻¹,

the nearest class mean in the metric of what varies within classes: linear discriminant analysis with equal priors, so
that a rare class is not taken for a common one for its rarity alone. The mean μ, the class means μ_c and the scatter
within classes W are those of all data but the sample's block (of speakers, or of utterances), from the moments; t is
the ridge that is best for all data by generalised cross-validation. A class that no other block has counts as missed.

Source: Hastie, Buja and Tibshirani, "Penalized discriminant analysis", Annals of Statistics 23, 1995.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy import linalg

from voxrank.results.details import ClassView
from voxrank.scores.ridge import best_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Sample

Ids = NDArray[np.int64]

LEAST_RIDGE = 1e-7
"""Of the largest eigenvalue of the scatter: blocks are known to single precision."""
CONFUSIONS = 10
"""Other classes named for each, at most."""


def held_out_classes(moments: BlockedMoments, sample: Sample) -> Ids | None:
    """The class that each sample (m,) is taken for; None where there is nothing to tell by, or to leave out.

    Args:
        moments: of the layer, with classes as targets.
        sample: some of its samples.
    """
    total = moments.total
    if sum(block.n > 0 for block in moments) < 2:
        return None
    spectrum = Spectrum.of(total)
    if not spectrum.rank:
        return None
    ridge = max(best_ridge(spectrum), LEAST_RIDGE * float(spectrum.eigenvalues[-1]))
    found = np.zeros(len(sample), dtype=np.int64)
    for block in np.unique(sample.blocks).tolist():
        own = sample.blocks == block
        rest = total.without(moments.blocks[block].unpack())
        found[own] = nearest_class(sample.features[own].astype(np.float64), rest, ridge)
    return found


def nearest_class(features: Array, moments: Moments, ridge: float) -> Ids:
    """The class of the nearest mean for each of these features (m, D), by the moments of other samples."""
    counts, about = moments.square, moments.centred()
    there = counts > 0
    centres = about.cross[there] / counts[there, None]
    within = about.gram - (centres.T * counts[there]) @ centres
    weights = _solved(within, ridge, centres.T)
    votes = (features - about.centre) @ weights - (centres.T * weights).sum(axis=0) / 2
    nearest: Ids = np.flatnonzero(there)[votes.argmax(axis=1)]
    return nearest


def _solved(within: Array, ridge: float, right: Array) -> Array:
    """(W + tI)⁻¹ B, with the least t from this one on, in steps of a hundred, that leaves W regular."""
    while True:
        matrix = within.copy()
        np.einsum("ii->i", matrix)[:] += ridge
        try:
            factor = linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
        except LinAlgError:
            ridge *= 100
        else:
            return np.asarray(linalg.cho_solve(factor, right, check_finite=False))


def class_views(names: Sequence[str], true: Ids, taken: Ids) -> tuple[ClassView, ...]:
    """Each class that has samples, the hardest first; of equally hard ones that with more samples.

    Args:
        names: of the classes.
        true: (m,) the class of each sample.
        taken: (m,) what it is taken for.
    """
    pairs, counts = np.unique(np.stack([true, taken]), axis=1, return_counts=True)
    sizes = np.bincount(true, minlength=len(names))
    right = dict.fromkeys(np.flatnonzero(sizes).tolist(), 0)
    wrong: dict[int, list[tuple[int, int]]] = {one: [] for one in right}
    for (one, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if one == other:
            right[one] = count
        else:
            wrong[one].append((count, other))
    views = []
    for one, hits in right.items():
        size = int(sizes[one])
        others = sorted(wrong[one], key=lambda pair: (-pair[0], pair[1]))[:CONFUSIONS]
        views.append(ClassView(names[one], size, hits / size, tuple((names[k], n / size) for n, k in others)))
    return tuple(sorted(views, key=lambda view: (view.recall, -view.samples)))
