"""Forced alignment, against every path, against CTC's own likelihood, and with little memory."""

from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank._support.compiled import compiled
from voxrank.errors import OptionError, UtteranceError
from voxrank.targets import ctc
from voxrank.targets.ctc import BLANK, align, uniform


def collapsed(symbols, *, blank=0):
    return [int(c) for c, _ in groupby(symbols) if c != blank]


def random_log_probs(frames, count, seed=0):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(count, 0.5), frames))


def all_paths(log_probs, labels):
    """Return the log probability of every path that collapses to the labels."""
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if collapsed(path) == list(labels):
            yield float(log_probs[np.arange(len(path)), path].sum())


small = st.tuples(
    st.integers(1, 6), st.lists(st.integers(1, 2), max_size=4), st.integers(0, 10**6), st.sampled_from([1, 2, 3, 100])
)


@settings(max_examples=150, deadline=None)
@given(small)
def test_the_alignment_is_the_best_of_all_paths(case):
    frames, labels, seed, stretch = case
    log_probs = random_log_probs(frames, 3, seed)
    possible = list(all_paths(log_probs, labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctc, "CHOICE_BYTES", 0 if stretch < 100 else 1 << 20)
        patch.setattr(ctc, "STRETCH", stretch)
        if not possible:
            with pytest.raises(UtteranceError, match="need at least"):
                align(log_probs, labels)
            return
        found = align(log_probs, labels)
    symbols = found.symbols(labels, 0)
    assert found.log_probability == pytest.approx(max(possible), abs=1e-9)
    assert log_probs[np.arange(frames), symbols].sum() == pytest.approx(max(possible), abs=1e-9)
    assert collapsed(symbols) == labels


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.data())
def test_the_probability_of_the_best_path_bounds_the_likelihood(frames, data):
    """The bounds are: log of the best path ≤ −ctc_loss ≤ log of the best path + log of the number of paths."""
    labels = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=frames // 2))
    log_probs = random_log_probs(frames, 5, data.draw(st.integers(0, 1000)))
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_probs)[:, None], torch.tensor([labels]), [frames], [len(labels)], reduction="sum"
    )
    best = align(log_probs, labels).log_probability
    assert best <= -loss.item() + 1e-9
    assert -loss.item() <= best + frames * np.log(3) + 1e-9  # at most three transitions from any state


def test_a_sharp_posterior_is_followed_frame_by_frame():
    symbols = [0, 1, 1, 0, 1, 2, 2, 2, 0, 0]
    log_probs = np.log(np.full((10, 3), 0.01))
    log_probs[np.arange(10), symbols] = np.log(0.98)
    found = align(log_probs, [1, 1, 2])
    np.testing.assert_array_equal(found.tokens, [BLANK, 0, 0, BLANK, 1, 2, 2, 2, BLANK, BLANK])
    np.testing.assert_array_equal(found.spans, [[1, 3], [4, 5], [5, 8]])
    np.testing.assert_array_equal(found.symbols([1, 1, 2], 0), symbols)
    np.testing.assert_allclose(found.scores, np.log(0.98))
    assert found.log_probability == pytest.approx(10 * np.log(0.98))


def test_equal_labels_may_touch_only_where_repeats_need_no_blank():
    log_probs = np.log([[0.1, 0.9]] * 4)
    assert BLANK in align(log_probs, [1, 1]).tokens
    np.testing.assert_array_equal(align(log_probs, [1, 1], repeats_need_blank=False).spans[0, 1], 1)
    assert BLANK not in align(log_probs, [1, 1], repeats_need_blank=False).tokens
    with pytest.raises(UtteranceError, match="its 2 labels need at least 3 frames, and it has 2"):
        align(log_probs[:2], [1, 1])


@pytest.mark.parametrize("stretch", [1, 2, 3, 7, 1000])
def test_ties_of_paths_do_not_depend_on_the_checkpoints(monkeypatch, stretch):
    """All symbols are equally probable, so that all paths are best. Every label begins as early as it may."""
    whole = align(np.zeros((9, 4)), [1, 2, 2, 3])
    np.testing.assert_array_equal(whole.tokens, [0, 1, BLANK, 2, 3, 3, 3, 3, 3])
    monkeypatch.setattr(ctc, "CHOICE_BYTES", 0)
    monkeypatch.setattr(ctc, "STRETCH", stretch)
    np.testing.assert_array_equal(align(np.zeros((9, 4)), [1, 2, 2, 3]).tokens, whole.tokens)


@pytest.mark.parametrize("stretch", [1, 13, 64, 500])
def test_checkpoints_do_not_change_the_alignment(monkeypatch, stretch):
    log_probs = random_log_probs(400, 12).astype(np.float32)
    labels = np.random.default_rng(1).integers(1, 12, 130)
    whole = align(log_probs, labels)
    monkeypatch.setattr(ctc, "CHOICE_BYTES", 0)
    monkeypatch.setattr(ctc, "STRETCH", stretch)
    again = align(log_probs, labels)
    np.testing.assert_array_equal(again.tokens, whole.tokens)
    assert again.log_probability == whole.log_probability


def test_the_blank_may_be_any_symbol():
    log_probs = random_log_probs(30, 4)
    labels = np.array([1, 2, 2, 3, 1])
    turned = align(np.roll(log_probs, -1, axis=1), labels - 1, blank=3)
    np.testing.assert_array_equal(turned.tokens, align(log_probs, labels).tokens)


def test_an_utterance_without_labels_is_all_blank():
    found = align(np.log([[0.3, 0.7]] * 3), [])
    np.testing.assert_array_equal(found.tokens, [BLANK] * 3)
    assert found.spans.shape == (0, 2)
    assert found.log_probability == pytest.approx(3 * np.log(0.3))


def test_labels_of_probability_zero_are_refused():
    log_probs = np.log([[0.5, 0.5], [0.5, 0.5]])
    log_probs[:, 1] = -np.inf
    with pytest.raises(UtteranceError, match="no path through its frames has a probability above 0"):
        align(log_probs, [1])
    log_probs[1, 1] = -1.0
    np.testing.assert_array_equal(align(log_probs, [1]).tokens, [BLANK, 0])


BAD = {
    "one dimension": (np.zeros(3), [1], 0, r"of shape \(frames, symbols\), got \(3,\)"),
    "no frames": (np.zeros((0, 3)), [1], 0, r"got \(0, 3\)"),
    "not a number": (np.full((3, 3), np.nan), [1], 0, "got NaN or infinite ones"),
    "infinite": (np.full((3, 3), np.inf), [1], 0, "got NaN or infinite ones"),
    "unknown symbol": (np.zeros((3, 3)), [3], 0, "labels among the 3 symbols other than the blank 0, got 3"),
    "blank as a label": (np.zeros((3, 3)), [0], 0, "other than the blank 0, got 0"),
    "no such blank": (np.zeros((3, 3)), [1], 3, "a blank among the 3 symbols, got 3"),
    "pauses": (np.zeros((3, 3)), [1], 0, r"pauses for 2 places, got shape \(1,\)"),
    "fractions": (np.zeros((3, 3)), [1.5], 0, "numbers of symbols, got float64"),
}


@pytest.mark.parametrize(("log_probs", "labels", "blank", "message"), BAD.values(), ids=BAD)
def test_input_that_cannot_be_aligned_is_refused(log_probs, labels, blank, message):
    pauses = [True] if "pauses" in message else None
    with pytest.raises(OptionError, match=message):
        align(log_probs, labels, blank=blank, pauses=pauses)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 7), st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 10**6), st.integers(1, 9))
def test_pauses_are_only_where_they_are_allowed(frames, pauses, seed, stretch):
    log_probs, labels = random_log_probs(frames, 4, seed), [1, 2, 3]
    allowed = [
        float(log_probs[np.arange(frames), path].sum())
        for path in product(range(4), repeat=frames)
        if collapsed(path) == labels and all(pauses[place] for place in places_of_blanks(path))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctc, "CHOICE_BYTES", 0)
        patch.setattr(ctc, "STRETCH", stretch)
        assert align(log_probs, labels, pauses=pauses).log_probability == pytest.approx(max(allowed), abs=1e-9)


def places_of_blanks(path):
    """Return, as a set, how many labels come before each blank frame."""
    return {len(collapsed(path[:t])) for t, symbol in enumerate(path) if symbol == 0}


@given(st.integers(1, 50), st.integers(1, 50))
def test_uniform_alignment_gives_every_label_an_equal_share(frames, labels):
    if frames < labels:
        with pytest.raises(UtteranceError):
            uniform(frames, labels)
    else:
        sizes = np.bincount(uniform(frames, labels), minlength=labels)
        assert sizes.max() - sizes.min() <= 1


def test_code_is_compiled_even_without_a_folder_for_it(monkeypatch):
    def refused(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function")
        return lambda function: function

    monkeypatch.setattr("numba.njit", refused)
    assert compiled(len) is len
