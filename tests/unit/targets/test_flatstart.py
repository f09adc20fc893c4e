"""Flat-start alignment: synthetic sequences are recovered, and invalid input is reported."""

import tracemalloc

import numpy as np
import pytest

from voxrank.errors import DataError, OptionError, UtteranceError
from voxrank.targets import flatstart
from voxrank.targets.ctc import uniform
from voxrank.targets.flatstart import SILENCE, FrameModel, Spoken, flat_start, quiet_frames

DIM = 12


def make_sequence(rng, means, *, length=8, scale=1.0, shift=0.0):
    """Return a sequence of symbols of 2 to 9 frames each, between silences, and the symbol of every frame."""
    labels = rng.integers(1, len(means), length)
    runs = [SILENCE, *labels, SILENCE]
    truth = np.repeat(runs, rng.integers(2, 10, len(runs)))
    features = means[truth] + rng.normal(size=(len(truth), means.shape[1]))
    pauses = np.zeros(length + 1, dtype=bool)
    pauses[[0, -1]] = True
    return Spoken((scale * features + shift).astype(np.float32), labels, pauses), truth


def make_sequences(count=60, seed=0, **options):
    rng = np.random.default_rng(seed)
    means = 3 * rng.normal(size=(6, DIM))
    return zip(*[make_sequence(rng, means, **options) for _ in range(count)], strict=True)


def share_right(found, utterances, truths):
    symbols = [a.symbols(s.labels, SILENCE) for a, s in zip(found, utterances, strict=True)]
    return np.mean(np.concatenate(symbols) == np.concatenate(truths))


def test_synthetic_sequences_are_recovered():
    utterances, truths = make_sequences()
    found = flat_start(utterances, 6, stages=(4, None))
    even = [s.labels[uniform(len(t), len(s.labels))] for s, t in zip(utterances, truths, strict=True)]
    assert np.mean(np.concatenate(even) == np.concatenate(truths)) < 0.6
    assert share_right(found.alignments, utterances, truths) > 0.97
    assert found.changed[0] > found.changed[-1]
    assert found.changed[-1] < 0.002


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (1.0, 500.0)])
def test_the_scale_and_origin_of_features_do_not_matter(scale, shift):
    plain, truths = make_sequences(30)
    other, _ = make_sequences(30, scale=scale, shift=shift)
    found, again = (flat_start(utterances, 6).alignments for utterances in (plain, other))
    same = [np.mean(a.tokens == b.tokens) for a, b in zip(found, again, strict=True)]
    assert np.mean(same) > 0.995
    assert share_right(found, plain, truths) > 0.9


def test_the_model_aligns_other_utterances():
    utterances, truths = make_sequences(80)
    model = flat_start(utterances[:60], 6, stages=(4, None)).model
    assert share_right([model.align(s) for s in utterances[60:]], utterances[60:], truths[60:]) > 0.95


def test_a_model_of_known_frames_equals_the_linear_discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    utterances, truths = make_sequences(60)
    features, symbols = np.concatenate([s.features for s in utterances]), np.concatenate(truths)
    ours = FrameModel.fit([s.features for s in utterances], truths, 6).scores(features).argmax(axis=1)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(features, symbols).predict(features)
    assert np.mean(ours == theirs) > 0.998


def test_constant_and_repeated_dimensions_do_not_change_the_alignment():
    utterances, truths = make_sequences(40)
    wide = [Spoken(np.hstack([s.features, s.features, 0 * s.features]), s.labels, s.pauses) for s in utterances]
    assert share_right(flat_start(wide, 6).alignments, wide, truths) == pytest.approx(
        share_right(flat_start(utterances, 6).alignments, utterances, truths), abs=0.02
    )


@pytest.mark.parametrize("stages", [(4, None), (None,)])
def test_frames_that_are_not_stored_give_the_same_alignment(monkeypatch, stages):
    utterances, _ = make_sequences(40)
    found = []
    for stored_bytes in (0, 8):
        monkeypatch.setattr(flatstart, "STORED_BYTES", stored_bytes)
        found.append(flat_start(utterances, 6, stages=stages))
    for one, other in zip(*(start.alignments for start in found), strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(found[0].model.weights, found[1].model.weights, rtol=1e-9, atol=1e-12)
    assert found[0].changed == found[1].changed


def test_a_flat_start_takes_as_much_memory_as_the_features_at_most():
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(1000, 256)).astype(np.float32) for _ in range(40)]
    utterances = [
        Spoken(part, np.array([1, 2, 3, 2]), np.array([True, False, False, False, True])) for part in features
    ]
    flat_start(utterances[:2], 4, threads=1)  # compiles
    tracemalloc.start()
    try:
        flat_start(utterances, 4, threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * sum(part.nbytes for part in features)


def test_no_silence_is_aligned_where_no_pause_is_allowed():
    utterances, _ = make_sequences(20)
    closed = [Spoken(s.features, s.labels, np.zeros(len(s.labels) + 1, dtype=bool)) for s in utterances]
    for alignment, one in zip(flat_start(closed, 6).alignments, closed, strict=True):
        assert SILENCE not in alignment.symbols(one.labels, SILENCE)


def test_an_utterance_with_more_labels_than_frames_fails_alone():
    utterances, _ = make_sequences(20)
    short = Spoken(utterances[0].features[:3], utterances[0].labels, utterances[0].pauses)
    *found, last = flat_start([*utterances, short], 6).alignments
    assert isinstance(last, UtteranceError)
    assert str(last) == "its 8 labels need at least 8 frames, and it has 3"
    for one, other in zip(found, flat_start(utterances, 6).alignments, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
    with pytest.raises(DataError, match="none of the 1 utterances has labels, and a frame for each"):
        flat_start([short], 6)


def test_labels_out_of_range_are_refused():
    utterances, _ = make_sequences(2)
    with pytest.raises(OptionError, match="labels from 1 to 2, got "):
        flat_start(utterances, 3)


def test_quiet_frames_are_found():
    rng = np.random.default_rng(0)
    loud = np.repeat([0, 1, 0, 1, 0, 1, 0], [4, 20, 3, 20, 8, 20, 2]).astype(bool)
    samples = np.repeat(np.where(loud, 0.3, 0.002), 320) * rng.normal(size=320 * len(loud))
    expected = ~loud
    expected[24:27] = False  # shorter than a pause
    np.testing.assert_array_equal(quiet_frames(samples, len(loud)), expected)
    assert not quiet_frames(np.ones(3200), 10).any()


def test_silence_begins_where_it_is_quiet():
    """The utterances have long pauses, which labels of equal length would take for labels."""
    rng = np.random.default_rng(3)
    means = 3 * rng.normal(size=(6, DIM))
    utterances, truths = [], []
    for _ in range(40):
        first, begin = make_sequence(rng, means, length=4)
        second, end = make_sequence(rng, means, length=4)
        middle = means[[SILENCE] * 40] + rng.normal(size=(40, DIM))
        pauses = np.array([True, False, False, False, True, False, False, False, True])
        truth = np.concatenate([begin, [SILENCE] * 40, end])
        features = np.concatenate([first.features, middle, second.features])
        quiet = truth == SILENCE
        utterances.append(Spoken(features, np.concatenate([first.labels, second.labels]), pauses, quiet))
        truths.append(truth)
    assert share_right(flat_start(utterances, 6, stages=(4, None)).alignments, utterances, truths) > 0.95
