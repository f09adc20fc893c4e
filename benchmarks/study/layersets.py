"""Utterance means (for phones: segment means) of every layer, for the study of layer advice; each is stored as .npz.

A corpus is audio with several columns of labels. A task is one of these columns, and another column whose values
(speakers, words, voices) occur either in training or in testing. The half of each task was fixed by its name before
anything was run, as in `cells.py`; the halves share no task.

    python benchmarks/study/layersets.py [--corpora NAME …]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from common import DATA, MADE
from sentences import make_sentences
from spoken import make_numbers
from study.cells import CONFORMER, HUBERT, noisy
from study.run import made
from study.speech import TARGETS, spoken
from voxrank.config import EncoderOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Utterance
from voxrank.encoders.base import Encoder
from voxrank.encoders.registry import load_encoder
from voxrank.sketches.moments import sum_runs

FOLDER = MADE / "advice"
MODELS = (
    "pack:whisper-base",
    "pack:whisper-tiny.en",
    CONFORMER,
    HUBERT,
    "pack:ge2e",
    "pack:openwakeword",
    "pack:silero-vad",
)
BATCH = 16
FSDD_SHARE = 2
"""Step in its 3,000 clips: every second one is used."""
PHONE_LANGUAGES = ("en-us", "de", "ru")

Ids = NDArray[np.int64]
Features = dict[int, NDArray[np.float32]]
Stretch = tuple[float, float]


@dataclass(frozen=True)
class Corpus:
    """Rows of audio.

    Attributes:
        utterances: utterances with their audio.
        stretches: for each utterance, its rows in seconds; None if each utterance is one row.
        columns: labels of each row, by column.
    """

    utterances: tuple[Utterance, ...]
    columns: dict[str, list[str]]
    stretches: tuple[tuple[Stretch, ...], ...] | None = None


def arabic() -> Corpus:
    """Return command words of thirty speakers in noise."""
    utterances = read_dataset(DATA / "arabic-commands" / "manifest.csv", target="label", split="all").utterances
    return _whole(noisy(utterances, MADE / "study" / "noisy" / "arabic-commands-5", 5))


def fsdd(snr_db: float) -> Corpus:
    """Return digits of six speakers in noise."""
    utterances = read_dataset(DATA / "fsdd" / "manifest.csv", target="label", split="all").utterances
    chosen = tuple(one for one in utterances if zlib.crc32(one.id.encode()) % FSDD_SHARE == 0)
    return _whole(noisy(chosen, MADE / "study" / "noisy" / f"fsdd-{snr_db:g}", snr_db))


def _whole(utterances: tuple[Utterance, ...]) -> Corpus:
    columns = {
        "label": [str(one.label) for one in utterances],
        "speaker": [str(one.speaker) for one in utterances],
        "clip": [one.id for one in utterances],
    }
    return Corpus(utterances, columns)


def sentences() -> Corpus:
    """Return short sentences of six languages, with the same variants of voices in all."""
    clips = [clip for language in TARGETS for clip in spoken(language)]
    columns = {
        "language": [clip.language for clip in clips],
        "voice": [clip.speaker for clip in clips],
        "variant": [clip.speaker.partition("+")[2] for clip in clips],
        "clip": [Path(clip.path).stem for clip in clips],
    }
    return Corpus(tuple(_utterance(clip.path) for clip in clips), columns)


def numbers() -> Corpus:
    """Return numbers in eight languages, in noise."""
    utterances = read_dataset(make_numbers(MADE / "spoken"), target="label", split="all").utterances
    whole = _whole(utterances)
    return Corpus(utterances, whole.columns | {"variant": [v.partition("+")[2] for v in whole.columns["speaker"]]})


def phones(language: str) -> Corpus:
    """Return phones of sentences, by their exact times."""
    clips = [clip for clip in make_sentences() if clip["language"] == language]
    kept = [[one for one in clip["phones"] if one["name"] and one["end"] > one["start"]] for clip in clips]
    rows = [(clip, phone) for clip, own in zip(clips, kept, strict=True) for phone in own]
    columns = {
        "phone": [phone["name"] for _, phone in rows],
        "voice": [clip["voice"] for clip, _ in rows],
        "clip": [Path(clip["path"]).stem for clip, _ in rows],
    }
    stretches = tuple(tuple((one["start"], one["end"]) for one in own) for own in kept)
    return Corpus(tuple(_utterance(clip["path"]) for clip in clips), columns, stretches)


def _utterance(path: str) -> Utterance:
    return Utterance(id=Path(path).stem, path=Path(path))


CORPORA: dict[str, Callable[[], Corpus]] = {
    "arabic": arabic,
    "fsdd-10": partial(fsdd, 10),
    "fsdd-0": partial(fsdd, 0),
    "sentences": sentences,
    "numbers": numbers,
    **{f"phones-{language}": partial(phones, language) for language in PHONE_LANGUAGES},
}


@dataclass(frozen=True)
class Task:
    """A prediction task on a corpus.

    Attributes:
        name: name of the task.
        corpus: name of the corpus in `CORPORA`.
        label: the column that is predicted.
        unit: the column whose values occur in training or in testing, not in both.
        per_class: training rows of each class, few and many.
    """

    name: str
    corpus: str
    label: str
    unit: str
    per_class: tuple[int, int]

    @property
    def half(self) -> str:
        """The half of the task: development or reporting."""
        digest = hashlib.sha256(f"advice-{self.name}".encode()).digest()
        return "development" if digest[0] % 2 else "reporting"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that support the task: at 12.5 frames a second, a phone may fall between two frames."""
        return tuple(spec for spec in MODELS if self.label != "phone" or spec != "pack:openwakeword")


TASKS = (
    Task("words", "arabic", "label", "speaker", (8, 24)),
    Task("arabic-speakers", "arabic", "speaker", "label", (5, 16)),
    Task("digits", "fsdd-10", "label", "speaker", (16, 48)),
    Task("digit-speakers", "fsdd-0", "speaker", "label", (20, 60)),
    Task("languages", "sentences", "language", "variant", (20, 60)),
    Task("number-languages", "numbers", "label", "variant", (20, 60)),
    *(Task(f"phones-{language}", f"phones-{language}", "phone", "voice", (5, 14)) for language in PHONE_LANGUAGES),
)


def short(spec: str) -> str:
    """Return a model's name in files and tables."""
    return {CONFORMER: "study conformer", HUBERT: "study hubert"}.get(spec, spec.removeprefix("pack:"))


def features_of(spec: str, name: str) -> tuple[Features, dict[str, Any]]:
    """Return the features (rows, D) of a corpus by layer, and facts about the layers; compute them the first time."""
    path = FOLDER / "features" / f"{short(spec).replace(' ', '-')}-{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder = load_encoder(spec, EncoderOptions(device="cpu", whisper_window="fit"))
        corpus = CORPORA[name]()
        whole = corpus.stretches is None
        rows = list(_utterance_means(encoder, corpus) if whole else _stretch_means(encoder, corpus))
        layers = {f"layer_{one.index}": np.concatenate([row[one.index] for row in rows]) for one in encoder.layers}
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, rates=[one.frame_rate for one in encoder.layers], **cast("Any", layers))
        temporary.replace(path)
    with np.load(path) as kept:
        rates = kept["rates"].tolist()
        return {index: kept[f"layer_{index}"] for index in range(len(rates))}, {"rates": rates}


def _utterance_means(encoder: Encoder, corpus: Corpus) -> Iterator[Features]:
    """Yield the means of one batch at a time."""
    for start in range(0, len(corpus.utterances), BATCH):
        batch = corpus.utterances[start : start + BATCH]
        sums = {one.index: np.zeros((len(batch), one.dim)) for one in encoder.layers}
        counts = {one.index: np.zeros(len(batch)) for one in encoder.layers}
        for piece in encoder.encode([decode(one, encoder.sample_rate) for one in batch]):
            sums[piece.layer] += sum_runs(piece.frames, piece.lengths)
            counts[piece.layer] += piece.lengths
        yield {layer: (sums[layer] / counts[layer][:, None]).astype(np.float32) for layer in sums}


def _stretch_means(encoder: Encoder, corpus: Corpus) -> Iterator[Features]:
    """Yield the means of one utterance at a time: frames centred in the stretch, or the nearest if there are none."""
    offsets = encoder.offsets()
    for one, own in zip(corpus.utterances, corpus.stretches or (), strict=True):
        frames: dict[int, list[NDArray[np.float32]]] = {layer.index: [] for layer in encoder.layers}
        for piece in encoder.encode([decode(one, encoder.sample_rate)]):
            frames[piece.layer].append(piece.frames.numpy())
        yield {
            layer.index: _means(np.concatenate(frames[layer.index]), offsets[layer.index], layer.frame_rate, own)
            for layer in encoder.layers
        }


def _means(
    frames: NDArray[np.float32], offset: float, rate: float, stretches: Sequence[Stretch]
) -> NDArray[np.float32]:
    centres = offset + np.arange(len(frames)) / rate
    rows = []
    for start, end in stretches:
        inside = (centres >= start) & (centres < end)
        nearest = int(np.abs(centres - (start + end) / 2).argmin())
        rows.append(frames[inside].mean(axis=0) if inside.any() else frames[nearest])
    return np.stack(rows)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), metavar="NAME")
    torch.set_num_threads(1)
    for name in parser.parse_args(words).corpora:
        for spec in made(MODELS):
            if name.startswith("phones") and spec == "pack:openwakeword":
                continue
            started = time.perf_counter()
            features, _ = features_of(spec, name)
            print(f"{name}, {short(spec)}: {features[0].shape}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
