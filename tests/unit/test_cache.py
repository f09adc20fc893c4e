"""Cached content is not encoded again, and is restored unchanged."""

import csv
import errno
import itertools
import json
import os
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import voxrank
import voxrank.cache.files
import voxrank.encoders.pool
import voxrank.extraction.shard
from voxrank._support.progress import Progress
from voxrank.cache import store as cache_module
from voxrank.cache.entries import read_entries
from voxrank.cache.keys import model_key
from voxrank.cache.store import Cache
from voxrank.config import CacheOptions, EncoderOptions, ExtractionOptions, SequenceOptions
from voxrank.data.audio import decode
from voxrank.data.sources import digest_of_audio
from voxrank.errors import OptionError
from voxrank.testing.encoders import FakeEncoder

SAMPLES = ("utterance", "segment", "effective", "frame")


def rows_of(manifest):
    return list(csv.reader(manifest.read_text().splitlines()))


def some_rows(manifest, name, chosen):
    """Write a manifest of some of the rows."""
    header, *rows = rows_of(manifest)
    path = manifest.with_name(name)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *(rows[place] for place in chosen)])
    return path


def assert_same(found, expected, rel=1e-9):
    assert [m.model for m in found.models] == [m.model for m in expected.models]
    assert found.data == expected.data
    theirs = {(x.model, x.layer): x for x in expected.layers}
    for layer in found.layers:
        for name, score in layer.scores.items():
            other = theirs[layer.model, layer.layer].scores[name]
            assert score.value == pytest.approx(other.value, rel=rel)
            assert score.low == pytest.approx(other.low, rel=1e-5, abs=1e-7)
            assert score.high == pytest.approx(other.high, rel=1e-5, abs=1e-7)


def segments_of(tones):
    """Write the same clips with two labels inside each."""
    header, *rows = rows_of(tones)
    path = tones.with_name("segments.csv")
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["path", "speaker", "segments"])
        for place, (name, label, speaker) in enumerate(rows):
            marks = [{"label": label, "start": 0.0, "end": 0.1}, {"label": "ab"[place % 2], "start": 0.1, "end": 0.19}]
            out.writerow([name, speaker, json.dumps(marks)])
    del header
    return path


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_second_run_encodes_nothing_and_gives_the_same_ranking(fakes, tones, passes, kept, sample):
    options = ExtractionOptions(sample=sample, shard_s=1.0)
    plain = voxrank.rank(tones, ["fake-a", "fake-b"], extraction=options)
    passes.clear()
    first = voxrank.rank(tones, ["fake-a", "fake-b"], extraction=options, cache=kept)
    assert len(passes) == 72
    assert first.cost.cached_s == 0
    passes.clear()
    again = voxrank.rank(tones, ["fake-a", "fake-b"], extraction=options, cache=kept)
    assert not passes
    assert again.cost.encode_s == 0
    assert again.cost.cached_s == pytest.approx(2 * again.data.seconds)
    assert_same(first, plain)
    assert_same(again, plain)


def test_rankings_by_labels_of_frames_are_cached_too(fakes, tones, passes, kept):
    manifest = segments_of(tones)
    first = voxrank.rank(manifest, ["fake-a"], cache=kept)
    passes.clear()
    assert_same(voxrank.rank(manifest, ["fake-a"], cache=kept), first)
    assert not passes
    lines = manifest.read_text()
    manifest.write_text(lines.replace("0.19", "0.18"))
    voxrank.rank(manifest, ["fake-a"], cache=kept)
    assert len(passes) == 36  # other times give other sums


@pytest.mark.parametrize("sample", ["utterance", "frame"])
def test_a_new_score_on_cached_data_encodes_nothing(fakes, tones, passes, kept, sample):
    options = ExtractionOptions(sample=sample)
    voxrank.rank(tones, ["fake-a"], extraction=options, scores=["logme"], cache=kept)
    passes.clear()
    names = ["knn", "ncm", "loo", "transrate", "hscore"]
    found = voxrank.rank(tones, ["fake-a"], extraction=options, scores=names, cache=kept)
    assert not passes
    assert_same(found, voxrank.rank(tones, ["fake-a"], extraction=options, scores=names))


@pytest.mark.parametrize("sample", ["utterance", "frame"])
def test_another_column_on_cached_data_encodes_nothing(fakes, tones, passes, kept, sample):
    options = ExtractionOptions(sample=sample, blocks=1)
    voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    passes.clear()
    found = voxrank.rank(tones, ["fake-a"], target="speaker", extraction=options, cache=kept)
    assert not passes
    plain = voxrank.rank(tones, ["fake-a"], target="speaker", extraction=options)
    assert found.best.scores["logme"].value == pytest.approx(plain.best.scores["logme"].value, rel=1e-9)


@pytest.mark.parametrize("sample", SAMPLES)
def test_only_new_data_are_encoded_where_data_are_added(fakes, tones, passes, kept, sample):
    options = ExtractionOptions(sample=sample, shard_s=1.0)
    fewer = some_rows(tones, "fewer.csv", range(32))
    voxrank.rank(fewer, ["fake-a"], extraction=options, cache=kept)
    passes.clear()
    found = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    assert len(passes) == 4
    assert_same(found, voxrank.rank(tones, ["fake-a"], extraction=options))
    passes.clear()
    voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    assert not passes


def test_a_part_of_the_cached_data_encodes_nothing(fakes, tones, passes, kept):
    voxrank.rank(tones, ["fake-a"], cache=kept)
    passes.clear()
    part = some_rows(tones, "part.csv", range(3, 30))
    found = voxrank.rank(part, ["fake-a"], cache=kept)
    assert not passes
    assert_same(found, voxrank.rank(part, ["fake-a"]))


def test_other_audio_of_the_same_name_is_encoded(fakes, tones, passes, kept, write_wav):
    voxrank.rank(tones, ["fake-a"], cache=kept)
    path = tones.parent / rows_of(tones)[1][0]
    stat = path.stat()
    samples = np.random.default_rng(1).normal(size=(stat.st_size - 44) // 2).astype(np.float32) * 0.1
    write_wav(path, samples)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # neither size nor time shows the change
    assert path.stat().st_size == stat.st_size
    passes.clear()
    assert_same(voxrank.rank(tones, ["fake-a"], cache=kept), voxrank.rank(tones, ["fake-a"]))
    assert len(passes) == 1 + 36


@pytest.mark.parametrize(
    "other",
    [{"segment_s": 0.1}, {"sample": "frame"}],
    ids=["segments", "sample"],
)
def test_other_options_have_other_sketches(fakes, tones, passes, kept, other):
    options = ExtractionOptions(sample="segment")
    voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    passes.clear()
    voxrank.rank(tones, ["fake-a"], extraction=replace(options, **other), cache=kept)
    assert len(passes) == 36


def test_the_key_of_a_model_depends_on_its_content():
    one, same, other = FakeEncoder(seed=1), FakeEncoder(seed=1), FakeEncoder(seed=2)
    same.spec = "moved/elsewhere"
    options = EncoderOptions()
    assert model_key(one, options) == model_key(same, options) != model_key(other, options)
    assert model_key(one, options) != model_key(one, EncoderOptions(dtype="bfloat16"))
    assert model_key(one, options) == model_key(one, EncoderOptions(whisper_window="full"))
    assert model_key(one, options) != model_key(one, EncoderOptions(whisper_window="fit"))
    same.settings = lambda: {"config": "another activation"}
    assert model_key(one, options) != model_key(same, options)


def test_a_model_that_does_not_give_its_weights_is_never_cached(tones, passes, kept, monkeypatch):
    monkeypatch.setattr(FakeEncoder, "weights", lambda self: {})
    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", lambda spec, options: FakeEncoder())
    notes = []
    watcher = Progress()
    watcher.note = notes.append
    for _ in range(2):
        voxrank.rank(tones, ["fake"], cache=kept, progress=watcher)
    assert len(passes) == 72
    assert notes.count("fake does not give its weights, so it is not cached and is encoded in every run") == 2
    assert not list(Cache(kept).holdings())


class Killed(BaseException):
    """An exception that simulates `kill -9`: only the interpreter's own cleanup follows."""


@pytest.mark.parametrize("sample", ["utterance", "frame"])
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_stopped_run_loses_only_the_current_shard(fakes, tones, passes, kept, monkeypatch, after, sample):
    options = ExtractionOptions(sample=sample, shard_s=1.0)
    plain = voxrank.rank(tones, ["fake-a"], extraction=options)
    add, seen = cache_module.ModelCache.add, []

    def killing(self, shard, sketch):
        if len(seen) == after:
            raise Killed
        seen.append(shard)
        add(self, shard, sketch)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.ModelCache, "add", killing)
        with pytest.raises(Killed):
            voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    passes.clear()
    found = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    assert len(passes) == 36 - sum(len(shard.items) for shard in seen)
    assert_same(found, plain)


def entry_paths(kept):
    return sorted(path for one in Cache(kept).holdings() for path in one.folder.glob("*.safetensors"))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header"])
@pytest.mark.parametrize("sample", ["utterance", "frame"])
def test_a_damaged_entry_is_reported_and_computed_again(fakes, tones, passes, kept, damage, sample):
    options = ExtractionOptions(sample=sample)
    plain = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    path = entry_paths(kept)[0]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-100] ^= 1
    elif damage == "header":
        content[3] ^= 0xFF
    path.write_bytes({"cut": content[:-7], "empty": b""}.get(damage, content))
    notes, watcher = [], Progress()
    watcher.note = notes.append
    passes.clear()
    again = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept, progress=watcher)
    assert 0 < len(passes) < 36
    assert_same(again, plain)
    assert damage != "flip" or any("the cache held a damaged file, which is computed again" in line for line in notes)
    passes.clear()
    voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    assert not passes


def test_a_full_disk_is_reported_once_and_the_run_goes_on(fakes, tones, kept, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(voxrank.cache.files, "save_sketches", full)
    notes, watcher = [], Progress()
    watcher.note = notes.append
    options = ExtractionOptions(shard_s=1.0)
    found = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept, progress=watcher)
    assert_same(found, voxrank.rank(tones, ["fake-a"], extraction=options))
    lines = [line for line in notes if "the cache cannot be written; the run goes on without it" in line]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]


def test_a_cache_that_cannot_be_written_can_be_read(fakes, tones, passes, kept, monkeypatch):
    fewer = some_rows(tones, "fewer.csv", range(20))
    voxrank.rank(fewer, ["fake-a"], cache=kept)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(voxrank.cache.files, "save_sketches", refused)
    monkeypatch.setattr(os, "utime", refused)
    passes.clear()
    found = voxrank.rank(tones, ["fake-a"], cache=kept)
    assert len(passes) == 16
    assert_same(found, voxrank.rank(tones, ["fake-a"]))


def test_a_file_in_place_of_the_folder_is_a_wrong_request(fakes, tones, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OptionError, match="expected a folder for the cache, got a file"):
        voxrank.rank(tones, ["fake-a"], cache=CacheOptions(str(tmp_path / "taken")))


def test_audio_is_digested_once_in_a_run_and_by_other_threads_in_the_first(fakes, tones, kept, monkeypatch):
    digested = []

    def noting(location):
        digested.append((location, threading.current_thread() is threading.main_thread()))
        return digest_of_audio(location)

    monkeypatch.setattr(cache_module, "digest_of_audio", noting)
    for _ in range(2):
        digested.clear()
        voxrank.rank(tones, ["fake-a", "fake-b"], cache=kept)
        assert len({location for location, _ in digested}) == len(digested) == 36
        assert not any(main for _, main in digested)


def test_audio_that_changes_while_it_is_read_is_not_kept(fakes, tones, passes, kept, monkeypatch):
    changed = tones.parent / rows_of(tones)[1][0]

    def changing(utterance, rate):
        samples = decode(utterance, rate)
        if utterance.path == changed:
            with changed.open("ab") as file:
                file.write(b"\0\0")
        return samples

    monkeypatch.setattr(voxrank.extraction.shard, "decode", changing)
    voxrank.rank(tones, ["fake-a"], cache=kept)
    assert sum(one.utterances for one in Cache(kept).holdings()) == 35


def test_audio_that_could_not_be_read_is_tried_again(fakes, tones, passes, kept, monkeypatch):
    gone = tones.parent / rows_of(tones)[1][0]
    aside = gone.with_suffix(".aside")
    shutil.copy(gone, aside)

    def vanishing(utterance, rate):
        gone.unlink(missing_ok=True)
        return decode(utterance, rate)

    with monkeypatch.context() as patch:
        patch.setattr(voxrank.extraction.shard, "decode", vanishing)
        first = voxrank.rank(tones, ["fake-a"], cache=kept)
    assert [one.reason for one in first.skipped] == ["no such file; a relative path starts at the manifest's folder"]
    shutil.move(aside, gone)
    passes.clear()
    found = voxrank.rank(tones, ["fake-a"], cache=kept)
    assert len(passes) == 1
    assert_same(found, voxrank.rank(tones, ["fake-a"]))


def test_utterances_that_a_model_could_not_use_are_cached(tones, kept, monkeypatch):
    class Choosy(FakeEncoder):
        def _forward(self, windows):
            for piece in super()._forward(windows):
                if len(windows) and abs(windows[0][0]) > 0.05:
                    piece.frames[: piece.lengths[0]] = float("nan")
                yield piece

    def load(spec, options):
        encoder = Choosy()
        encoder.spec = spec
        return encoder

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)
    first, again = (voxrank.rank(tones, ["choosy"], cache=kept) for _ in range(2))
    assert first.skipped
    assert set(again.skipped) == set(first.skipped)
    assert again.cost.encode_s == 0
    assert_same(again, first)


def test_two_runs_may_use_the_same_folder_at_the_same_time(fakes, tones, passes, kept, monkeypatch):
    """The second run starts in the middle of the first, which then finds the second's files with its own."""
    options = ExtractionOptions(shard_s=1.0, sample="frame")
    plain = voxrank.rank(tones, ["fake-a"], extraction=options)
    add, inner = cache_module.ModelCache.add, []

    def nesting(self, shard, sketch):
        add(self, shard, sketch)
        if len(inner) == 0:
            inner.append(None)
            inner.append(voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept))

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.ModelCache, "add", nesting)
        outer = voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)
    for found in (outer, inner[1], voxrank.rank(tones, ["fake-a"], extraction=options, cache=kept)):
        assert_same(found, plain)


def test_the_size_is_kept_and_the_longest_unused_goes_first(fakes, tones, kept):
    voxrank.rank(tones, ["fake-a"], cache=kept)
    old = Cache(kept).holdings()[0]
    for path in entry_paths(kept):
        os.utime(path, (1, 1))  # a clock that was set back only changes the order too
    limit = (old.size + 1000) / 1e9
    voxrank.rank(tones, ["fake-b"], cache=CacheOptions(kept.folder, limit))
    after = Cache(kept).holdings()
    assert sum(one.size for one in after) <= limit * 1e9
    assert after[0].about["model"] == "fake-b"
    assert sum(one.utterances for one in after if one.about["model"] == "fake-b") == 36


def test_files_left_by_killed_runs_are_deleted(fakes, tones, kept):
    voxrank.rank(tones, ["fake-a"], cache=kept)
    [one] = Cache(kept).holdings()
    old, new = one.folder / ".half", one.folder / ".writing"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    Cache(kept).prune()
    assert not old.exists()
    assert new.exists()
    assert Cache(kept).prune(0)[0] == one.entries
    assert not entry_paths(kept)


def test_entries_of_a_block_are_joined(fakes, tones, kept):
    voxrank.rank(tones, ["fake-a"], cache=kept, extraction=ExtractionOptions(shard_s=0.3, sample="frame"))
    [one] = Cache(kept).holdings()
    assert one.entries == 4  # speakers
    assert one.utterances == 36
    found = list(itertools.chain.from_iterable(entry.items for entry in read_entries(one.folder)))
    assert len(found) == len(set(found))


def test_source_data_are_kept_too(fakes, tones, passes, kept):
    part, names = some_rows(tones, "part.csv", range(12)), ["swd", "frechet"]
    found = [voxrank.rank(part, ["fake-a"], source=tones, scores=names, cache=kept) for _ in range(2)]
    assert len(passes) == 36  # the target is part of the source, and labels are not part of the cache
    assert_same(found[1], found[0], rel=1e-7)  # a distance near 0 is the difference of large sums


def test_transcripts_are_cached(fakes, spelled, passes, kept):
    sequence = SequenceOptions(unit="char", aligner="uniform")
    first = voxrank.rank(spelled, ["fake-a"], sequence=sequence, cache=kept)
    passes.clear()
    assert_same(voxrank.rank(spelled, ["fake-a"], sequence=sequence, cache=kept), first)
    assert not passes


@pytest.mark.parametrize("now", [0.0, 4e9], ids=["back to 1970", "on to 2096"])
def test_a_clock_that_was_changed_does_not_change_the_ranking(fakes, tones, passes, kept, monkeypatch, now):
    first = voxrank.rank(tones, ["fake-a"], cache=kept)
    for path in entry_paths(kept):
        os.utime(path, (now + 100, now + 100))
    monkeypatch.setattr(time, "time", lambda: now)
    passes.clear()
    assert_same(voxrank.rank(tones, ["fake-a"], cache=kept), first)
    assert not passes
