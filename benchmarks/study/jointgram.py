"""Held-out predictions and probes of sets of layers, all from Gram matrices between samples, as the evidence is.

With K = U Λ Uᵀ the samples are U√Λ up to a rotation. Ridge regression, nearest neighbours and a logistic regression
with a rotation-invariant penalty do not depend on the rotation. Samples are standardised by the training rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from study.evidence import RIDGES, one_hot

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

NEIGHBOURS = 5
STRENGTHS = (3.0, 30.0, 300.0, 3000.0)
"""Candidates for C of the logistic regression, for samples of mean square length 1; a third of the blocks chooses."""


@dataclass(frozen=True)
class Known:
    """Training samples' labels.

    Attributes:
        labels: (n,) class ids, without gaps.
        blocks: (n,) blocks that are held out together.
    """

    labels: Ids
    blocks: Ids

    @cached_property
    def targets(self) -> Array:
        """The one-hot targets less their mean, (n, T)."""
        return one_hot(self.labels)


@dataclass(frozen=True)
class Gram:
    """Scalar products of training samples with each other (n, n), and of test samples with them (m, n)."""

    own: Array
    test: Array

    @classmethod
    def of(cls, samples: Array, train: int) -> Gram:
        """Return the products of samples (n + m, D), the first `train` of which are for training."""
        return cls(samples[:train] @ samples[:train].T, samples[train:] @ samples[:train].T)

    @classmethod
    def joint(cls, parts: list[Gram], shares: Array | None = None) -> Gram:
        """Return the products of concatenated layers, each times the root of its share."""
        weights = np.ones(len(parts)) if shares is None else shares
        own = sum(weight * part.own for weight, part in zip(weights, parts, strict=True))
        test = sum(weight * part.test for weight, part in zip(weights, parts, strict=True))
        return cls(np.asarray(own), np.asarray(test))

    @cached_property
    def eigen(self) -> tuple[Array, Array]:
        """The eigenvalues Λ ascending and U, without directions of eigenvalue 0."""
        values, vectors = np.linalg.eigh(self.own)
        kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
        return values[kept], vectors[:, kept]


def standardised(features: NDArray[np.float32], train: int) -> Array:
    """Return (n + m, D) about the training rows' mean, over each dimension's spread there; constant ones are 0."""
    rows = features.astype(np.float64)
    rows -= rows[:train].mean(axis=0)
    spread = rows[:train].std(axis=0)
    scaled: Array = np.divide(rows, spread, out=np.zeros_like(rows), where=spread > 1e-9 * spread.max())
    return scaled


def levelled(features: NDArray[np.float32], train: int) -> Array:
    """Return (n + m, D) about the training rows' mean, scaled so that training rows have mean square 1."""
    rows = features.astype(np.float64)
    rows -= rows[:train].mean(axis=0)
    size = np.sqrt((rows[:train] ** 2).sum() / train)
    return np.asarray(rows / size)


def ridge_r2(gram: Gram, known: Known) -> float:
    """Return R² of ridge regression without each block in turn, at the best strength."""
    values, vectors = gram.eigen
    targets, n = known.targets, len(known.labels)
    projected, least = vectors.T @ targets, np.inf
    for t in RIDGES * values.sum():
        shrink = values / (values + t)
        residuals, left = targets - (vectors * shrink) @ projected, 0.0
        for block in np.unique(known.blocks):
            rows = known.blocks == block
            free = (1 + 1e-9) * np.eye(rows.sum()) - (vectors[rows] * shrink) @ vectors[rows].T - 1 / n
            left += float((np.linalg.solve(free, residuals[rows]) ** 2).sum())
        least = min(least, left)
    return float(1 - least / (targets**2).sum())


def knn(gram: Gram, known: Known) -> float:
    """Return the accuracy of the nearest neighbours in other blocks by cosine; the nearest one decides ties."""
    size = np.sqrt(np.maximum(np.diag(gram.own), 1e-30))
    near = gram.own / size[:, None] / size
    near[known.blocks[:, None] == known.blocks] = -np.inf
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.eye(int(known.labels.max()) + 1)[known.labels[nearest]]
    weight = np.append(1 + 1e-6, np.ones(NEIGHBOURS - 1))
    return float(((votes * weight[:, None]).sum(axis=1).argmax(axis=1) == known.labels).mean())


def ncm(gram: Gram, known: Known) -> float:
    """Return the accuracy of the nearest class mean over other blocks."""
    hot = np.eye(int(known.labels.max()) + 1)[known.labels]
    right = 0
    for block in np.unique(known.blocks):
        held = known.blocks == block
        members = hot * ~held[:, None]
        shares = members / np.maximum(members.sum(axis=0), 1)
        inner = gram.own @ shares
        closeness = 2 * inner[held] - (shares * inner).sum(axis=0)
        closeness[:, members.sum(axis=0) == 0] = -np.inf
        right += int((closeness.argmax(axis=1) == known.labels[held]).sum())
    return right / len(known.labels)


@dataclass(frozen=True)
class Probed:
    """A logistic regression's test accuracy, and its accuracy on the blocks on which its strength was chosen."""

    accuracy: float
    chosen_on: float


def probe(gram: Gram, known: Known, wanted: Ids) -> Probed:
    """Train on the training rows and test on the others with labels `wanted` (m,)."""
    values, vectors = gram.eigen
    size = np.sqrt(values.sum() / len(known.labels))
    rows = vectors * np.sqrt(values) / size
    test = gram.test @ (vectors / np.sqrt(values)) / size
    held = np.isin(known.blocks, np.unique(known.blocks)[::3])
    trials = [_trial(rows, known, held, strength) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin([loss for loss, _ in trials]))]
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(rows, known.labels)
    return Probed(float(model.score(test, wanted)), min(trials)[1])


def _trial(rows: Array, known: Known, held: NDArray[np.bool_], strength: float) -> tuple[float, float]:
    """Return log loss and accuracy on the held-out rows."""
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(rows[~held], known.labels[~held])
    heard = np.flatnonzero(held & np.isin(known.labels, model.classes_))
    places = np.searchsorted(model.classes_, known.labels[heard])
    chances = model.predict_proba(rows[heard])
    loss = -np.log(np.maximum(chances[np.arange(len(heard)), places], 1e-12)).mean()
    return float(loss), float((chances.argmax(axis=1) == places).mean())
