"""The sample does not depend on the order, and is a fair draw."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.sketches.sample import Sample, content_keys, frame_keys, utterance_key


def named(count, length):
    keys = np.array([utterance_key(f"u{i}") for i in range(count)])
    return frame_keys(keys, [length] * count), np.repeat(np.arange(count), length)


def kept(sample):
    ids = sample.rows.tolist(), sample.blocks.tolist(), sample.utterances.tolist()
    return sample.keys.tolist(), ids, sample.features.tolist()


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 120), max_size=5), size=st.sampled_from([1, 7, 40, 500]))
@settings(max_examples=40, deadline=None)
def test_order_division_and_merging_do_not_matter(seed, cuts, size):
    keys, rows = named(12, 10)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32))
    whole = Sample.empty(size, 3)
    owners = rows.astype(np.uint64) + np.uint64(7)
    whole.update(features, keys, rows, block=4, utterances=owners)
    order = np.random.default_rng(seed).permutation(120)
    parts = []
    for part in np.split(order, sorted(cuts)):
        sample = Sample.empty(size, 3)
        sample.update(features[part], keys[part], rows[part], block=4, utterances=owners[part])
        parts.append(sample)
    merged = Sample.empty(size, 3)
    for part in parts:
        merged.merge(part)
    assert kept(merged) == kept(whole)
    assert len(whole) == min(size, 120)
    np.testing.assert_array_equal(whole.utterances, whole.rows + 7)


def test_keys_of_frames_do_not_depend_on_the_cuts_of_an_utterance():
    keys = np.array([utterance_key("a"), utterance_key("b")])
    whole = frame_keys(keys, [5, 3])
    first = frame_keys(keys, [2, 0])
    rest = frame_keys(keys, [3, 3], np.array([2, 0]))
    assert whole[:5].tolist() == [*first.tolist(), *rest[:3].tolist()]
    assert whole[5:].tolist() == rest[3:].tolist()
    assert len(set(whole.tolist())) == 8


def test_every_sample_is_equally_likely_to_be_drawn():
    """The sample keeps 5 % of 20,000 frames, from each half and from each place in the utterance."""
    keys, rows = named(400, 50)
    sample = Sample.empty(1000, 1)
    sample.update(torch.arange(20_000)[:, None].float(), keys, rows, block=0)
    places = sample.features[:, 0].astype(int) % 50
    assert abs(np.mean(sample.rows < 200) - 0.5) < 0.06
    assert abs(np.mean(places) - 24.5) < 2


def test_samples_without_names_are_identified_by_their_content():
    features = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32)
    keys = content_keys(features)
    assert len(np.unique(keys)) == 2000
    assert content_keys(features[7:9]).tolist() == keys[7:9].tolist()
    assert abs(np.mean(keys < np.uint64(2**63)) - 0.5) < 0.05


def test_doubles_that_are_equal_as_singles_have_keys_of_their_own():
    features = np.random.default_rng(0).normal(size=(500, 3))
    assert len(np.unique(content_keys(features + 1e9))) == 500
    single = features.astype(np.float32)
    assert content_keys(single.astype(np.float64)).tolist() == content_keys(single).tolist()


def test_a_sample_of_doubles_keeps_them():
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)) + 1e8)
    parts = [Sample.empty(15, 3, np.float64) for _ in range(2)]
    for part, rows in zip(parts, np.split(np.arange(20), [8]), strict=True):
        part.update(features[rows], content_keys(features[rows].numpy()), rows, block=0)
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[0].features, features[parts[0].rows])
    np.testing.assert_array_equal(parts[0].first(4).features, parts[0].features[:4])
