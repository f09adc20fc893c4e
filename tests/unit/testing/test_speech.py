"""The demo's speech matches its labels."""

import csv
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from voxrank.errors import OptionError
from voxrank.testing import speech


def test_words_voices_pitch_and_rate_change_the_speech():
    def fresh(*args, **options):
        return speech.Synthesiser().speak(*args, **options)

    yes = fresh("yes")
    assert 0.2 < len(yes) / speech.Synthesiser().sample_rate < 1.0
    assert np.abs(yes).max() > 0.1
    for other in (fresh("no"), fresh("yes", "en+f2"), fresh("yes", pitch=90)):
        assert not np.array_equal(other, yes)
    np.testing.assert_array_equal(fresh("yes"), yes)
    assert len(fresh("yes", rate_wpm=90)) > 1.3 * len(yes)


@pytest.mark.parametrize("voice", ["xx-nonsense", "en+nonsense"])
def test_an_unknown_voice_is_refused(voice):
    synthesiser = speech.Synthesiser()
    with pytest.raises(OptionError, match=rf"expected a voice of eSpeak NG such as en-us or en\+f2, got '{voice[:2]}"):
        synthesiser.speak("yes", voice)


def test_every_demo_voice_sounds_different():
    synthesiser = speech.Synthesiser()
    spoken = {voice: synthesiser.speak("left", voice) for voice in speech.DEMO_VOICES}
    assert all(len(samples) > 0.15 * synthesiser.sample_rate for samples in spoken.values())
    assert len({samples.tobytes() for samples in spoken.values()}) == len(speech.DEMO_VOICES)


def test_synthesis_without_the_extra_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(
        OptionError, match=r"speech synthesis needs espeakng-loader; run: pip install 'voxrank\[demo\]'"
    ):
        speech.Synthesiser()


def test_voices_that_are_missing_do_not_end_the_process(tmp_path):
    """The test uses a separate process, since the library itself would end it from C."""
    code = (
        "import espeakng_loader, voxrank.testing.speech as speech\n"
        f"espeakng_loader.get_data_path = lambda: {str(tmp_path)!r}\n"
        "try: speech.Synthesiser()\n"
        "except speech.OptionError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "eSpeak NG cannot start: its voices are missing; reinstall espeakng-loader\n"


def test_a_corpus_that_is_stopped_leaves_no_partial_file(tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        speech.make_words(tmp_path, words=("go",), voices=("en-us",), takes=1, seed=1)
    assert not list(tmp_path.rglob("*.flac"))
    assert not (tmp_path / "manifest.csv").exists()


def test_the_demo_has_twenty_words_and_twelve_voices():
    assert len(set(speech.DEMO_VOICES)) >= 12
    assert len(set(speech.DEMO_WORDS)) == 20


def test_the_clips_of_a_corpus_are_spoken_as_labelled(tmp_path, monkeypatch):
    spoken = []
    speak = speech.Synthesiser.speak

    def listen(self, text, voice, **options):
        spoken.append((text, voice))
        return speak(self, text, voice, **options)

    monkeypatch.setattr(speech.Synthesiser, "speak", listen)
    voices = ("en-us", "en+f1", "en+m3", "en-029", "en-us+f4")
    manifest = speech.make_words(tmp_path, words=("yes", "no"), voices=voices, takes=2, seed=1)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [(row["label"], row["speaker"]) for row in rows] == spoken
    assert len(rows) == 2 * 5 * 2
    assert {row["speaker"] for row in rows if row["split"] == "train"} == {"en-us"}
    for row in rows:
        samples, rate = soundfile.read(tmp_path / row["path"])
        assert rate == 16_000
        assert 0.05 < np.abs(samples).max() < 1.0


def test_breath_does_not_depend_on_the_time_of_day():
    spoken = speech.Synthesiser().speak("yes", "en-us+f2")
    time.sleep(1.01 - time.time() % 1)  # into the next second
    np.testing.assert_array_equal(speech.Synthesiser().speak("yes", "en-us+f2"), spoken)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    def corpus(name, seed):
        manifest = speech.make_words(tmp_path / name, words=("go",), voices=("en-us",), takes=2, seed=seed)
        return [p.read_bytes() for p in sorted((manifest.parent / "clips").iterdir())]

    first = corpus("a", 1)
    assert first == corpus("b", 1)
    assert first != corpus("c", 2)
    assert first[0] != first[1]


def test_timed_speech_gives_its_phones_and_their_times():
    spoken, phones = speech.Synthesiser(timed=True).speak_timed("The cat sat. Go!", "en-us")
    assert [p.name for p in phones if p.name] == ["ð", "ə", "k", "æ", "t", "s", "æ", "t", "ɡ", "oʊ"]
    assert [p.name for p in phones if p.new_word and p.name] == ["ð", "k", "s", "ɡ"]
    assert any(not p.name for p in phones)
    times = [(p.start, p.end) for p in phones]
    assert all(start <= end for start, end in times)
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]
    assert times[-1][1] == pytest.approx(len(spoken) / 22_050)


def test_timed_speech_equals_plain_speech():
    timed, plain = speech.Synthesiser(timed=True), speech.Synthesiser()
    np.testing.assert_array_equal(timed.speak("Nine hundred.", "de"), plain.speak("Nine hundred.", "de"))
    assert not plain.speak_timed("Nine.", "de")[1]
