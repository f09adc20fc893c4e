"""The published results of the catalogue as a table of models and tasks, with facts about the models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from voxrank.encoders.catalogue import LOWER_IS_BETTER, CatalogueModel, Published, read_catalogue
from voxrank.encoders.published import results_of

SOURCES = ("maeb", "superb")
MAIN_METRIC = {"ASR": "wer", "SE": "pesq", "SF": "f1"}
"""Metric of the tasks that have several."""
OTHER_SIZES = {
    "FBANK": 0,
    "PASE+": 7_832_896,
    "APC": 4_105_296,
    "VQ-APC": 4_630_096,
    "NPC": 19_380_560,
    "Mockingjay": 85_118_208,
    "TERA": 21_327_360,
    "modified CPC": 1_843_456,
    "wav2vec": 32_537_088,
    "vq-wav2vec": 34_145_408,
    "DeCoAR 2.0": 89_837_696,
}
"""Weights of the models of SUPERB that are not on the hub; source: the public leaderboard."""
KINDS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("FSDD", "SpeechCommands", "SpokeNEnglish"),
            ("CREMA_D", "IEMOCAPEmotion", "VoxCelebSA"),
            ("IEMOCAPGender", "VoxPopuliGenderID", "CommonLanguageGenderDetection", "CommonLanguageAgeDetection"),
            ("CommonLanguageLanguageDetection", "VoxLingua107_Top10", "VoxPopuliLanguageID", "VoxPopuliAccentID"),
            ("MInDS14", "SIBFLEURS", "SpokenQAForIC"),
            ("VocalSound", "LibriCount", "AmbientAcousticContext"),
            ("PR", "ASR", "KS", "QbE"),
            ("SID", "SV", "SD"),
            ("IC", "SF", "ST"),
            ("SE", "SS"),
        ),
    )
)
"""Kinds of tasks: words, emotion, speakers, languages, meaning, sounds; then those of SUPERB."""
CORPORA = ("IEMOCAP", "VoxPopuli", "CommonLanguage")
"""Beginnings of names of tasks that share a corpus."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Published results of n models on T tasks.

    Attributes:
        source: name of the source.
        models: names of the models.
        tasks: names of the tasks.
        values: (n, T) results, higher is better; error rates in percent became 100 − rate. NaN where there is none.
        log_sizes: (n,) log10 of the number of weights of the encoder.
        log_checkpoints: (n,) log10 of the number of weights of the published checkpoint.
        families: families of the models; a model of unknown family is its own.
        released: (n,) year and month as a number; NaN where unknown.
        loadable: (n,) whether voxrank loads the model.
    """

    source: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    values: Array
    log_sizes: Array
    log_checkpoints: Array
    families: tuple[str, ...]
    released: Array
    loadable: NDArray[np.bool_]

    @staticmethod
    def related(one: str, other: str) -> bool:
        """Return whether two tasks are of one kind or one corpus."""
        return any({one, other} <= kind for kind in KINDS) or any(
            one.startswith(corpus) and other.startswith(corpus) for corpus in CORPORA
        )


@cache
def read_table(source: str) -> Table:
    """Read the table of a source from the catalogue."""
    results = results_of(source)
    models = tuple(sorted(results))
    tasks = tuple(sorted({one.task for own in results.values() for one in own}))
    values = np.full((len(models), len(tasks)), np.nan)
    for row, name in enumerate(models):
        for one in results[name]:
            if MAIN_METRIC.get(one.task, one.metric) == one.metric:
                values[row, tasks.index(one.task)] = correctness(one)
    known = {model.id: model for model in read_catalogue()}
    facts = [known.get(name) for name in models]
    return Table(
        source,
        models,
        tasks,
        values,
        np.array([log_size(name, fact, whole=False) for name, fact in zip(models, facts, strict=True)]),
        np.array([log_size(name, fact, whole=True) for name, fact in zip(models, facts, strict=True)]),
        tuple(fact.family or name if fact else name for name, fact in zip(models, facts, strict=True)),
        np.array([released(fact) for fact in facts]),
        np.array([fact is not None and not fact.reason for fact in facts]),
    )


def correctness(one: Published) -> float:
    """Return a result of which higher is better."""
    return 100 - one.value if one.metric in LOWER_IS_BETTER else one.value


def log_size(name: str, fact: CatalogueModel | None, *, whole: bool) -> float:
    """Return log10 of the number of weights, at least 10,000; NaN where it is not known."""
    size = OTHER_SIZES.get(name) if fact is None else (fact.parameters if whole else fact.size)
    return float("nan") if size is None else float(np.log10(max(size, 10_000)))


def released(fact: CatalogueModel | None) -> float:
    """Return the release as a number of years."""
    if fact is None or fact.released is None:
        return float("nan")
    parts = [int(part) for part in fact.released.split("-")]
    return parts[0] + (parts[1] - 1 if len(parts) > 1 else 6) / 12
