"""Shards keep groups whole, blocks even, and do not depend on the order of the rows."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxrank.data.shards import Item, plan_shards
from voxrank.data.utterance import Utterance

speakers = st.sampled_from(["a", "b", "c", "d", "e"])
rows = st.lists(st.tuples(speakers, st.floats(0.1, 20)), min_size=1, max_size=40)


def items_of(content):
    return [
        Item(Utterance(id=f"u{i}", path=Path(f"u{i}.wav"), label="x", speaker=speaker), seconds, i)
        for i, (speaker, seconds) in enumerate(content)
    ]


@given(content=rows, blocks=st.integers(1, 6), shard_s=st.floats(1, 100))
@settings(max_examples=60, deadline=None)
def test_every_item_is_in_one_shard_and_speakers_in_one_block(content, blocks, shard_s):
    items = items_of(content)
    shards = plan_shards(items, "label", blocks=blocks, shard_s=shard_s)
    assert sorted(item.row for shard in shards for item in shard.items) == list(range(len(items)))
    known = {item.utterance.speaker for item in items}
    if len(known) > 1:
        homes = {(item.utterance.speaker, shard.block) for shard in shards for item in shard.items}
        assert len(homes) == len(known)
        assert len({shard.block for shard in shards}) == min(blocks, len(known))


@given(content=rows, order=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_shards_do_not_depend_on_the_order_of_rows(content, order):
    items = items_of(content)
    shuffled = items.copy()
    order.shuffle(shuffled)
    assert plan_shards(items, "label", blocks=3, shard_s=10) == plan_shards(shuffled, "label", blocks=3, shard_s=10)


def test_speakers_that_are_the_target_do_not_form_groups():
    items = items_of([("a", 1.0)] * 4 + [("b", 1.0)] * 4)
    shards = plan_shards(items, "speaker", blocks=4, shard_s=100)
    assert [sorted(item.utterance.speaker for item in shard.items) for shard in shards] == [["a", "b"]] * 4


def test_utterances_of_unknown_speakers_are_separate_groups():
    items = items_of([(None, 1.0)] * 6 + [("a", 1.0), ("b", 1.0)])
    assert len(plan_shards(items, "label", blocks=8, shard_s=100)) == 8


def test_the_longest_items_come_first_and_shards_end_at_their_length():
    items = items_of([("a", s) for s in (1.0, 5.0, 3.0, 4.0, 2.0)])
    shards = plan_shards(items, "label", blocks=1, shard_s=8.0)
    assert [[item.seconds for item in shard.items] for shard in shards] == [[5.0, 4.0], [3.0, 2.0, 1.0]]
    assert shards[0].seconds == 9.0


def blocks_of(items):
    """Return the block of each utterance, by id."""
    shards = plan_shards(items, "label", blocks=4, shard_s=9.0)
    return {item.utterance.id: shard.block for shard in shards for item in shard.items}


@pytest.mark.parametrize("known", [True, False], ids=["speakers", "utterances"])
def test_many_groups_are_dealt_by_their_names_alone(known):
    """Adding utterances moves no other; whether groups are speakers or utterances, the block follows from the name."""
    items = items_of([(f"s{n % 60}" if known else None, 1.0 + n % 3) for n in range(600)])
    blocks = blocks_of(items)
    assert len(blocks) == 600
    assert blocks_of(items[:500]).items() <= blocks.items()
    groups = {(item.utterance.speaker or item.utterance.id, blocks[item.utterance.id]) for item in items}
    assert len(groups) == (60 if known else 600)
