"""Small speech-like data for every test: no network, no pre-trained weights."""

import csv
import functools
import gc
import io
import itertools
import json
import os
import signal
import time
from pathlib import Path

# Small models on several threads spend their time waiting for each other. Set this before NumPy and torch are imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Ray ends workers if other programs use the machine's memory or keep it busy.
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import soundfile  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

import processes  # noqa: E402
import skips  # noqa: E402

# The results depend neither on the machine's speed nor on chance: examples have no deadline, and are the same in every
# run. `--hypothesis-profile explore` searches for new ones.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, database=None, **_ALWAYS)
settings.register_profile("explore", **_ALWAYS)
settings.load_profile("same")

os.fsync = lambda _: None  # files of tests need not outlive the machine

RATE = 16_000
TONES_HZ = {"low": 200.0, "middle": 500.0, "high": 1400.0}


def pytest_configure(config):
    """Report skipped tests at the end of a run, and provide processes that start quickly."""
    for plugin in (skips, processes):
        config.pluginmanager.register(plugin, plugin.__name__)


SLOW = (
    "docs/test_blocks.py",
    "benchmarks/test_study.py",
    "benchmarks/test_costs.py",
    "benchmarks/test_evidence.py",
    "end_to_end/test_cli.py",
    "end_to_end/test_validate.py",
    "unit/ranking/test_early_stopping.py",
    "unit/encoders/test_pack.py",
    "end_to_end/test_ray.py",
    "unit/engines/test_cluster.py",
    "unit/engines/test_engines.py",
    "browser/test_live.py",
    "browser/test_report.py",
    "unit/integrations/finetune/test_script.py",
    "unit/test_cache.py",
    "unit/report/page/test_document.py",
    "end_to_end/test_formats.py",
    "fuzz/test_limits.py",
    "unit/groundtruth/test_backbones.py",
)
"""The slowest files, the slowest first. They start first, so that both workers of `make test` end together."""


def pytest_collection_modifyitems(items):
    """Put slow files first, and keep the order of all others."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish():
    """Keep the garbage collector from what is imported by now."""
    gc.collect()
    gc.freeze()


def tone(frequency_hz, seconds, seed):
    """Return a noisy tone: mono float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency_hz * t) + 0.05 * rng.normal(size=len(t))).astype(np.float32)


def _hear_interrupts():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hear_interrupts():
    """Return a `preexec_fn` that restores SIGINT: shells let background processes ignore it, which is inherited."""
    return _hear_interrupts


WAITED_S = 200.0
"""Maximum wait in seconds, sufficient on a busy machine; less than the limit of a test."""


@pytest.fixture
def wait_until():
    """Return a function that waits until a condition is true."""

    def wait(is_so):
        end = time.monotonic() + WAITED_S
        while not is_so():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """Yield new folders; those of pytest are numbered anew for each test."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_cache(caches, monkeypatch):
    """Set a cache folder for each test, apart from the user's and from other tests'."""
    folder = next(caches)
    folder.mkdir()
    monkeypatch.setenv("VOXRANK_CACHE", str(folder))
    return folder


@pytest.fixture
def write_wav():
    def write(path, samples, rate=RATE, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **options)
        return path

    return write


def _wav(samples):
    """Return the bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


@functools.cache
def _tone_files():
    """Return (name, label, speaker, content) of each tone, computed once for all tests."""
    files = []
    for number in range(36):
        label = list(TONES_HZ)[number % 3]
        samples = tone(TONES_HZ[label], 0.2 + 0.01 * (number % 7), seed=number)
        files.append((f"clips/{label}-{number}.wav", label, f"s{number // 3 % 4}", _wav(samples)))
    return files


@pytest.fixture
def tones(tmp_path):
    """Write a manifest of 36 noisy tones in three classes by four speakers, of mixed lengths."""
    rows = []
    (tmp_path / "clips").mkdir()
    for *row, content in _tone_files():
        (tmp_path / row[0]).write_bytes(content)
        rows.append(row)
    manifest = tmp_path / "tones.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker"), *rows])
    return manifest


@pytest.fixture
def fakes(monkeypatch):
    """Provide encoders with different random weights: "fake-a" of three layers, "fake-b" of two, "fake-c" of one."""
    import voxrank.encoders.pool
    from voxrank.testing.encoders import FakeEncoder

    def load(spec, options):
        encoder = FakeEncoder(seed=ord(spec[-1]), n_layers={"b": 2, "c": 1}.get(spec[-1], 3))
        encoder.spec = spec
        return encoder

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)


@pytest.fixture
def passes(monkeypatch):
    """Return a list to which every window in a forward pass of a fake encoder is added."""
    from voxrank.testing.encoders import FakeEncoder

    counted = []
    forward = FakeEncoder._forward

    def counting(self, windows):
        counted.extend(windows)
        yield from forward(self, windows)

    monkeypatch.setattr(FakeEncoder, "_forward", counting)
    return counted


@pytest.fixture
def kept(tmp_path):
    """Return options of a cache in a separate folder."""
    from voxrank.config import CacheOptions

    return CacheOptions(str(tmp_path / "kept"))


LETTERS_HZ = {"a": 300.0, "b": 620.0, "c": 1150.0, "d": 2000.0, "e": 3400.0}


def say(words, rng):
    """Return samples and (label, start, end) of letters: tones of 80 to 200 ms, with silence between words."""
    parts, times, clock = [], [], 0.0

    def add(samples):
        nonlocal clock
        parts.append(samples)
        clock += len(samples) / RATE

    add(np.zeros(round(0.12 * RATE)))
    for word in words:
        for letter in word:
            length = round(rng.uniform(0.08, 0.2) * RATE)
            start = clock
            add(0.3 * np.sin(2 * np.pi * LETTERS_HZ[letter] * np.arange(length) / RATE))
            times.append((letter, start, clock))
        add(np.zeros(round(rng.uniform(0.12, 0.2) * RATE)))
    samples = np.concatenate(parts)
    return (samples + 0.003 * rng.normal(size=len(samples))).astype(np.float32), times


@functools.cache
def _spelled_files():
    """Return (name, text, segments, speaker, content) of each utterance that spells letters."""
    rng = np.random.default_rng(7)
    files = []
    for number in range(40):
        words = ["".join(rng.choice(list(LETTERS_HZ), rng.integers(2, 5))) for _ in range(rng.integers(1, 4))]
        samples, times = say(words, rng)
        segments = json.dumps([[round(start, 6), round(end, 6), label] for label, start, end in times])
        files.append((f"clips/u{number}.wav", " ".join(words), segments, f"s{number % 4}", _wav(samples)))
    return files


@pytest.fixture
def spelled(tmp_path):
    """Write a manifest of 40 utterances of two speakers that say letters as tones, with text and exact segments."""
    rows = []
    (tmp_path / "clips").mkdir()
    for *row, content in _spelled_files():
        (tmp_path / row[0]).write_bytes(content)
        rows.append(row)
    manifest = tmp_path / "spelled.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "text", "segments", "speaker"), *rows])
    return manifest


@pytest.fixture(scope="session")
def made():
    """Return the module that makes rankings and validations for tests of reports: `make_ranking`, `make_validation`."""
    import made

    return made
