"""Small speech-like data that every test may use: no network, no pre-trained weights."""

import csv
import os

# Small models on several threads spend their time waiting for each other; set before NumPy and torch look.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import soundfile  # noqa: E402

RATE = 16_000
TONES_HZ = {"low": 200.0, "middle": 500.0, "high": 1400.0}


def tone(frequency_hz, seconds, seed):
    """A noisy tone: mono float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency_hz * t) + 0.05 * rng.normal(size=len(t))).astype(np.float32)


@pytest.fixture
def write_wav():
    def write(path, samples, rate=RATE, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **options)
        return path

    return write


@pytest.fixture
def tones(tmp_path, write_wav):
    """A manifest of 36 noisy tones in three classes by four speakers, of mixed lengths."""
    rows = []
    for number in range(36):
        label = list(TONES_HZ)[number % 3]
        speaker = f"s{number // 3 % 4}"
        name = f"clips/{label}-{number}.wav"
        write_wav(tmp_path / name, tone(TONES_HZ[label], 0.2 + 0.01 * (number % 7), seed=number))
        rows.append((name, label, speaker))
    manifest = tmp_path / "tones.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker"), *rows])
    return manifest


@pytest.fixture
def fakes(monkeypatch):
    """Specs "fake-a", "fake-b": encoders that differ by their random weights; the second has two layers."""
    from voxrank.testing.encoders import FakeEncoder

    def load(spec, options):
        encoder = FakeEncoder(seed=ord(spec[-1]), n_layers=2 if spec.endswith("b") else 3)
        encoder.spec = spec
        return encoder

    monkeypatch.setattr("voxrank.preparation.load_encoder", load)
