"""The cells of the study: each has a task, candidates and a way of tuning.

The half of each cell was fixed before anything was scored. The development half may choose scores, normalisation and
samples, and the other half reports. A cell's half is the parity of the first byte of the SHA-256 of its name.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from common import DATA, MADE, MODELS
from voxrank.config import EncoderOptions, SequenceOptions, TuningOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset, Utterance

FOLDER = MADE / "study"
CONFORMER, HUBERT = str(FOLDER / "conformer"), str(FOLDER / "hubert" / "model")
ALL_MODELS = (*MODELS, CONFORMER, HUBERT)
TUNED_WHOLE = tuple(spec for spec in ALL_MODELS if spec != "pack:crepe")
"""Models without CREPE: its convolutions over 64 ms every 20 ms would train longer than all the others together."""
WHISPERS = ("pack:whisper-tiny.en", "pack:whisper-base")
LANGUAGES = ("de", "es", "fr", "it", "pl", "ru")
HEARD_IN_TESTS = 300
"""Approximate number of test utterances of a classification."""

Setting = Literal["conformer", "self-supervised", "cross-model"]


@dataclass(frozen=True)
class Cell:
    """A row of the study.

    Attributes:
        name: name of the cell and of its files.
        setting: one of the paper's three settings.
        data: function that returns the data set; for labels, its argument is the number of the draw of examples.
        models: the candidates.
        tuning: strategy and its options; the run sets the number of seeds.
        sequence: options for transcripts.
        source: speech as in pre-training, for the scores that need it.
        layers: layers of every model.
    """

    name: str
    setting: Setting
    data: Callable[..., Dataset]
    models: tuple[str, ...]
    tuning: TuningOptions
    sequence: SequenceOptions | None = None
    source: Callable[[], Dataset] | None = None
    layers: str = "all"

    @property
    def half(self) -> str:
        """The half of the cell: development or reporting."""
        return "development" if hashlib.sha256(self.name.encode()).digest()[0] % 2 else "reporting"

    @property
    def encoder(self) -> EncoderOptions:
        """The options of the encoder: Whisper's window is cut to the utterance, to bound the run time."""
        return EncoderOptions(device="cpu", whisper_window="fit")


def noisy(utterances: tuple[Utterance, ...], folder: Path, snr_db: float) -> tuple[Utterance, ...]:
    """Return the data in white noise, the same on every machine; write it once."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for one in utterances:
        path = folder / f"{zlib.crc32(one.id.encode()):08x}.flac"
        if not path.exists():
            clean, rate = soundfile.read(one.path, dtype="float32")
            rng = np.random.default_rng(zlib.crc32(one.id.encode()))
            mixed = clean + rng.standard_normal(len(clean)) * np.sqrt(np.mean(clean**2)) * 10 ** (-snr_db / 20)
            soundfile.write(path, (0.5 * mixed / np.abs(mixed).max()).astype(np.float32), rate, subtype="PCM_16")
        made.append(replace(one, path=path))
    return tuple(made)


def few(utterances: tuple[Utterance, ...], split: str, most: int, draw: int) -> tuple[Utterance, ...]:
    """Return at most this many utterances of each class in one part, drawn by name; other parts are unchanged."""
    salt = f"draw {draw} " if draw else "draw "
    taken: Counter[str | None] = Counter()
    kept = set()
    for one in sorted(utterances, key=lambda one: zlib.crc32(f"{salt}{one.id}".encode())):
        if one.split == split and taken[one.label] < most:
            taken[one.label] += 1
            kept.add(one.id)
    return tuple(one for one in utterances if one.split != split or one.id in kept)


def _labelled(
    name: str, target: str, split_of: Callable[[Utterance], str], snr_db: float, few_of: dict[str, int], draw: int
) -> Dataset:
    dataset = read_dataset(DATA / name / "manifest.csv", target=target, split="all")
    chosen = tuple(replace(one, split=split_of(one)) for one in dataset.utterances)
    for split, most in few_of.items():
        chosen = few(chosen, split, most, draw)
    return replace(dataset, utterances=noisy(chosen, FOLDER / "noisy" / f"{name}-{snr_db:g}", snr_db))


def arabic_words(draw: int = 0) -> Dataset:
    """Return twenty words, tested on unseen speakers."""
    few_of = {"train": 5, "validation": 5, "test": HEARD_IN_TESTS // 20}
    return _labelled(
        "arabic-commands", "label", lambda u: "validation" if u.split == "val" else str(u.split), 5, few_of, draw
    )


def arabic_speakers(draw: int = 0) -> Dataset:
    """Return thirty speakers, tested on other words."""
    return _labelled(
        "arabic-commands", "speaker", _by_word, 5, {"train": 8, "validation": 4, "test": HEARD_IN_TESTS // 30}, draw
    )


def _by_word(utterance: Utterance) -> str:
    word = utterance.path.parent.name
    return ("train", "train", "validation", "test", "test")[zlib.crc32(word.encode()) % 5]


def fsdd_digits(draw: int = 0) -> Dataset:
    """Return ten digits, tested on two unseen speakers; a third stops the training."""
    held = {"lucas": "test", "theo": "test", "yweweler": "validation"}
    few_of = {"train": 10, "validation": 8, "test": HEARD_IN_TESTS // 10}
    return _labelled("fsdd", "label", lambda u: held.get(str(u.speaker), "train"), 10, few_of, draw)


def fsdd_speakers(draw: int = 0) -> Dataset:
    """Return six speakers, tested on other digits."""
    parts = ("train", "validation", "test", "test", "train", "test", "validation", "train", "test", "train")
    few_of = {"train": 20, "validation": 8, "test": HEARD_IN_TESTS // 6}
    return _labelled("fsdd", "speaker", lambda u: parts[int(u.path.stem[0])], 0, few_of, draw)


def language(code: str) -> Dataset:
    """Return sentences of a language, tested on unseen voices."""
    from study.speech import spoken

    return _transcribed(f"speech/{code}", tuple(_utterance(clip) for clip in spoken(code)))


def english() -> Dataset:
    """Return some of the English on which the Conformer was trained."""
    from study.speech import spoken

    clips = [clip for clip in spoken("english") if clip.split == "train"][::20]
    return _transcribed("speech/english", tuple(_utterance(clip) for clip in clips))


def prompts() -> Dataset:
    """Return some 5 minutes of English telephone prompts by one voice."""
    from study.speech import recorded

    clips = [clip for clip in recorded() if 3 <= len(clip.text) <= 90]
    chosen = [one for place, one in enumerate(clips) if place % 3 == 0]
    parts = ("train", "train", "validation", "test", "train", "test")
    utterances = tuple(
        replace(_utterance(clip), split=parts[zlib.crc32(Path(clip.path).stem.encode()) % 6]) for clip in chosen
    )
    return _transcribed("asterisk-en", utterances)


def _utterance(clip: object) -> Utterance:
    path = Path(str(clip.path))  # type: ignore[attr-defined]
    return Utterance(
        id=path.stem,
        path=path,
        text=clip.text,  # type: ignore[attr-defined]
        speaker=clip.speaker or None,  # type: ignore[attr-defined]
        split=clip.split,  # type: ignore[attr-defined]
        language=clip.language,  # type: ignore[attr-defined]
    )


def _transcribed(source: str, utterances: tuple[Utterance, ...]) -> Dataset:
    return Dataset(source, "transcription", "text", utterances)


ADAPT = TuningOptions(
    strategy="layer", head="transducer", head_at="top", epochs=10, patience=6, head_learning_rate=1e-3
)
"""Tunes one block of the Conformer and its transducer; all else is frozen, as in the paper. With a tenth of this rate
for the transducer, French (of the development half) was left unchanged by ten blocks of twelve."""
ONE_LAYER = TuningOptions(strategy="layer", epochs=15, patience=4)
"""Tunes one block, with a head on it."""
OF_HUBERT = replace(ONE_LAYER, epochs=40, patience=10)
"""Tunes one block of HuBERT: with 15 epochs, the recogniser of prompts still wrote nothing."""
CUT = replace(ADAPT, head_at="layer")
"""Tunes one block of the Conformer, cut behind it: its transducer reads the output of the tuned block."""
LONGER = {"fr": 30, "ru": 30}
"""Number of epochs for languages in which 10 left every block in place with an error above one half."""
PROBE = TuningOptions(strategy="probe", epochs=40, patience=8)
FULL = TuningOptions(strategy="full", epochs=8, patience=4)
TASKS = {
    "words": arabic_words,
    "arabic-speakers": arabic_speakers,
    "digits": fsdd_digits,
    "digit-speakers": fsdd_speakers,
}

CELLS = (
    *(
        Cell(
            f"{name}-{code}",
            "conformer",
            partial(language, code),
            (CONFORMER,),
            replace(tuning, epochs=LONGER.get(code, tuning.epochs)),
            SequenceOptions(unit="char", language=code),
            english,
        )
        for name, tuning in (("conformer", ADAPT), ("conformer-cut", CUT))
        for code in LANGUAGES
    ),
    *(
        Cell(
            f"hubert-{name}",
            "self-supervised",
            data,
            (HUBERT,),
            tuning,
            SequenceOptions(unit="phone", language=code),
        )
        for name, code, data, tuning in (
            ("en", "en-us", prompts, replace(OF_HUBERT, epochs=80)),
            ("de", "de", partial(language, "de"), OF_HUBERT),
            ("ru", "ru", partial(language, "ru"), OF_HUBERT),
        )
    ),
    *(
        Cell(
            f"whisper-{name}",
            "self-supervised",
            prompts,
            WHISPERS,
            replace(ONE_LAYER, epochs=8),
            SequenceOptions(unit=unit, language="en-us"),
        )
        for name, unit in (("phones", "phone"), ("characters", "char"))
    ),
    Cell("whisper-words", "self-supervised", arabic_words, WHISPERS, ONE_LAYER),
    *(Cell(f"probe-{name}", "cross-model", data, ALL_MODELS, PROBE) for name, data in TASKS.items()),
    *(Cell(f"full-{name}", "cross-model", data, TUNED_WHOLE, FULL) for name, data in TASKS.items()),
)
