"""Advice on layers: judged by the evidence of the features themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxrank import advice
from voxrank.advice import LEAST_GAIN, advise, advise_sampled
from voxrank.errors import OptionError
from voxrank.scores.gram import held_out_accuracy, one_hot, standardised
from voxrank.scores.logme import maximise_evidence
from voxrank.scores.spectrum import Spectrum
from voxrank.sketches.moments import Moments
from voxrank.sketches.sample import Sample, frame_keys, utterance_key

CLASSES = 6
RNG = np.random.default_rng(0)
LABELS = np.arange(120) % CLASSES
BLOCKS = RNG.integers(0, 8, 120)


def layer_of(known: list[int], dim: int = 8, seed: int = 1) -> np.ndarray:
    """Samples that tell some of the classes from all others."""
    rng = np.random.default_rng(seed)
    means = np.where(np.isin(np.arange(CLASSES), known)[:, None], 2 * rng.standard_normal((CLASSES, dim)), 0)
    return (means[LABELS] + rng.standard_normal((len(LABELS), dim))).astype(np.float32)


def evidence(samples: np.ndarray) -> float:
    """LogME of the samples as they are, by their moments."""
    targets = one_hot(LABELS)
    moments = Moments.zeros(samples.shape[1], targets.shape[1], values=True)
    moments.update(torch.from_numpy(samples), targets)
    return maximise_evidence(Spectrum.of(moments)).score


APART = {0: layer_of([0, 1, 2], seed=2), 1: layer_of([3, 4, 5], seed=3), 2: layer_of([], seed=4)}
"""Two layers that know different things, and one of noise."""
ALIKE = {
    0: layer_of([0, 1, 2, 3, 4]) + layer_of([], seed=6),
    1: layer_of([0, 1, 2, 3, 4]) + layer_of([], seed=5),
    2: layer_of([], seed=4),
}
"""Two that know the same, with noise of their own."""


@pytest.mark.parametrize("kind", ["neighbours", "weighted", "sum"])
def test_gains_are_those_of_features_end_to_end_and_added(kind):
    layers = ALIKE if kind == "sum" else APART
    (one,) = (one for one in advise("m", layers, LABELS, BLOCKS) if one.kind == kind)
    samples = {index: standardised(rows) for index, rows in layers.items()}
    singles = {index: evidence(rows) for index, rows in samples.items()}
    best = max(singles, key=singles.get)
    rows = [samples[index] for index in one.layers]
    scaled = [w * row for w, row in zip(one.weights or [1.0] * len(rows), rows, strict=True)]
    features = np.sum(scaled, axis=0) if kind == "sum" else np.concatenate(scaled, axis=1)
    assert one.layer == best
    assert one.gain == pytest.approx(evidence(features) - singles[best], abs=1e-9)
    assert one.gain > LEAST_GAIN
    told = [held_out_accuracy(x @ x.T, LABELS, BLOCKS) for x in (samples[best], features)]
    assert one.accuracy == pytest.approx(told)
    assert told[1] > told[0]


def test_neighbours_are_the_best_of_all_by_brute_force():
    (found,) = (one for one in advise("m", APART, LABELS) if one.kind == "neighbours")
    sets = [(0, 1), (1, 2), (0, 1, 2)]
    tried = {s: evidence(np.concatenate([standardised(APART[i]) for i in s], axis=1)) for s in sets}
    assert found.layers == max(tried, key=tried.get) == (0, 1)
    assert found.weights is None
    assert found.accuracy is None


def test_weights_tell_noise_apart():
    found = {one.kind: one for one in advise("m", ALIKE, LABELS)}
    weighted, summed = found["weighted"].weights, found["sum"].weights
    assert weighted[2] < 0.2 * min(weighted[:2])
    assert sum(w**2 for w in weighted) == pytest.approx(1)
    assert sum(summed) == pytest.approx(1)
    assert summed[2] < min(summed[:2])


def test_greatest_gain_first():
    gains = [one.gain for one in advise("m", APART, LABELS)]
    assert gains == sorted(gains, reverse=True)


def test_layers_that_add_nothing_are_not_advised():
    layers = {
        0: layer_of(list(range(CLASSES)), dim=6),
        1: layer_of([], dim=60, seed=5),
        2: layer_of([], dim=60, seed=6),
    }
    assert advise("m", layers, LABELS) == ()


def test_one_layer_leaves_nothing_to_advise():
    assert advise("m", {3: APART[0]}, LABELS, BLOCKS) == ()


def test_layers_of_any_dimension_and_any_unit():
    layers = {4: 1000 * layer_of([0, 1, 2], dim=5, seed=2), 7: layer_of([3, 4, 5], dim=9, seed=3) + 50}
    plain = {4: layers[4] / 1000, 7: layers[7]}
    found, same = advise("m", layers, LABELS), advise("m", plain, LABELS)
    assert {one.kind for one in found} == {"neighbours", "weighted"}
    assert [one.layers for one in found] == [(4, 7), (4, 7)]
    assert [one.gain for one in found] == pytest.approx([one.gain for one in same], abs=1e-4)


def test_labels_may_have_gaps_and_samples_beyond_the_limit_are_left_out(monkeypatch):
    monkeypatch.setattr(advice, "MOST_SAMPLES", 80)
    found = advise("m", APART, 3 * LABELS, BLOCKS)
    first = advise("m", {i: rows[:80] for i, rows in APART.items()}, LABELS[:80], BLOCKS[:80])
    assert found == first
    assert found[0].samples == 80


def kept(rows: np.ndarray, places: np.ndarray) -> Sample:
    """Some of the rows, as a run keeps them."""
    keys = frame_keys(np.array([utterance_key(f"u{place}") for place in range(len(rows))]), [1] * len(rows))
    sample = Sample.empty(200, rows.shape[1])
    for start in (0, 60):  # in batches
        part = places[(places >= start) & (places < start + 60)]
        sample.update(torch.from_numpy(rows[part]), keys[part], part, BLOCKS[part])
    return sample


def test_samples_of_a_run_are_those_that_all_layers_have():
    everywhere, but_ten = np.arange(120), np.arange(10, 120)
    samples = {0: kept(APART[0], everywhere), 1: kept(APART[1], but_ten), 2: kept(APART[2], everywhere)}
    found = advise_sampled("m", samples, LABELS)
    expected = advise("m", {i: rows[but_ten] for i, rows in APART.items()}, LABELS[but_ten], BLOCKS[but_ten])
    assert [(one.kind, one.layers, one.samples) for one in found] == [
        (one.kind, one.layers, one.samples) for one in expected
    ]
    assert [one.gain for one in found] == pytest.approx([one.gain for one in expected], abs=1e-6)
    assert [one.accuracy for one in found] == [pytest.approx(one.accuracy) for one in expected]


def test_samples_of_one_class_give_no_advice():
    one_class = np.flatnonzero(LABELS == 2)
    assert advise_sampled("m", {i: kept(rows, one_class) for i, rows in APART.items()}, LABELS) == ()


@pytest.mark.parametrize(
    ("layers", "labels", "blocks", "message"),
    [
        ({}, LABELS, None, "expected samples of at least one layer, got none"),
        (APART, LABELS.astype(float), None, r"expected class ids of shape \(samples,\), got float64 of shape \(120,\)"),
        (APART, np.zeros(120, dtype=int), None, "expected samples of at least two classes"),
        (APART, LABELS[:50], None, "expected 50 samples of layer 0, one for each label, got 120"),
        (APART, LABELS, BLOCKS[:7], "expected 120 samples of blocks, one for each label, got 7"),
        ({0: np.full((120, 2), np.nan)}, LABELS, None, r"expected finite samples of shape .* of layer 0"),
    ],
)
def test_what_does_not_fit_is_refused(layers, labels, blocks, message):
    with pytest.raises(OptionError, match=message):
        advise("m", layers, labels, blocks)
