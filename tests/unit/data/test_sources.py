"""Audio without its own file is decoded as the file would be, under the same limits, and can be sent."""

import io
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxrank.cache.store import Cache
from voxrank.config import CacheOptions
from voxrank.data import audio
from voxrank.data.audio import decode, probe
from voxrank.data.shards import Item
from voxrank.data.sources import FileRegion, HeldAudio, as_file, digest_of_audio, stamp_of
from voxrank.data.utterance import Dataset, Utterance
from voxrank.errors import UtteranceError

RATE = 16_000


def noise(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


def encoded(samples, rate=RATE, form="WAV", subtype="FLOAT"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def utterance(source, **fields):
    return Utterance("u", Path("u.wav"), audio=source, **fields)


def held(content):
    return HeldAudio("h", 0, lambda _: content)


def region_in(folder, content, before=b"", after=b""):
    path = folder / "archive.bin"
    path.write_bytes(before + content + after)
    return FileRegion(path, len(before), len(content))


@given(
    before=st.binary(max_size=600), after=st.binary(max_size=600), n=st.integers(500, 3000), start=st.floats(0, 0.005)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_region_is_decoded_as_the_file_in_it(tmp_path, form, subtype, before, after, n, start):
    content = encoded(noise(n), form=form, subtype=subtype)
    alone = tmp_path / "alone"
    alone.write_bytes(content)
    region = region_in(tmp_path, content, before, after)
    whole = decode(Utterance("u", alone, start=start), RATE)
    np.testing.assert_array_equal(decode(utterance(region, start=start), RATE), whole)
    assert probe(utterance(region, start=start)).seconds == probe(Utterance("u", alone, start=start)).seconds
    assert digest_of_audio(region) == digest_of_audio(alone)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_samples_in_memory_are_used_unchanged(dtype):
    samples = noise(2000).astype(dtype)
    np.testing.assert_array_equal(decode(utterance(held((samples, RATE))), RATE), samples.astype(np.float32))


@pytest.mark.parametrize(("dtype", "full"), [("int16", 2**15), ("int32", 2**31)])
def test_integers_are_scaled_as_in_a_file(dtype, full):
    samples = (noise(2000) * (full - 1)).astype(dtype)
    np.testing.assert_array_equal(decode(utterance(held((samples, RATE))), RATE), (samples / full).astype(np.float32))


@pytest.mark.parametrize("shape", [(2, 1000), (1000, 2)])
def test_the_shorter_axis_holds_the_channels(shape):
    samples = noise(2000).reshape(1000, 2)
    given = samples if shape == (1000, 2) else samples.T
    np.testing.assert_allclose(decode(utterance(held((given, RATE))), RATE), samples.mean(axis=1), atol=1e-7)


def test_the_digest_of_samples_does_not_depend_on_the_time():
    source = held((noise(1000), RATE))
    first = digest_of_audio(source)
    time.sleep(1.1)  # a WAV of floats would contain the second in which it was written
    assert digest_of_audio(source) == first != digest_of_audio(held((noise(1000), 8_000)))


def test_an_item_in_memory_is_pickled_with_its_own_audio_only():
    every = [noise(1000, seed) for seed in range(50)]
    source = HeldAudio("h", 7, lambda index: (every[index], RATE))
    sent = pickle.dumps(utterance(source))
    assert len(sent) < 3 * every[7].nbytes
    arrived = pickle.loads(sent)
    assert arrived.audio == source
    assert digest_of_audio(arrived.audio) == digest_of_audio(source)
    np.testing.assert_array_equal(decode(arrived, RATE), every[7])
    assert pickle.loads(pickle.dumps(arrived)) == arrived


def test_an_item_that_cannot_be_read_is_pickled_with_the_reason():
    def fetch(index):
        raise KeyError("gone")

    arrived = pickle.loads(pickle.dumps(HeldAudio("h", 0, fetch)))
    with pytest.raises(UtteranceError, match="expected audio, the data set raised KeyError: 'gone'"):
        probe(utterance(arrived))


def test_a_region_is_pickled_by_its_location(tmp_path):
    region = region_in(tmp_path, encoded(noise(1000)), b"xyz")
    assert len(pickle.dumps(region)) < 400
    np.testing.assert_array_equal(decode(utterance(pickle.loads(pickle.dumps(region))), RATE), noise(1000))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"expected an audio file, got an empty one \(0 bytes\)"),
        (b"no audio at all" * 9, "not audio that libsndfile can read"),
        ((np.zeros((2, 3, 4)), RATE), r"expected samples as floats, int16 or int32, of shape \(n,\).* \(2, 3, 4\)"),
        ((np.zeros(0), RATE), "the audio holds no samples"),
        ((np.zeros(1000, dtype=np.int64), RATE), "got int64"),
        ((np.zeros(1000), 0), "expected a sample rate in Hz, got 0"),
        ((np.zeros(1000), 10), "expected a sample rate of 1,000 to 768,000 Hz, got 10 Hz"),
        ((np.zeros(100), RATE), "too short"),
        ((np.full(1000, np.nan), RATE), "the samples hold NaN or infinite values"),
        ((np.zeros((3000, 3000), dtype=np.float32), RATE), "expected at most 1024 channels"),
        (Path("/no/such/file.wav"), "no such file: /no/such/file.wav"),
    ],
)
def test_the_limits_of_files_hold_for_audio_in_memory(content, reason):
    with pytest.raises(UtteranceError, match=reason):
        decode(utterance(held(content)), RATE)


def test_offsets_are_checked_against_the_samples():
    with pytest.raises(UtteranceError, match="past the end of the file"):
        probe(utterance(held((noise(1000), RATE)), start=1.0))


def test_a_truncated_region_is_refused(tmp_path):
    content = encoded(noise(4000), subtype="PCM_16")
    region = region_in(tmp_path, content, b"before")
    region.file.write_bytes(region.file.read_bytes()[:-3000])
    with pytest.raises(UtteranceError, match="file cut short, copy it again"):
        probe(utterance(region))
    with pytest.raises(UtteranceError, match=r"as the header says, got .* file cut short"):
        probe(utterance(FileRegion(region.file, region.offset, region.size - 3000)))


def test_an_error_of_the_disk_is_the_reason():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    class Source:
        file = None

        def open(self):
            return Failing(encoded(noise(40_000), subtype="PCM_16"))

    with pytest.raises(UtteranceError, match="cannot read the file: Input/output error"):
        decode(utterance(Source()), RATE)


def test_an_utterance_whose_source_does_not_answer_is_skipped(monkeypatch, never):
    monkeypatch.setattr(audio, "TIMEOUT_S", 0.2)
    slow = utterance(HeldAudio("h", 0, never))
    data = Dataset("d", "classification", "label", (slow,))
    _, [skipped] = audio.probe_all(data, 1)
    assert skipped.reason == "expected audio, got no answer in 0.2 s; check the disk or the file"


def test_the_cache_identifies_audio_by_its_content(tmp_path):
    content = encoded(noise(1000))
    (tmp_path / "alone.wav").write_bytes(content)
    places = [
        {"path": tmp_path / "alone.wav"},
        {"path": Path("a"), "audio": region_in(tmp_path, content, b"abc")},
        {"path": Path("b"), "audio": held(content)},
    ]
    cache = Cache(CacheOptions(str(tmp_path / "cache")))
    items = [Item(Utterance("u", **place), 1.0, 0) for place in places]
    assert len({cache.item_key(item) for item in items}) == 1
    assert all(cache.unchanged(item.utterance) for item in items)
    other = HeldAudio("h", 1, lambda _: (noise(10), RATE))
    assert cache.item_key(Item(utterance(other), 1.0, 0)) != cache.item_key(items[0])
    assert set(cache.digests(items)) == {item.utterance.location for item in items[:2]}  # audio in memory is sent whole
    region_in(tmp_path, content + b"more", b"abcd")
    assert [cache.unchanged(item.utterance) for item in items] == [True, False, True]


def test_the_stamp_of_a_region_is_that_of_its_file(tmp_path):
    region = region_in(tmp_path, encoded(noise(1000)))
    assert region.stamp() == stamp_of(region.file)


def test_the_location_of_audio_does_not_change_the_fingerprint():
    def fingerprint_with(**place):
        return Dataset("d", "classification", "label", (Utterance("u", label="a", **place),)).fingerprint()

    assert fingerprint_with(path=Path("a.wav")) == fingerprint_with(path=Path("b"), audio=held(b"x"))


def test_only_the_stretch_is_read(tmp_path):
    region = region_in(tmp_path, encoded(noise(60 * RATE), subtype="PCM_16"))
    taken = []
    opened = region.open()

    class Counting:
        file = None

        def open(self):
            class Stream(io.BufferedReader):
                def read(self, size=-1):
                    taken.append(size)
                    return super().read(size)

            return Stream(opened.detach())

    decode(utterance(Counting(), start=30, end=31), RATE)
    assert sum(taken) < 3 * 2 * RATE


def test_a_path_is_opened_as_a_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(noise(1000)))
    with as_file(tmp_path / "a.wav") as file:
        assert file.read(4) == b"RIFF"
