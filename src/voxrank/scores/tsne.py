"""Distance of the medians of source and target features in a joint t-SNE embedding in two dimensions.

Lower is better. The score is a baseline: it depends on the seed and on the number of samples, and its unit has no
meaning.

Sources: van der Maaten and Hinton, JMLR 9, 2008; arXiv 2306.01015 (as a score of speech models).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxrank._support.threads import one_thread
from voxrank.errors import OptionError
from voxrank.scores.checks import missing_source
from voxrank.scores.estimate import Estimate
from voxrank.scores.score import Score
from voxrank.scores.sliced import paired_steps
from voxrank.scores.view import LayerView
from voxrank.sketches.projections import Values


class TSNEDistance:
    """Distance of the medians of source and target in a joint t-SNE embedding; lower is better.

    Args:
        seed: seed of the embedding and of the draw of samples.
        max_samples: maximum number of samples of each set; larger sets are subsampled.

    Attributes:
        higher_is_better: False.
    """

    higher_is_better = False

    def __init__(self, seed: int = 42, max_samples: int = 1000) -> None:
        self.seed, self.max_samples = seed, max_samples
        self.score_ = float("nan")

    def fit(self, source: ArrayLike, target: ArrayLike) -> Self:
        """Embed (n, D) and (m, D) together.

        Raises:
            OptionError: shapes that do not fit, values that are not finite, fewer than 4 samples, or scikit-learn is
                not installed.
        """
        (pair,) = paired_steps(source, target)
        rng = np.random.default_rng(self.seed)
        sets = (pair.source, pair.target)
        parts = [part[np.sort(rng.permutation(len(part))[: self.max_samples])] for part in sets]
        joint = np.concatenate(parts)
        if len(joint) < 4:
            raise OptionError(f"expected at least 4 samples to embed, got {len(joint)}; add some")
        if (joint == joint[0]).all():
            self.score_ = 0.0
            return self
        medians = [np.median(part, axis=0) for part in np.split(embedded(joint, self.seed), [len(parts[0])])]
        self.score_ = float(np.linalg.norm(medians[0] - medians[1]))
        return self


def estimate_tsne(view: LayerView) -> Estimate:
    """Estimate the distance from the kept samples, without interval, because every embedding is different.

    Raises:
        OptionError: the source is missing, or scikit-learn is not installed.
    """
    if view.source is None or view.source.sample is None or view.sample is None:
        raise missing_source("the t-SNE distance")
    value = TSNEDistance().fit(view.source.sample.features, view.sample.features).score_
    return Estimate(value, np.zeros(0))


def embedded(points: Values, seed: int, steps: int = 1000) -> NDArray[Any]:
    """Return the t-SNE embedding (n, 2) of points (n, D), n at least 4 and not all equal.

    Raises:
        OptionError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise OptionError(f"the t-SNE distance needs scikit-learn ({error}); run: pip install scikit-learn") from error
    if points.shape[1] == 1:  # PCA starts from two; a zero column changes no distance
        points = np.pad(points, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(points) - 1) / 3)
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=steps)
    with one_thread():
        coordinates: NDArray[Any] = embedding.fit_transform(points)
    return coordinates


SCORE = Score(
    "tsne",
    "t-SNE",
    TSNEDistance.higher_is_better,
    estimate_tsne,
    sampled=True,
    needs_source=True,
    package="sklearn",
    estimator=TSNEDistance,
    summary="distance of the medians in one t-SNE embedding",
)
