"""Decoded samples are the recorded ones, at any rate, in any form."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

import voxrank
import voxrank.extraction.shard
from voxrank._support.threads import within
from voxrank.data import audio
from voxrank.data.audio import decode, probe, resampled_length
from voxrank.data.utterance import Utterance
from voxrank.errors import UtteranceError


def sine(rate, seconds=1.0, frequency_hz=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(rate * seconds)) / rate)


def utterance(path, **offsets):
    return Utterance(id="u", path=Path(path), **offsets)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_the_signal_and_the_promised_length(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(rate), rate, subtype="FLOAT")
    samples = decode(utterance(path), 16_000)
    assert samples.dtype == np.float32
    assert len(samples) == resampled_length(rate, rate, 16_000) == 16_000
    np.testing.assert_allclose(samples[800:-800], sine(16_000)[800:-800], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.flac", None), ("a.aiff", None)]
)
def test_lossless_formats_are_decoded_exactly(tmp_path, name, subtype):
    soundfile.write(tmp_path / name, sine(16_000), 16_000, subtype=subtype)
    np.testing.assert_allclose(decode(utterance(tmp_path / name), 16_000), sine(16_000), atol=1 / 32_767)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_lossy_formats_are_decoded_nearly_as_recorded(tmp_path, name):
    soundfile.write(tmp_path / name, sine(16_000), 16_000)
    samples = decode(utterance(tmp_path / name), 16_000)
    assert np.corrcoef(samples[2000:14_000], sine(16_000)[2000:14_000])[0, 1] > 0.99


def test_channels_are_averaged(tmp_path):
    left, right = sine(16_000), sine(16_000, frequency_hz=700)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(decode(utterance(tmp_path / "a.wav"), 16_000), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_audio_between_offsets_equals_that_part_of_the_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, sine(16_000, seconds=2) * np.linspace(0, 1, 32_000), 16_000)
    whole = decode(utterance(path), 16_000)
    part = decode(utterance(path, start=0.75, end=1.25), 16_000)
    np.testing.assert_allclose(part, whole[12_000:20_000], atol=1e-6)
    assert probe(utterance(path, start=0.75)).seconds == pytest.approx(1.25)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("start", [0.5, 2.5, 5.0])
def test_a_stretch_of_an_mp3_equals_that_part_of_the_decoded_file(tmp_path, rate, start):
    path = tmp_path / "a.mp3"
    t = np.arange(8 * rate) / rate
    chirp = 0.4 * np.sin(2 * np.pi * (200 + 30 * t) * t)  # few bits a frame: frames borrow from those before
    soundfile.write(path, chirp, rate, bitrate_mode="VARIABLE", compression_level=0.8)
    whole = decode(utterance(path), rate)
    part = decode(utterance(path, start=start, end=start + 1), rate)
    np.testing.assert_allclose(part, whole[round(start * rate) :][:rate], atol=1e-4)


def test_a_file_whose_name_is_not_utf8_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.wav")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    with path.open("wb") as file:
        soundfile.write(file, sine(16_000), 16_000, format="WAV")
    assert len(decode(utterance(path), 16_000)) == 16_000


@settings(max_examples=40, deadline=None)
@given(n=st.integers(400, 20_000), rate=st.integers(8_000, 192_000), new=st.sampled_from([8_000, 16_000, 22_050]))
def test_lengths_from_soxr_differ_by_one_sample_at_most(n, rate, new):
    made = soxr.resample(np.zeros(n, dtype=np.float32), rate, new)
    assert abs(len(made) - resampled_length(n, rate, new)) <= 1


def test_an_end_slightly_past_the_file_is_its_end(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(16_000), 16_000)
    assert len(decode(utterance(tmp_path / "a.wav", end=1.04), 16_000)) == 16_000


def test_silence_is_found_by_decoding_and_not_from_the_header(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    assert probe(utterance(tmp_path / "a.wav")).seconds == 1
    with pytest.raises(UtteranceError, match="got a silent recording"):
        decode(utterance(tmp_path / "a.wav"), 16_000)


@given(n=st.integers(1, 10**7), rate=st.integers(8_000, 192_000), new=st.integers(8_000, 48_000))
def test_a_resampled_length_is_rounded_to_the_nearest_sample(n, rate, new):
    assert abs(resampled_length(n, rate, new) - n * new / rate) <= 0.5


def test_an_utterance_on_a_disk_that_does_not_answer_is_skipped(tones, monkeypatch, never):
    """The decoder of one clip does not return; the run continues, and the process can end."""
    slow = voxrank.read_dataset(tones).utterances[0].path
    monkeypatch.setattr(audio, "TIMEOUT_S", 0.3)

    def sleeping(utterance, rate):
        if utterance.path == slow:
            threads.append(threading.current_thread())
            never()
        return audio.decode(utterance, rate)

    threads = []
    monkeypatch.setattr(voxrank.extraction.shard, "decode", sleeping)
    found = voxrank.rank(tones, ["logmel"])
    assert [(thread.is_alive(), thread.daemon) for thread in threads] == [(True, True)]
    [skipped] = found.skipped
    assert skipped.reason == "expected audio, got no answer in 0.3 s; check the disk or the file"
    assert found.data.used == 35


def test_an_utterance_whose_header_is_not_read_in_time_is_skipped(tones, monkeypatch, never):
    slow = voxrank.read_dataset(tones).utterances[3].path
    read_header = audio.read_header
    monkeypatch.setattr(audio, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(audio, "read_header", lambda u: never() if u.path == slow else read_header(u))
    assert [one.reason for one in voxrank.rank(tones, ["logmel"]).skipped] == [
        "expected audio, got no answer in 0.3 s; check the disk or the file"
    ]


def test_within_returns_results_and_raises_errors_of_its_function():
    assert within(600, lambda: 3) == 3
    with pytest.raises(KeyError, match="gone"):
        within(600, lambda: {}["gone"])


def test_within_raises_a_timeout_error_at_its_limit():
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.05 s"):
        within(0.05, over.wait)
    over.set()
