"""Which layers of a model to take together: neighbours end to end, all of them weighted, or their weighted sum.

A set is advised where its evidence is above that of every single layer; more dimensions need not raise the evidence.
All sets are judged from the layers' Gram matrices between samples (`voxrank.scores.gram`), so that nothing is encoded
for it. What following such advice brings to trained heads is in docs/advice. That study was made with means of
utterances and of segments and with classes, and those are what belongs in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxrank.details import Advice
from voxrank.errors import OptionError
from voxrank.scores.gram import (
    concat_shares,
    gram_evidence,
    held_out_accuracy,
    one_hot,
    standardised,
    sum_weights,
)
from voxrank.sketches.products import Array
from voxrank.sketches.sample import Sample
from voxrank.threads import one_blas_thread

WIDEST = 3
"""Neighbours that are put end to end; beyond them only all layers."""
MOST_SAMPLES = 512
"""Samples that are looked at, about as many as in the study: decompositions take their number cubed."""
LEAST_GAIN = 5e-3
"""Of log evidence per sample and target: weights for layers of noise find a third of that."""

Labels = NDArray[np.int64]


def advise(
    model: str, layers: Mapping[int, NDArray[np.floating]], labels: Labels, blocks: Labels | None = None
) -> tuple[Advice, ...]:
    """What to take in place of a model's best layer: of each kind the best set, if it is above that layer.

    Args:
        model: its name.
        layers: layer → its samples (n, D), the same samples in all; beyond `MOST_SAMPLES` the first are looked at.
        labels: (n,) class ids.
        blocks: (n,) what is held out together, such as speakers; None where nothing is known of them.

    Returns:
        The set of greatest evidence first; empty where no set is above the best layer.

    Raises:
        OptionError: samples that do not fit each other, or fewer than two classes.
    """
    _check(layers, labels, blocks)
    labels = labels[:MOST_SAMPLES]
    blocks = None if blocks is None or len(np.unique(blocks[:MOST_SAMPLES])) < 2 else blocks[:MOST_SAMPLES]
    with one_blas_thread():
        own = _Layers.of(layers, labels)
        singles = {index: gram_evidence(gram, own.targets) for index, gram in own.grams.items()}
        layer = max(singles, key=singles.__getitem__)
        best: dict[str, tuple[float, _Joined]] = {}
        for one in own.joined():
            evidence = gram_evidence(one.gram, own.targets)
            if evidence > max(singles[layer] + LEAST_GAIN, best[one.kind][0] if one.kind in best else -np.inf):
                best[one.kind] = (evidence, one)
        alone = _accuracy(own.grams[layer], labels, blocks) if best else 0.0
        found = [
            Advice(
                model=model,
                kind=one.kind,
                layers=one.layers,
                weights=one.weights,
                layer=layer,
                gain=evidence - singles[layer],
                accuracy=None if blocks is None else (alone, _accuracy(one.gram, labels, blocks)),
                samples=len(labels),
            )
            for evidence, one in best.values()
        ]
    return tuple(sorted(found, key=lambda one: -one.gain))


def advise_sampled(model: str, samples: Mapping[int, Sample], classes: Labels) -> tuple[Advice, ...]:
    """The same from the samples that a run keeps of each layer: those that all layers have, by their keys.

    Args:
        model: its name.
        samples: layer → its sample.
        classes: (U,) class id of each of `Sample.rows`.

    Returns:
        Empty where fewer than two classes are among them.
    """
    shared = reduce(np.intersect1d, [sample.keys for sample in samples.values()])
    places = {index: np.searchsorted(sample.keys, shared) for index, sample in samples.items()}
    first = next(iter(samples))
    labels = classes[samples[first].rows[places[first]]]
    if len(np.unique(labels[:MOST_SAMPLES])) < 2:
        return ()
    layers = {index: sample.features[places[index]] for index, sample in samples.items()}
    return advise(model, layers, labels, samples[first].blocks[places[first]])


@dataclass(frozen=True)
class _Joined:
    """Several layers as one, with their Gram matrix (n, n)."""

    kind: Literal["neighbours", "weighted", "sum"]
    layers: tuple[int, ...]
    weights: tuple[float, ...] | None
    gram: Array


@dataclass(frozen=True)
class _Layers:
    """Standardised samples of a model's layers, in order.

    Attributes:
        samples: layer → (n, D).
        grams: layer → (n, n).
        targets: (n, T) about their mean.
    """

    samples: dict[int, Array]
    grams: dict[int, Array]
    targets: Array

    @classmethod
    def of(cls, layers: Mapping[int, NDArray[np.floating]], labels: Labels) -> _Layers:
        samples = {index: standardised(layers[index][: len(labels)]) for index in sorted(layers)}
        return cls(samples, {index: rows @ rows.T for index, rows in samples.items()}, one_hot(labels))

    def joined(self) -> Iterator[_Joined]:
        """All sets that are looked at."""
        yield from self._neighbours()
        if len(self.grams) > 1:
            yield self._weighted()
        yield from self._sums()

    def _neighbours(self) -> Iterator[_Joined]:
        indices = tuple(self.grams)
        widths = sorted({*range(2, min(WIDEST, len(indices)) + 1), len(indices)} - {1})
        for width in widths:
            for first in range(len(indices) - width + 1):
                chosen = indices[first : first + width]
                gram = np.sum([self.grams[index] for index in chosen], axis=0)
                yield _Joined("neighbours", chosen, None, gram)

    def _weighted(self) -> _Joined:
        shares = concat_shares(list(self.grams.values()), self.targets)
        gram = np.tensordot(shares, np.stack(list(self.grams.values())), 1)
        return _Joined("weighted", tuple(self.grams), tuple(np.sqrt(shares).tolist()), gram)

    def _sums(self) -> Iterator[_Joined]:
        """Of the layers that have the last one's dimension."""
        dim = list(self.samples.values())[-1].shape[1]
        alike = tuple(index for index, rows in self.samples.items() if rows.shape[1] == dim)
        if len(alike) < 2:
            return
        stack = np.stack([self.samples[index] for index in alike])
        for weights in (np.full(len(alike), 1 / len(alike)), sum_weights(stack, self.targets)):
            mixed = np.tensordot(weights, stack, 1)
            yield _Joined("sum", alike, tuple(weights.tolist()), mixed @ mixed.T)


def _accuracy(gram: Array, labels: Labels, blocks: Labels | None) -> float:
    return 0.0 if blocks is None else held_out_accuracy(gram, labels, blocks)


def _check(layers: Mapping[int, NDArray[np.floating]], labels: Labels, blocks: Labels | None) -> None:
    if not layers:
        raise OptionError("expected samples of at least one layer, got none")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise OptionError(
            f"expected class ids of shape (samples,), got {labels.dtype} of shape {labels.shape}; "
            "advice on layers is for classes only"
        )
    if len(np.unique(labels[:MOST_SAMPLES])) < 2:
        raise OptionError("expected samples of at least two classes; one class ranks nothing")
    for name, rows in (*((f"layer {index}", rows) for index, rows in layers.items()), ("blocks", blocks)):
        if rows is not None and len(rows) != len(labels):
            raise OptionError(f"expected {len(labels)} samples of {name}, one for each label, got {len(rows)}")
    for index, rows in layers.items():
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise OptionError(f"expected finite samples of shape (samples, dimensions) of layer {index}")
