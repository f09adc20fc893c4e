"""A folder like that of a reader of the documentation: speech, manifests, small models under the names of large ones.

A model spec that is a folder is loaded from there, so that `openai/whisper-tiny` needs no network here.
"""

import copy
import csv
import functools
import gc
import io
import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import transformers as tf

import hf_models as models
import nemo_files
import voxrank.data.read
import voxrank.report.plots
from voxrank.data import formats

RATE = 16_000
WORDS = ("yes", "no", "stop", "go")
SPEAKERS = 6
SENTENCES = 18
TAKES = 4
PEOPLE = 4
"""Number of speakers for each row of a manifest that a page shows. A few rows by two speakers are too few to rank and
to hold out."""

HUB = {
    "openai/whisper-tiny": "whisper",
    "openai/whisper-base": "whisper",
    "openai/whisper-small": "whisper",
    "openai/whisper-small.en": "whisper",
    "facebook/hubert-base-ls960": "hubert-layer",
    "facebook/wav2vec2-base": "wav2vec2-group",
    "facebook/wav2vec2-xls-r-300m": "wav2vec2-layer",
    "microsoft/wavlm-base-plus": "wavlm-group",
    "my-hubert": "hubert-layer",
    "my-wav2vec2": "wav2vec2-layer",
    "my-parakeet": "parakeet-rnnt",
}
"""The family of the small model in each folder."""
WINDOW_FRAMES = 150
"""Length of the window of the small Whisper models: 3 s."""
CTC = "facebook/wav2vec2-base-960h"

one_thread = models.one_thread


@pytest.fixture(autouse=True)
def own_readers(monkeypatch):
    """Remove what a page registers when the page ends."""

    monkeypatch.setattr(formats, "_FORMATS", dict(formats._FORMATS))


def tone(name, seconds, seed):
    """Return the sound of a name: a distinct tone in some noise."""
    rng = np.random.default_rng(seed)
    frequency_hz = 200 + zlib.crc32(name.encode()) % 1800
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency_hz * t) + 0.05 * rng.normal(size=len(t))).astype(np.float32)


def spoken(text, seed):
    """Return a transcript as tones, letter by letter, with silence between words."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(RATE // 8, np.float32)]
    for word in text.split():
        parts += [tone(letter, rng.uniform(0.06, 0.12), seed + i) for i, letter in enumerate(word)]
        parts.append(np.zeros(RATE // 10, np.float32))
    samples = np.concatenate(parts)
    return samples + 0.003 * rng.normal(size=len(samples)).astype(np.float32)


def write_audio(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)


def write_manifest(folder, name, text):
    """Write a manifest that a page shows, with several takes of each row, and audio for every row.

    Paths and values to predict differ between takes, and a speaker becomes several.
    """
    shown = list(csv.DictReader(io.StringIO(text), delimiter="\t" if name.endswith(".tsv") else ","))
    rows = [one_take(folder, row, take, len(shown) * take + i) for take in range(TAKES) for i, row in enumerate(shown)]
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, shown[0])
        writer.writeheader()
        writer.writerows(rows)


def one_take(folder, row, take, seed):
    audio = Path(row["path"])
    name = audio.with_name(f"{audio.stem}-{take}.wav").as_posix()
    end = float(row.get("end") or 0)
    whole = " ".join(str(row[column]) for column in row if column not in ("path", "start", "end", "split"))
    samples = spoken(row["text"], seed) if "text" in row else tone(whole, max(0.4 + 0.01 * take, end + 0.1), seed)
    write_audio(folder / name, samples)
    value = {"value": str(float(row["value"]) + 0.07 * take)} if "value" in row else {}
    speaker = {"speaker": f"{row['speaker']}-{take % PEOPLE}"} if "speaker" in row else {}
    return {**row, "path": name} | value | speaker


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Write the folder; pages get links to its content."""
    folder = tmp_path_factory.mktemp("reader")
    save_models(folder)
    save_data(folder)
    return folder


def save_models(folder):
    for seed, (name, family) in enumerate(HUB.items()):
        model, extractor = models.build(family, seed)
        if family == "whisper":  # with a window that is long enough for the sentences
            model = tf.WhisperForConditionalGeneration(models.whisper_config(max_source_positions=WINDOW_FRAMES))
        if name == "my-wav2vec2":  # with as many blocks as the examples name
            model = tf.Wav2Vec2Model(tf.Wav2Vec2Config(**{**model.config.to_dict(), "num_hidden_layers": 12}))
        models.save(folder / name, model, extractor)
    letters = {letter: n for n, letter in enumerate(["<pad>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"])}
    model, extractor = models.build("wav2vec2-layer", 99)
    config = {**model.config.to_dict(), "vocab_size": len(letters), "pad_token_id": 0}
    models.save(folder / CTC, tf.Wav2Vec2ForCTC(tf.Wav2Vec2Config(**config)), extractor)
    (folder / "vocab.json").write_text(json.dumps(letters))
    tf.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder / CTC)
    save_tokenizer(folder / "my-parakeet")
    shutil.copytree(folder / "openai/whisper-small.en", folder / "distil-whisper/distil-small.en")
    shutil.copy(nemo_files.stored("conformer_rnnt"), folder / "stt_en_conformer_transducer_small.nemo")


def save_tokenizer(place):
    import tokenizers

    vocabulary = {piece: n for n, piece in enumerate(("▁", *"abcdefghi", "<unk>"))}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tf.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(place)


def save_data(folder):
    """Write `train.csv` and its other names, `transcripts.csv`, `commands/` (a folder of classes), `pretraining/`."""
    rows = []
    for number in range(len(WORDS) * SPEAKERS):
        word, speaker = WORDS[number % len(WORDS)], f"s{number // len(WORDS) % SPEAKERS}"
        samples = tone(word, 0.4 + 0.01 * (number % 7), number)
        for name in (f"clips/{word}-{number}.wav", f"commands/{word}/{number}.wav", f"pretraining/{number}.wav"):
            write_audio(folder / name, samples)
        rows.append((f"clips/{word}-{number}.wav", word, speaker))
    for name in ("train.csv", "commands.csv", "data.csv"):
        save_rows(folder / name, ("path", "label", "speaker"), rows)
    rng = np.random.default_rng(3)
    said = [" ".join(rng.choice(WORDS, 3)) for _ in range(SENTENCES)]
    for number, text in enumerate(said):
        write_audio(folder / f"said/{number}.wav", spoken(text, number))
    spoken_rows = [(f"said/{n}.wav", text, f"s{n % SPEAKERS}") for n, text in enumerate(said)]
    save_rows(folder / "transcripts.csv", ("path", "text", "speaker"), spoken_rows)


def save_rows(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def reader(place, tmp_path, monkeypatch):
    """Return the folder in which a page's commands run: links to all of `place`, and room for new files."""
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path, target_is_directory=path.is_dir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture(scope="session")
def kept_between_pages(tmp_path_factory):
    return tmp_path_factory.mktemp("sketches")


@pytest.fixture(scope="module")
def little_garbage():
    """Exclude imports from garbage collection: the Trainer collects twice per run, longer than these trials take."""
    import accelerate  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import transformers.trainer  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def load_once(place):
    """Load each model of `place` with the same options once, and copy it afterwards."""
    from voxrank.encoders import huggingface

    first = functools.cache(huggingface.load)

    def load(rest, options):
        if place in Path(rest).resolve().parents:
            return copy.deepcopy(first(rest, options))
        return huggingface.load(rest, options)

    return load


@pytest.fixture
def quick(little_garbage, monkeypatch, kept_between_pages, load_once):
    """Shorten slow parts: little training, a demo of few words, stand-ins for the offline pack.

    Pages share a cache, since they rank the same models on the same speech.
    """
    from dataclasses import replace

    import voxrank_pack
    from voxrank.config import TuningOptions
    from voxrank.encoders import registry
    from voxrank.groundtruth import validation
    from voxrank.testing import speech
    from voxrank.testing.encoders import FakeEncoder

    def little(data, models, *, tuning=None, **options):
        asked = tuning or TuningOptions()
        return validate(data, models, tuning=replace(asked, epochs=1, seeds=1), **options)

    def plots(validation, folder):
        for name in ("scatter.svg", "ranks.svg"):  # tests/end_to_end/test_validate.py draws them
            (folder / name).write_text("<svg/>", encoding="utf-8")

    def stand_in(rest, options):
        return FakeEncoder(seed=zlib.crc32(rest.encode()), n_layers=3)

    validate = validation.validate
    monkeypatch.setattr(validation, "validate", little)
    monkeypatch.setattr(voxrank.report.plots, "save_plots", plots)
    monkeypatch.setitem(registry._LOADERS, "pack", stand_in)
    monkeypatch.setitem(registry._LOADERS, registry.HUB, load_once)
    monkeypatch.setattr(voxrank_pack, "installed", lambda: ("whisper-tiny.en", "whisper-base"))
    monkeypatch.setattr(speech, "DEMO_WORDS", speech.DEMO_WORDS[:4])
    monkeypatch.setattr(speech, "DEMO_VOICES", speech.DEMO_VOICES[:10])
    if not os.environ.get("VOXRANK_CACHE", "").startswith(str(kept_between_pages)):
        monkeypatch.setenv("VOXRANK_CACHE", str(kept_between_pages / "cache"))


@pytest.fixture
def manifests():
    """Return a function that writes a manifest of a page."""
    return write_manifest
