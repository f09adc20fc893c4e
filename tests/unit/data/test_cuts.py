"""Lhotse's cuts, written by lhotse: stretches of files are read directly, and lhotse computes everything else."""

import gzip
import json
import pickle

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.supervision import AlignmentItem

import voxrank
import voxrank._support.packages
from voxrank.data.audio import decode, probe
from voxrank.data.cuts import CutAudio
from voxrank.data.sources import HeldAudio
from voxrank.errors import DataError, UtteranceError

RATE = 16_000


@pytest.fixture
def cuts(clips):
    """Return the tones as cuts, with labels in a custom field."""
    recordings = RecordingSet.from_recordings(Recording.from_file(c.path, recording_id=c.name) for c in clips)
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(
            f"{c.name}-s", c.name, 0, len(c.samples) / c.rate, speaker=c.speaker, custom={"emotion": c.label}
        )
        for c in clips
    )
    return CutSet.from_manifests(recordings, supervisions)


@pytest.fixture
def long(tmp_path):
    """Return a cut of four seconds with two supervisions, the first aligned, and its samples."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, RATE, subtype="FLOAT")
    recording = Recording.from_file(tmp_path / "long.wav")
    phones = [AlignmentItem("h", 1.5, 0.25), AlignmentItem("i", 1.75, 0.25)]
    words = [AlignmentItem("hi", 1.5, 0.5)]
    supervisions = [
        SupervisionSegment(
            *("a", "long", 1.5, 1.0),
            text="hi",
            speaker="A",
            language="en",
            gender="F",
            alignment={"phone": phones, "word": words},
        ),
        SupervisionSegment("b", "long", 3.0, 0.5, text="ho", speaker="B", gender="M"),
    ]
    cut = CutSet.from_manifests(RecordingSet.from_recordings([recording]), SupervisionSet.from_segments(supervisions))[
        0
    ]
    return cut, samples


def saved(folder, *cuts, name="cuts.jsonl.gz"):
    CutSet.from_cuts(cuts).to_file(folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_a_file_of_cuts_is_ranked_as_the_manifest(tmp_path, cuts, ranked_as_tones, name):
    cuts.to_file(tmp_path / name)
    ranked_as_tones(tmp_path / name)


def test_a_cut_set_is_ranked_as_the_manifest(cuts, ranked_as_tones):
    ranked_as_tones(cuts)


def test_padded_cuts_equal_those_of_lhotse_after_pickling(tmp_path, cuts, clips):
    path = tmp_path / "padded.jsonl"
    cuts.pad(duration=0.5).to_file(path)
    data = voxrank.read_dataset(path)
    assert (data.format, data.target, len(data.classes)) == ("Lhotse cuts", "label", 3)
    assert data.notes == ("label is the column 'emotion'",)
    for utterance, clip in zip(data.utterances, clips, strict=True):
        sent = pickle.loads(pickle.dumps(utterance))
        assert isinstance(sent.audio, CutAudio)
        assert sent.audio.file == clip.path
        expected = np.pad(clip.samples, (0, RATE // 2 - len(clip.samples)))
        np.testing.assert_allclose(decode(sent, RATE), expected, atol=1e-4)  # lhotse pads with noise of -100 dB


def test_each_of_several_supervisions_is_an_utterance(tmp_path, long):
    cut, samples = long
    data = voxrank.read_dataset(saved(tmp_path, cut))
    assert data.task == "transcription"
    first, second = data.utterances
    assert (first.id, first.text, first.speaker, first.language) == ("long-0/a", "hi", "A", "en")
    assert (second.id, second.text, second.speaker) == ("long-0/b", "ho", "B")
    np.testing.assert_array_equal(decode(first, RATE), samples[24_000:40_000])
    np.testing.assert_array_equal(decode(second, RATE), samples[48_000:56_000])
    assert first.audio is None
    assert voxrank.read_dataset(saved(tmp_path, cut), target="gender").classes == ("F", "M")


def test_alignments_are_segments_in_seconds_of_the_file(tmp_path, long):
    cut, _ = long
    only = cut.trim_to_supervisions(keep_overlapping=False)[0]
    path = saved(tmp_path, only)
    [utterance] = voxrank.read_dataset(path, target="segments").utterances
    assert [(s.label, s.start, s.end) for s in utterance.segments] == [("h", 1.5, 1.75), ("i", 1.75, 2.0)]
    [utterance] = voxrank.read_dataset(path, tier="word").utterances
    assert [(s.label, s.start, s.end) for s in utterance.segments] == [("hi", 1.5, 2.0)]
    assert voxrank.read_dataset(path).task == "transcription"
    with pytest.raises(DataError, match="there is no tier 'syllable' in the alignment of a; known: phone, word"):
        voxrank.read_dataset(path, tier="syllable")
    with pytest.raises(DataError, match="both a column, 'text', and a tier were named"):
        voxrank.read_dataset(path, tier="word", target="text")


@pytest.mark.parametrize("padded", [False, True], ids=["stretch of a file", "mixed"])
def test_only_bad_items_of_an_alignment_are_left_out(tmp_path, long, padded):
    cut, _ = long
    only = cut.trim_to_supervisions(keep_overlapping=False)[0]
    items = only.supervisions[0].alignment["phone"]
    items += [AlignmentItem("x", 2.25, 0.0), AlignmentItem("y", float("nan"), 0.1), AlignmentItem("i", 1.9999, 0.1)]
    only = only.pad(duration=1.75, direction="left") if padded else only
    data = voxrank.read_dataset(saved(tmp_path, only), target="segments")
    [utterance] = data.utterances
    assert [s.label for s in utterance.segments] == ["h", "i", "i"]
    empty, unusable = data.notes
    assert empty.startswith("1 segment of zero length is left out; the first: segments, segment 3: ")
    assert unusable.startswith("1 segment without usable times or label is left out; the first: segments, segment 4: ")


def test_alignments_of_mixed_cuts_are_in_seconds_of_the_cut(tmp_path, long):
    cut, samples = long
    only = cut.trim_to_supervisions(keep_overlapping=False)[0]
    mixed = only.pad(duration=1.75, direction="left")  # 0.75 s before
    [utterance] = voxrank.read_dataset(saved(tmp_path, mixed), target="segments").utterances
    assert [(s.label, s.start, s.end) for s in utterance.segments] == [("h", 0.75, 1.0), ("i", 1.0, 1.25)]
    np.testing.assert_allclose(decode(utterance, RATE)[12_000:], samples[24_000:40_000], atol=1e-4)


def test_augmented_cuts_equal_those_of_lhotse(tmp_path, long):
    cut, _ = long
    faster = cut.perturb_speed(1.1)
    data = voxrank.read_dataset(saved(tmp_path, faster), split="all")
    expected = faster.trim_to_supervisions(keep_overlapping=False)[0].load_audio()[0]
    np.testing.assert_array_equal(decode(data.utterances[0], RATE), expected)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_cut_of_one_channel_gives_that_channel(tmp_path, channel):
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (RATE, 2)).astype(np.float32)
    soundfile.write(tmp_path / "two.wav", samples, RATE, subtype="FLOAT")
    cut = MonoCut(
        "c",
        0,
        1.0,
        channel,
        recording=Recording.from_file(tmp_path / "two.wav"),
        supervisions=[SupervisionSegment("s", "two", 0, 1, channel=channel, text="x")],
    )
    [utterance] = voxrank.read_dataset(saved(tmp_path, cut)).utterances
    np.testing.assert_array_equal(decode(utterance, RATE), samples[:, channel])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # lhotse leaves the file open
def test_audio_in_memory_is_pickled_with_the_utterance(long):
    cut, samples = long
    data = voxrank.read_dataset(CutSet.from_cuts([cut.move_to_memory()]))
    for utterance in (data.utterances[0], pickle.loads(pickle.dumps(data.utterances[0]))):
        assert isinstance(utterance.audio, HeldAudio)
        np.testing.assert_allclose(decode(utterance, RATE), samples[24_000:40_000], atol=1e-4)


@pytest.mark.parametrize("kind", ["command", "url", "shar"])
def test_commands_and_addresses_are_never_opened(tmp_path, long, kind):
    cut, _ = long
    ran = tmp_path / "ran"
    line = cut.pad(duration=9).to_dict()
    noise = json.loads(json.dumps(line["tracks"][0]["cut"]["recording"]).replace('"file"', f'"{kind}"'))
    noise["sources"][0]["source"] = f"touch {ran}"
    for place in ("recording", "custom"):
        content = json.loads(json.dumps(line))
        content["tracks"][0]["cut"][place] = noise if place == "recording" else {"rir": noise}
        (tmp_path / "m.jsonl").write_text(json.dumps(content) + "\n")
        with pytest.raises(DataError, match=rf"got one of the type '{kind}', which is not opened; write it to a file"):
            voxrank.read_dataset(tmp_path / "m.jsonl")
        with pytest.raises(UtteranceError, match="which is not opened"):  # nor from a serialised cut
            CutAudio(json.dumps(content)).open()
    assert not ran.exists()


def test_addresses_given_as_files_are_refused(tmp_path, long):
    line = long[0].to_dict()
    line["recording"]["sources"][0]["source"] = "https://example.org/a.wav"
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=r"got the address https://example.org/a.wav; download it"):
        voxrank.read_dataset(tmp_path / "m.jsonl")


def test_only_damaged_lines_are_skipped(tmp_path, cuts):
    path = tmp_path / "cuts.jsonl"
    cuts.to_file(path)
    lines = path.read_text().splitlines()
    lines[3:5] = ["{", '{"type": "MonoCut", "id": 3}']
    content = json.loads(lines[7])
    del content["recording"]
    lines[7] = json.dumps(content)
    path.write_text("\n".join(lines))
    data = voxrank.read_dataset(path)
    assert len(data) == 33
    assert [s.reason.partition(";")[0][:60] for s in data.skipped] == [
        "expected a JSON object, got text that is not JSON",
        "expected a Lhotse cut, got TypeError: MonoCut.__init__() mis",
        "expected a cut with a recording, got one without audio",
    ]


def test_relative_paths_of_recordings_start_at_the_file_of_cuts(tmp_path, cuts, clips, monkeypatch):
    path = tmp_path / "cuts.jsonl"
    cuts.to_file(path)
    path.write_text(path.read_text().replace(f"{tmp_path}/", ""))
    monkeypatch.chdir("/")
    assert [u.path for u in voxrank.read_dataset(path).utterances] == [c.path for c in clips]


def test_cuts_are_read_one_after_another(tmp_path, cuts, monkeypatch):
    """No more than one line is parsed ahead."""
    path = tmp_path / "cuts.jsonl.gz"
    cuts.to_file(path)
    with gzip.open(path, "rt") as file:
        assert sum(1 for _ in file) == 36
    alive, most = [0], [0]
    from lhotse import serialization

    made = serialization.deserialize_item

    class Counted:
        def __init__(self, cut):
            self.cut = cut
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __getattr__(self, name):
            return getattr(self.__dict__["cut"], name)

        def __del__(self):
            alive[0] -= 1

    monkeypatch.setattr(serialization, "deserialize_item", lambda content: Counted(made(content)))
    assert len(voxrank.read_dataset(path)) == 36
    assert most[0] <= 3


def test_a_cut_set_that_repeats_for_ever_is_refused(cuts):
    with pytest.raises(DataError, match=r"expected a CutSet that ends, got one that repeats for ever"):
        voxrank.read_dataset(cuts.repeat())


def test_a_cut_of_a_day_is_refused_before_its_audio_is_computed(tmp_path, long):
    path = saved(tmp_path, long[0].pad(duration=86_400.0))
    [first, _] = voxrank.read_dataset(path).utterances
    assert probe(first).seconds == pytest.approx(1.0)  # trimmed to the supervision
    only = MonoCut("c", 0, 1.0, 0, recording=long[0].recording).pad(duration=86_400.0)
    only.tracks[0].cut.supervisions.append(SupervisionSegment("s", "long", 0, 1, text="x"))
    [utterance] = voxrank.read_dataset(saved(tmp_path, only)).utterances
    with pytest.raises(UtteranceError, match="expected a cut of at most 6 h, got 86400 s"):
        probe(utterance)


def test_an_error_names_the_extra_when_lhotse_is_missing(tmp_path, cuts, monkeypatch):
    cuts.to_file(tmp_path / "cuts.jsonl")
    monkeypatch.setattr(voxrank._support.packages, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs the extra lhotse; run: pip install 'voxrank\[lhotse\]'"):
        voxrank.read_dataset(tmp_path / "cuts.jsonl")
