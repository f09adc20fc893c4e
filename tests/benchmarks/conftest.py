"""Benchmarks in small: synthetic recordings, a small random model, and scripts that write to a temporary folder."""

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf

import hf_models
from loading import load_file

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
MODULES = {path.stem for path in BENCHMARKS.glob("*.py")} | {"study"}
RATE = 16_000
DIGIT_SPEAKERS = ("george", "jackson", "nicolas", "yweweler", "lucas", "theo")
WORDS = ("cancel", "close", "open", "stop")
WORD_SPEAKERS = {"s1": "train", "s2": "train", "s3": "train", "s4": "val", "s5": "test", "s6": "test"}
PROMPTS = (
    "activated",
    "added",
    "after the tone",
    "all agents are busy",
    "and",
    "at the beep",
    "call me",
    "goodbye now",
)


def speech(number, pitch_hz, seconds=0.35):
    """Return a tone about this pitch; its exact pitch, loudness and noise differ by number."""
    rng = np.random.default_rng([number, round(pitch_hz)])
    pitch_hz *= 1 + 0.3 * rng.normal()
    times = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * pitch_hz * times) * (0.2 + 0.1 * np.sin(9 * times + number))
    return (wave + 0.02 * rng.normal(size=len(times))).astype(np.float32)


def write_set(folder, header, rows):
    """Write a manifest and its clips; each row begins with a path, and ends with the samples."""
    for row in rows:
        (folder / row[0]).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / row[0], row[-1], RATE)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(row[:-1] for row in rows)])


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Write small sets with the names, columns and splits of the recorded speech; return their folder."""
    folder = tmp_path_factory.mktemp("recordings")
    digits = [
        (f"clips/{digit}_{speaker}_{take}.flac", digit, speaker, speech(place + 10 * take, 200 + 150 * digit))
        for digit in range(4)
        for place, speaker in enumerate(DIGIT_SPEAKERS)
        for take in range(3)
    ]
    words = [
        (
            f"clips/{word}/{number}_{speaker}_{take}.flac",
            word,
            speaker,
            split,
            speech(10 * place + take, 250 + 170 * number),
        )
        for number, word in enumerate(WORDS)
        for place, (speaker, split) in enumerate(WORD_SPEAKERS.items())
        for take in range(3)
    ]
    prompts = [
        (f"clips/{number}.flac", f"{text}.", speech(number, 180 + 40 * number, 0.25 * len(text.split()) + 0.6))
        for number, text in enumerate(PROMPTS * 3)
    ]
    write_set(folder / "fsdd", ("path", "label", "speaker"), digits)
    write_set(folder / "arabic-commands", ("path", "label", "speaker", "split"), words)
    write_set(folder / "asterisk-en", ("path", "text"), prompts)
    return folder


@pytest.fixture(scope="session")
def whisper(recordings):
    """Save a random Whisper of three small blocks beside the recordings; return its name there."""
    torch.manual_seed(0)
    model = tf.WhisperForConditionalGeneration(hf_models.whisper_config())
    hf_models.save(recordings / "tiny-whisper", model, tf.WhisperFeatureExtractor())
    return "tiny-whisper"


class Bench:
    """The scripts of `benchmarks`, with their folders elsewhere.

    Attributes:
        results: folder that receives their JSON.
        made: folder of what they compute once.
    """

    def __init__(self, folder, monkeypatch):
        self.results, self.made = folder / "results", folder / "made"
        self._monkeypatch = monkeypatch
        self._tables = load_file(ROOT / "docs" / "tables.py")

    def script(self, name, **small):
        """Import a script, and set constants of it."""
        module = importlib.import_module(name)
        for constant, value in small.items():
            self._monkeypatch.setattr(module, constant, value)
        return module

    def result(self, name):
        """Return the JSON that a script wrote."""
        return json.loads((self.results / f"{name}.json").read_text(encoding="utf-8"))

    def tables(self, source):
        """Return the tables of the documentation that are made of the results, by name."""
        self._monkeypatch.setattr(self._tables, "RESULTS", self.results)
        found = self._tables.read(source)
        return {name: make(found) for name, (from_, make) in self._tables.TABLES.items() if from_ == source}


def forget_scripts():
    """Remove the scripts from the imported modules."""
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        del sys.modules[name]


@pytest.fixture
def bench(tmp_path, monkeypatch, recordings, whisper, run_python):
    """Yield the scripts, imported anew: two small models, synthetic recordings, and quick processes of their own."""
    import voxrank.encoders.registry
    import voxrank.scores.registry

    threads = torch.get_num_threads()
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in MODULES}
    forget_scripts()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(recordings)
    monkeypatch.setattr(voxrank.encoders.registry, "_LOADERS", dict(voxrank.encoders.registry._LOADERS))
    monkeypatch.setattr(voxrank.scores.registry, "_SCORES", dict(voxrank.scores.registry._SCORES))
    monkeypatch.setenv("VOXRANK_DATA", str(recordings))
    monkeypatch.setenv("VOXRANK_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("VOXRANK_MADE", str(tmp_path / "made"))

    def in_own_process(*words, folder=None):
        return run_python(*words, cwd=folder, check=True).stdout

    bench = Bench(tmp_path, monkeypatch)
    bench.script("common", MODELS=(whisper, "logmel"), in_own_process=in_own_process)
    yield bench
    torch.set_num_threads(threads)
    forget_scripts()
    sys.modules.update(before)
