"""Utterances are split by the manifest, else by speaker, else singly; every tested class is also trained."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from voxrank.config import TuningOptions
from voxrank.data.shards import Item
from voxrank.data.utterance import Dataset, Utterance
from voxrank.errors import DataError
from voxrank.groundtruth.splits import divide, draw_examples

LABELS = ("no", "yes", "stop")


def item(number, label="yes", speaker=None, split=None, text=None):
    utterance = Utterance(f"u{number:03}", Path(f"u{number}.wav"), label=label, speaker=speaker, split=split, text=text)
    return Item(utterance, 1.0, number)


def dataset(items, target="label", task="classification"):
    return Dataset("made up", task, target, tuple(one.utterance for one in items))


def by_speakers(speakers=8, each=6):
    """Return utterances in which every speaker says every label equally often."""
    return [item(n, LABELS[n % 3], f"s{n // each}") for n in range(speakers * each)]


def split(items, target="label", **options):
    return divide(items, dataset(items, target), TuningOptions(**options))


def ids(part):
    return [one.utterance.id for one in part]


def counts(part):
    return Counter(one.utterance.label for one in part)


def speakers(part):
    return {one.utterance.speaker for one in part}


def check_whole(found, items):
    """Check that every utterance is in one part, and that each part is in manifest order."""
    everywhere = [*found.train, *found.validation, *found.test, *found.left_out]
    assert sorted(ids(everywhere)) == ids(items)
    for part in found.parts().values():
        assert ids(part) == sorted(ids(part))


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("train", "dev", "test"),
        ("TRAIN", "Val", "Test"),
        ("training", "development", "evaluation"),
        ("train", "valid", "eval"),
    ],
)
def test_the_parts_of_the_manifest_are_used_unchanged(train, validation, test):
    names = [validation, train, test, train]  # unordered, and with one speaker in all of them
    items = [item(n, LABELS[n // 4 % 3], "alone", split=names[n % 4]) for n in range(24)]
    found = split(items)
    assert found.by == "split"
    assert ids(found.train) == ids(items[1::2])
    assert ids(found.validation) == ids(items[0::4])
    assert ids(found.test) == ids(items[2::4])
    assert found.left_out == ()
    assert found.parts() == {"train": found.train, "validation": found.validation, "test": found.test}


@pytest.mark.parametrize("seed", range(4))
def test_a_validation_part_that_is_missing_is_drawn_from_the_training_part(seed):
    items = by_speakers()
    named = [item(n, one.utterance.label, one.utterance.speaker, split="train" if n < 36 else "test")
             for n, one in enumerate(items)]  # fmt: skip
    found = split(named, validation=1 / 3, split_seed=seed)
    check_whole(found, named)
    assert found.by == "split"
    assert ids(found.test) == ids(named[36:])
    assert len(found.validation) == 12  # two of six speakers
    assert not speakers(found.train) & speakers(found.validation)
    assert set(counts(found.validation)) == set(LABELS)


@pytest.mark.parametrize("seed", range(5))
def test_no_speaker_is_in_two_parts(seed):
    items = by_speakers()
    found = split(items, split_seed=seed)
    check_whole(found, items)
    assert found.by == "speaker"
    parts = [speakers(part) for part in found.parts().values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 8
    assert len(found.test) == 12  # a quarter
    assert len(found.validation) == 6  # about 15 % of six speakers
    for part in found.parts().values():
        assert len(set(counts(part).values())) == 1  # classes as even as in the whole


def test_utterances_without_a_speaker_are_divided_one_by_one():
    items = [item(n, LABELS[n % 3], f"s{n // 6}" if n < 24 else None) for n in range(48)]
    found = split(items)
    check_whole(found, items)
    assert found.by == "speaker"
    parts = [speakers(part) - {None} for part in found.parts().values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 4


def test_utterances_without_speakers_are_divided_evenly_over_classes():
    items = [item(n, LABELS[n % 3]) for n in range(60)]
    found = split(items, test=0.25, validation=0.2)
    check_whole(found, items)
    assert found.by == "utterance"
    assert counts(found.test) == dict.fromkeys(LABELS, 5)
    assert counts(found.validation) == dict.fromkeys(LABELS, 3)
    assert counts(found.train) == dict.fromkeys(LABELS, 12)


def test_every_speaker_is_in_every_part_where_speakers_are_predicted():
    items = [item(n, f"s{n % 4}", f"s{n % 4}") for n in range(48)]
    found = split(items, target="speaker")
    check_whole(found, items)
    assert found.by == "utterance"
    for part in found.parts().values():
        assert set(counts(part)) == {"s0", "s1", "s2", "s3"}


def test_transcripts_are_divided_too():
    items = [item(n, None, f"s{n % 8}", text="words") for n in range(40)]
    found = divide(items, dataset(items, "text", "transcription"), TuningOptions(examples=7))
    assert found.by == "speaker"
    assert [len(part) for part in found.parts().values()] == [7, 5, 10]
    parts = [speakers(part) for part in found.parts().values()]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_the_same_seed_draws_the_same_parts_and_other_seeds_differ():
    items = by_speakers()
    assert split(items, split_seed=1) == split(items, split_seed=1)
    drawn = {tuple(ids(split(items, split_seed=seed).test)) for seed in range(6)}
    assert len(drawn) > 1


def test_classes_that_nothing_is_trained_for_are_left_out_and_listed():
    rows = [("yes", "train"), ("no", "train"), ("yes", "dev"), ("maybe", "dev"), ("no", "test"), ("stop", "test")]
    items = [item(n, label, split=part) for n, (label, part) in enumerate(rows)]
    found = split(items)
    assert ids(found.left_out) == ["u003", "u005"]
    assert (ids(found.validation), ids(found.test)) == (["u002"], ["u004"])
    check_whole(found, items)


def test_a_test_part_with_unknown_classes_only_is_refused():
    rows = [("yes", "train"), ("no", "train"), ("yes", "dev"), ("stop", "test")]
    items = [item(n, label, split=part) for n, (label, part) in enumerate(rows)]
    with pytest.raises(
        DataError, match=r"^expected a test part with classes of the training part, got none; give more"
    ):
        split(items)


def test_a_manifest_with_a_test_part_only_is_refused():
    items = [item(n, split="test") for n in range(4)]
    with pytest.raises(DataError, match=r"^expected utterances to train on, got none; name them train in the column"):
        split(items)


def test_a_single_speaker_is_divided_by_utterance():
    items = [item(n, LABELS[n % 3], "alone") for n in range(12)]
    found = split(items)
    assert found.by == "utterance"
    check_whole(found, items)


def test_too_few_speakers_are_refused():
    items = [item(n, LABELS[n % 3], f"s{n % 2}") for n in range(12)]  # one speaker to test on, and one left
    with pytest.raises(
        DataError,
        match=r"^expected at least two speakers or utterances to hold some out, got 1; give more, or name the parts",
    ):
        split(items)


def test_a_part_with_an_unknown_name_is_refused():
    items = [item(n, LABELS[n % 3], split=("train", "dev", "test", "other")[n // 3]) for n in range(12)]
    with pytest.raises(DataError, match=r"^expected train, validation or test in the column.*'other' \(3\)"):
        split(items)


def test_parts_are_recognised_by_a_word_of_their_name():
    names = ("train.100", "dev-clean", "test-other", "train.360")
    found = split([item(n, LABELS[n % 3], split=names[n // 3]) for n in range(12)])
    assert {name: len(part) for name, part in found.parts().items()} == {"train": 6, "validation": 3, "test": 3}


def test_classes_with_fewer_utterances_than_folds_are_divided():
    items = [item(n, "rare" if n < 2 else "often", f"s{n}") for n in range(12)]
    found = split(items)
    check_whole(found, items)
    assert all(part for part in found.parts().values())


def test_single_utterances_of_every_class_can_be_held_out():
    items = [item(n, label) for n, label in enumerate("aabbccddeeffgg")]  # two of each: fewer than the folds
    found = split(items)
    check_whole(found, items)
    assert set(counts(found.test)) <= set(counts(found.train))


def test_examples_are_drawn_per_class_and_spread_over_speakers():
    items = [item(n, LABELS[n % 3], f"s{n // 12}") for n in range(48)]  # four of each class by each of four speakers
    chosen = draw_examples(items, 4, seed=0)
    assert counts(chosen) == dict.fromkeys(LABELS, 4)
    each = Counter((one.utterance.label, one.utterance.speaker) for one in chosen)
    assert set(each.values()) == {1}
    assert ids(chosen) == sorted(ids(chosen))
    more = Counter((one.utterance.label, one.utterance.speaker) for one in draw_examples(items, 6, seed=0))
    assert set(more.values()) == {1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_draw_is_within_a_larger_one(seed):
    items = [item(n, LABELS[n % 3], f"s{n % 5}") for n in range(60)]
    drawn = [set(ids(draw_examples(items, most, seed))) for most in (1, 2, 5, 9, 20)]
    assert [len(draw) for draw in drawn] == [3, 6, 15, 27, 60]
    for smaller, larger in pairwise(drawn):
        assert smaller < larger


def test_draws_differ_by_seed_and_without_a_limit_all_are_taken():
    items = [item(n, LABELS[n % 3], f"s{n % 5}") for n in range(60)]
    assert draw_examples(items, None, seed=0) == items
    assert draw_examples(items, 100, seed=0) == items
    assert len({tuple(ids(draw_examples(items, 3, seed))) for seed in range(4)}) == 4


def test_examples_of_transcripts_are_counted_in_all():
    items = [item(n, None, f"s{n % 5}", text="words") for n in range(30)]
    chosen = draw_examples(items, 10, seed=3)
    assert Counter(one.utterance.speaker for one in chosen) == dict.fromkeys([f"s{k}" for k in range(5)], 2)


def test_the_limit_of_examples_holds_for_the_training_part_alone():
    items = by_speakers(speakers=10)
    whole, few = split(items), split(items, examples=2)
    assert counts(few.train) == dict.fromkeys(LABELS, 2)
    assert set(ids(few.train)) < set(ids(whole.train))
    assert (few.validation, few.test) == (whole.validation, whole.test)
