"""Checks of the samples: silence, channels that cancel, integers as floats, clipping."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import voxrank
from voxrank.alignment.preparation import Unaligned, prepare, prepare_source
from voxrank.config import ExtractionOptions, SequenceOptions
from voxrank.data import levels, listening
from voxrank.data.audio import Probed, decode, probe
from voxrank.data.levels import Treatment, clipped_share, decide, measure, read_blocks
from voxrank.data.listening import check_audio, spread_sample
from voxrank.data.utterance import Dataset, Utterance
from voxrank.errors import DataError, UtteranceError

RATE = 16_000


def speech(seconds=1.0, seed=0, frequency_hz=300):
    rng = np.random.default_rng(seed)
    return 0.2 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * RATE)) / RATE) + 0.02 * rng.normal(
        size=round(seconds * RATE)
    )


@pytest.fixture
def decoded(tmp_path):
    """Return a function that decodes samples after they were written to a file."""

    def decoded(samples, name="a.wav", rate=RATE, start=0.0, end=None, **options):
        soundfile.write(tmp_path / name, samples, rate, **options)
        levels._TREATMENTS._values.clear()
        return decode(Utterance(name, tmp_path / name, start, end), rate)

    return decoded


SILENT = {
    "zeros": (np.zeros(RATE), {}),
    "zeros in two channels": (np.zeros((RATE, 2)), {}),
    "zeros as FLAC": (np.zeros(RATE), {"format": "FLAC"}),
    "zeros as MP3": (np.zeros(RATE), {"format": "MP3"}),
    "zeros as Opus": (np.zeros(RATE), {"format": "OGG", "subtype": "OPUS"}),
    "zeros in mu-law": (np.zeros(RATE), {"subtype": "ULAW"}),
    "zeros in A-law": (np.zeros(RATE), {"subtype": "ALAW"}),
    "zeros in GSM 6.10": (np.zeros(RATE), {"subtype": "GSM610"}),
    "zeros in ADPCM": (np.zeros(RATE), {"subtype": "IMA_ADPCM"}),
    "zeros of 8 bits": (np.zeros(RATE), {"subtype": "PCM_U8"}),
    "zeros as floats": (np.zeros(RATE), {"subtype": "FLOAT"}),
    "a constant": (np.full(RATE, 0.3), {}),
    "full scale": (np.full(RATE, -1.0), {}),
    "dither": (np.random.default_rng(0).integers(-1, 2, RATE).astype(np.int16), {}),
    "almost nothing": (1e-8 * speech(), {"subtype": "FLOAT"}),
    "denormal numbers": (np.full(RATE, 1e-40), {"subtype": "FLOAT"}),
}


@pytest.mark.parametrize(("samples", "options"), SILENT.values(), ids=SILENT)
def test_a_silent_recording_is_refused(decoded, samples, options):
    with pytest.raises(UtteranceError, match=r"expected speech, got a silent recording \(peak .*\); check the record"):
        decoded(samples, **options)


def test_the_reason_for_silence_includes_its_level(decoded):
    with pytest.raises(UtteranceError, match=r"\(peak 0, digital silence\)"):
        decoded(np.zeros(RATE))
    with pytest.raises(UtteranceError, match=r"\(peak 1e-08, -160 dB of full scale\)|peak 2\.\de-09, -17\d dB"):
        decoded(1e-8 * speech(), subtype="FLOAT")


QUIET = {
    "two steps of 16 bits": (np.random.default_rng(0).integers(-2, 3, RATE).astype(np.int16), {}),
    "-80 dB": (1e-4 / 0.2 * speech(), {"subtype": "FLOAT"}),
    "a second of speech in a minute of zeros": (np.concatenate([np.zeros(59 * RATE), speech()]), {}),
    "8 bits": (0.05 * speech(), {"subtype": "PCM_U8"}),
    "GSM 6.10": (0.05 * speech(), {"subtype": "GSM610"}),
}


@pytest.mark.parametrize(("samples", "options"), QUIET.values(), ids=QUIET)
def test_a_quiet_recording_is_used(decoded, samples, options):
    assert decoded(samples, **options).any()


def test_only_the_silent_stretch_of_a_recording_is_refused(decoded):
    samples = np.concatenate([speech(), np.zeros(RATE), speech()])
    assert len(decoded(samples, start=0, end=1.5)) == 1.5 * RATE
    with pytest.raises(UtteranceError, match="got a silent recording"):
        decoded(samples, start=1.1, end=1.9)


X, Y, NOISE = speech(), speech(seed=1, frequency_hz=470), np.random.default_rng(5).normal(size=(RATE, 2))
CANCELLING = {
    "opposite": ([X, -X], 0),
    "opposite, one weaker": ([X, -0.9 * X], 0),
    "opposite, one much weaker": ([X, -0.7 * X], 0),
    "opposite with noise": ([X + 0.02 * NOISE[:, 0], -X + 0.02 * NOISE[:, 1]], 0),
    "opposite pairs": ([X, -X, Y, -Y], 0),
    "opposite behind silence": ([0 * X, X, -X], 1),
}


@pytest.mark.parametrize("options", [{"subtype": "FLOAT"}, {"subtype": "PCM_16"}, {"format": "FLAC"}])
@pytest.mark.parametrize(("channels", "expected"), CANCELLING.values(), ids=CANCELLING)
def test_the_first_channel_is_used_where_channels_cancel(decoded, channels, expected, options):
    np.testing.assert_allclose(decoded(np.stack(channels, axis=1), **options), channels[expected], atol=1e-4)


AVERAGED = {
    "the same": [X, X],
    "one silent": [X, 0 * X],
    "the first silent": [0 * X, X],
    "one much weaker": [X, 0.01 * X],
    "one much weaker and opposite": [X, -0.1 * X],
    "two voices": [X, Y],
    "sixteen unrelated ones": list(0.1 * np.random.default_rng(3).normal(size=(16, RATE))),
}


@pytest.mark.parametrize("channels", AVERAGED.values(), ids=AVERAGED)
def test_other_channels_are_averaged(decoded, channels):
    np.testing.assert_allclose(
        decoded(np.stack(channels, axis=1), subtype="FLOAT"), np.mean(channels, axis=0), atol=1e-6
    )


def test_the_channel_is_chosen_for_the_whole_file(decoded):
    """The channels do not cancel in stretches without speech."""
    quiet = 1e-3 * NOISE
    samples = np.concatenate([np.stack([X, -X], axis=1), quiet])
    np.testing.assert_allclose(decoded(samples, start=1, end=2, subtype="FLOAT"), quiet[:, 0], atol=1e-7)


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_integers_as_floats_are_scaled(decoded, bits, subtype):
    samples = decoded(X * 2.0 ** (bits - 1), subtype=subtype)
    np.testing.assert_allclose(samples, X, atol=1e-6)


def test_a_quiet_recording_of_integers_as_floats_is_scaled_too(decoded):
    integers = np.random.default_rng(0).integers(-6, 7, RATE)
    np.testing.assert_allclose(decoded(integers.astype(float), subtype="FLOAT"), integers / 32_768, atol=1e-9)


def test_a_quiet_stretch_of_integers_as_floats_is_scaled_as_the_file(decoded):
    quiet = 1.7e-5 * speech(seed=3) / 0.2
    samples = np.concatenate([X, quiet * 3]) * 32_768
    np.testing.assert_allclose(decoded(samples, start=1, end=2, subtype="FLOAT"), quiet * 3, atol=1e-8)


@pytest.mark.parametrize("peak", [0.01, 0.999, 1.0, 1.3, 4.0])
def test_floats_near_full_scale_are_not_scaled(decoded, peak):
    samples = X / np.abs(X).max() * peak
    np.testing.assert_allclose(decoded(samples, subtype="FLOAT"), samples, rtol=1e-6)


def test_floats_of_minus_one_and_one_are_not_scaled(decoded):
    samples = np.where(np.arange(RATE) // 20 % 2, 1.0, -1.0)
    np.testing.assert_array_equal(decoded(samples, subtype="FLOAT"), samples)


def test_floats_larger_than_32_bit_integers_are_refused(decoded):
    with pytest.raises(
        UtteranceError, match=r"expected float samples from −1 to 1, or integers .* got a peak of 1e\+12"
    ):
        decoded(X / np.abs(X).max() * 1e12, subtype="DOUBLE")


def test_values_outside_of_a_stretch_need_not_be_finite(decoded):
    samples = np.concatenate([X, X]) * 32_768
    samples[100] = np.nan
    samples[200] = np.inf
    np.testing.assert_allclose(decoded(samples, start=1, end=2, subtype="FLOAT"), X, atol=1e-6)


def test_measures_do_not_depend_on_the_size_of_blocks(monkeypatch):
    samples = np.stack([X, -0.8 * X + 0.05 * Y], axis=1).astype(np.float32)
    whole = measure([samples])
    monkeypatch.setattr(levels, "BLOCK_SAMPLES", 1000)
    parts = measure(read_blocks(lambda start, n: samples[start : start + n], RATE, RATE, 2))
    assert parts.powers == pytest.approx(whole.powers)
    assert parts.mixed == pytest.approx(whole.mixed)
    assert (parts.peak, parts.integers) == (whole.peak, whole.integers)


def test_a_long_file_is_measured_by_some_of_its_stretches(decoded, monkeypatch):
    monkeypatch.setattr(levels, "WHOLE_S", 2.0)
    monkeypatch.setattr(levels, "STRETCHES", 4)
    monkeypatch.setattr(levels, "STRETCH_S", 0.2)
    samples = np.tile(np.stack([X, -X], axis=1), (4, 1)) * 32_768
    np.testing.assert_allclose(decoded(samples, start=1, end=2, subtype="FLOAT"), X, atol=1e-6)


def test_the_treatment_of_samples_follows_from_their_levels():
    assert decide(measure([np.full((9, 1), 2.5, dtype=np.float32)]), "FLOAT") == Treatment()
    assert decide(measure([np.full((9, 1), 3000.0, dtype=np.float32)]), "FLOAT") == Treatment(16)
    assert decide(measure([]), "FLOAT") == Treatment()


@pytest.mark.parametrize(("subtype", "gain"), [("PCM_16", 4), ("PCM_U8", 4), ("FLOAT", 4), ("ULAW", 4), ("ALAW", 4)])
def test_clipped_samples_are_counted(tmp_path, subtype, gain):
    def share(samples):
        soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
        read = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)[0]
        return clipped_share(read, Treatment(), subtype)

    loud = np.clip(gain * 2 * X, -1, 1)
    assert share(loud) == pytest.approx(np.mean(np.abs(gain * 2 * X) >= 1), abs=0.02)
    assert share(0.9 * loud) == share(X) == 0


def test_samples_are_clipped_if_one_channel_is_clipped():
    samples = np.stack([np.clip(8 * X, -1, 1), X], axis=1).astype(np.float32)
    assert clipped_share(samples, Treatment(), "FLOAT") > 0.3
    assert clipped_share(samples * 32_768, Treatment(16), "FLOAT") > 0.3


@pytest.fixture
def corpus(tmp_path, write_wav):
    """Return a data set of ten utterances; functions change the samples of some."""

    def corpus(*changes, **options):
        rows = []
        for number in range(10):
            samples = speech(0.3, seed=number)
            if number < len(changes):
                samples = changes[number](samples)
            path = write_wav(tmp_path / f"{number}.wav", samples, **options)
            rows.append(Utterance(f"{number}.wav", path, label="ab"[number % 2], text="a b", speaker=f"s{number % 3}"))
        return Dataset("data", "classification", "label", tuple(rows))

    return corpus


def silent(samples):
    return 0 * samples


def opposite(samples):
    return np.stack([samples, -samples], axis=1)


def clipped(samples):
    return np.clip(20 * samples, -1, 1)


def integers(samples):
    return np.round(samples * 32_768)


def test_each_remark_counts_utterances_and_names_the_first(corpus):
    checked = check_audio(corpus(silent, opposite, clipped, integers, clipped, subtype="FLOAT"), 2)
    assert [one.utterance for one in checked.skipped] == ["0.wav"]
    assert len(checked.usable) == 9
    assert checked.notes == (
        (
            "channels cancel each other and their average is silent, or nearly so; the first channel with sound is "
            "used alone: 1 of 9 utterances, the first 1.wav"
        ),
        (
            "float samples in the range of 16-bit integers are scaled, divided by 32,768: 1 of 9 utterances, the first "
            "3.wav"
        ),
        "recordings are clipped, with more than 1 % of their samples at full scale: 2 of 9 utterances, the first 2.wav",
    )


def test_data_without_faults_gives_no_notes(corpus):
    checked = check_audio(corpus(), 1)
    assert (len(checked.usable), checked.skipped, checked.notes, checked.listened) == (10, (), (), 10)


def test_only_a_sample_of_much_audio_is_checked_and_this_is_noted(corpus, monkeypatch):
    monkeypatch.setattr(listening, "LISTENED_S", 1.0)
    checked = check_audio(corpus(), 1)
    assert checked.listened == 3
    assert checked.notes == (
        (
            "the samples of 3 of 10 utterances were checked, spread over the data; more may be skipped when they are "
            "decoded"
        ),
    )


def test_a_sample_is_spread_evenly_and_independent_of_the_order(corpus):
    probed = [probe(one) for one in corpus().utterances]
    many = [replace(probed[0], utterance=replace(probed[0].utterance, id=str(n))) for n in range(1000)]
    chosen = [int(one.utterance.id) for one in spread_sample(many, 30)]
    assert 99 <= len(chosen) <= 100
    assert chosen == sorted(chosen)
    assert all(5 < sum(n // 200 == part for n in chosen) < 40 for part in range(5))
    assert {one.utterance.id for one in spread_sample(many[::-1], 30)} == set(map(str, chosen))
    assert len(spread_sample(many, 0.1)) == 1
    assert spread_sample(many, 301) == many
    assert spread_sample([], 1) == []
    assert isinstance(many[0], Probed)


def test_every_kind_of_run_gives_the_same_notes(corpus):
    data = corpus(silent, opposite)
    ready = prepare(data, ExtractionOptions(), SequenceOptions())
    assert len(ready.items) == 9
    assert [one.utterance for one in ready.skipped] == ["0.wav"]
    [note] = ready.notes
    spelled = prepare(replace(data, task="transcription", target="text"), ExtractionOptions(), SequenceOptions())
    assert isinstance(spelled, Unaligned)
    assert (list(spelled.notes), [one.utterance for one in spelled.skipped]) == ([note], ["0.wav"])
    assert prepare_source(data, ExtractionOptions()).notes == [f"source data: {note}"]


def test_data_with_only_silence_is_refused(corpus):
    with pytest.raises(
        DataError, match=r"none of the 10 utterances of data can be used; the first: 0\.wav: expected sp"
    ):
        prepare(corpus(*[silent] * 10), ExtractionOptions(), SequenceOptions())


def scores(ranking):
    return {(one.layer, name): s.value for one in ranking.layers for name, s in one.scores.items()}


def test_integers_as_floats_do_not_change_the_ranking(corpus):
    plain = voxrank.rank(corpus(), ["logmel"])
    found = voxrank.rank(corpus(*[lambda x: x * 32_768] * 10, subtype="FLOAT"), ["logmel"])
    assert scores(found) == pytest.approx(scores(plain), abs=0.02)
    assert found.data.used == 10


def test_silence_outside_the_sample_is_skipped_when_it_is_decoded(corpus, monkeypatch, kept):
    monkeypatch.setattr(listening, "LISTENED_S", 0.3)
    data = corpus(*[silent] * 4)
    alone = voxrank.rank(replace(data, utterances=data.utterances[4:]), ["logmel", "mfcc"])
    for _ in range(2):  # the second time from the cache
        found = voxrank.rank(data, ["logmel", "mfcc"], cache=kept)
        assert {one.utterance for one in found.skipped} == {f"{n}.wav" for n in range(4)}
        assert all(one.model is None for one in found.skipped)
        assert found.data.used == 6
        assert scores(found) == pytest.approx(scores(alone), rel=1e-6)


KINDS = {
    "floats": lambda x: x.astype(np.float32),
    "doubles": lambda x: x,
    "half floats": lambda x: x.astype(np.float16),
    "16-bit integers": lambda x: np.round(x * 32_768).astype(np.int16),
    "32-bit integers": lambda x: np.round(x * 2.0**31).astype(np.int32),
    "16-bit integers as floats": lambda x: np.round(x * 32_768).astype(np.float32),
    "tensors": lambda x: torch.from_numpy(x),
    "opposite channels": lambda x: np.stack([x, -x]),
    "opposite channels in columns": lambda x: np.stack([x, -x], axis=1),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_samples_of_objects_are_treated_as_those_of_files(make):
    table = pd.DataFrame({"audio": [make(X)], "sampling_rate": [RATE], "label": ["x"]})
    np.testing.assert_allclose(decode(voxrank.read_dataset(table).utterances[0], RATE), X, atol=2e-4)


def test_silent_samples_of_an_object_are_skipped():
    table = pd.DataFrame({"audio": [X, 0 * X], "sampling_rate": RATE, "label": ["x", "y"]})
    checked = check_audio(voxrank.read_dataset(table), 1)
    assert [(one.utterance, one.reason[:43]) for one in checked.skipped] == [
        ("row 1", "expected speech, got a silent recording (pe")
    ]


def test_stretches_of_an_object_are_scaled_as_the_whole():
    samples = np.concatenate([X, 1e-3 * X]) * 32_768
    table = pd.DataFrame(
        {"audio": [samples] * 2, "sampling_rate": RATE, "label": "x", "start": [0.0, 1.0], "end": [1.0, 2.0]}
    )
    first, second = (decode(one, RATE) for one in voxrank.read_dataset(table).utterances)
    np.testing.assert_allclose(second, 1e-3 * first, atol=1e-8)
