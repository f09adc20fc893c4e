"""Alignments are computed once: a second run of transcripts decodes no audio for them."""

import numpy as np
import pytest

import voxrank
from voxrank._support.progress import Progress
from voxrank.cache.store import Cache
from voxrank.config import SequenceOptions
from voxrank.errors import OptionError


def ranked(spelled, kept, notes=(), **options):
    watcher = Progress()
    messages = []
    watcher.note = messages.append
    sequence = SequenceOptions(unit="char", **options)
    found = voxrank.rank(spelled, ["fake-a", "fake-b"], sequence=sequence, cache=kept, progress=watcher)
    return found, messages


@pytest.mark.parametrize("aligner", ["flat", "flat:fake-a@1", "head:fake-a@2"])
def test_a_second_run_of_transcripts_encodes_nothing(fakes, spelled, passes, kept, aligner):
    options = {"aligner": aligner, "allow_leak": True, "against": ("uniform",)}
    first, messages = ranked(spelled, kept, **options)
    assert passes
    passes.clear()
    again, messages_again = ranked(spelled, kept, **options)
    assert not passes
    assert messages_again == messages
    assert again.options["aligner"] == first.options["aligner"]
    assert set(again.skipped) == set(first.skipped)
    for mine, theirs in zip(again.layers, first.layers, strict=True):
        assert mine.scores["logme"].value == pytest.approx(theirs.scores["logme"].value, rel=1e-9)
    assert again.sensitivity[0].spearman == pytest.approx(first.sensitivity[0].spearman)


def test_changed_transcripts_are_aligned_again(fakes, spelled, passes, kept):
    ranked(spelled, kept)
    text = spelled.read_text()
    lines = text.splitlines()
    spelled.write_text("\n".join(lines[:-1]) + "\n")
    passes.clear()
    ranked(spelled, kept)
    assert passes


def test_a_leak_is_refused_for_cached_alignments(fakes, spelled, kept):
    ranked(spelled, kept, aligner="head:fake-a@2", allow_leak=True)
    with pytest.raises(OptionError, match="its labels would favour that candidate"):
        ranked(spelled, kept, aligner="head:fake-a@2")


@pytest.mark.parametrize("damage", [slice(0, -5), slice(0, 0)])
def test_a_damaged_alignment_is_reported_and_computed_again(fakes, spelled, passes, kept, damage):
    first, _ = ranked(spelled, kept)
    [path] = (Cache(kept).root / "alignments").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[damage])
    passes.clear()
    again, messages = ranked(spelled, kept)
    assert passes
    assert "the cache held a damaged alignment, which is computed again" in messages
    assert [m.model for m in again.models] == [m.model for m in first.models]
    passes.clear()
    ranked(spelled, kept)
    assert not passes


def test_alignments_in_the_cache_are_listed_and_deleted(fakes, spelled, kept):
    ranked(spelled, kept)
    store = Cache(kept)
    assert "alignments of transcripts" in {one.about["model"] for one in store.holdings()}
    store.prune(0)
    assert store.holdings() == []


def test_utterances_that_cannot_be_aligned_are_skipped_in_every_run(fakes, spelled, passes, kept):
    lines = spelled.read_text().splitlines()
    text = lines[0].split(",").index("text")
    cells = lines[1].split(",")
    cells[text] = "abcde" * 60
    spelled.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    first, again = (ranked(spelled, kept)[0] for _ in range(2))
    assert [one.reason for one in first.skipped] == [one.reason for one in again.skipped]
    assert first.skipped
    assert np.isclose(first.best.scores["logme"].value, again.best.scores["logme"].value)
