"""Rank pre-trained speech models and their layers as starting points for fine-tuning on your labelled speech.

Example::

    import voxrank as vr

    ranking = vr.rank("train.csv", models=["openai/whisper-tiny", "facebook/hubert-base-ls960"])
    ranking.best.model, ranking.best.layer, ranking.best.probability_best
    ranking.to_pandas()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voxrank._support import moved as _moved

_moved.install()

if TYPE_CHECKING:
    from voxrank.alignment.align import AlignedData, align
    from voxrank.config import (
        CacheOptions,
        EncoderOptions,
        EngineOptions,
        ExtractionOptions,
        SequenceOptions,
        StoppingOptions,
        TuningOptions,
        UseOptions,
    )
    from voxrank.data.read import read_dataset
    from voxrank.data.utterance import Dataset, Utterance
    from voxrank.errors import (
        DataError,
        ModelError,
        OptionError,
        RequestError,
        RunError,
        UtteranceError,
        VoxrankError,
    )
    from voxrank.groundtruth.validation import validate
    from voxrank.groundtruth.verdict import Validation
    from voxrank.ranking.rank import rank
    from voxrank.report.page import write_page
    from voxrank.results.ranking import Ranking

__all__ = [
    "AlignedData",
    "CacheOptions",
    "DataError",
    "Dataset",
    "EncoderOptions",
    "EngineOptions",
    "ExtractionOptions",
    "ModelError",
    "OptionError",
    "Ranking",
    "RequestError",
    "RunError",
    "SequenceOptions",
    "StoppingOptions",
    "TuningOptions",
    "UseOptions",
    "Utterance",
    "UtteranceError",
    "Validation",
    "VoxrankError",
    "align",
    "rank",
    "read_dataset",
    "validate",
    "write_page",
]

_HOMES = {
    "voxrank.alignment.align": ("AlignedData", "align"),
    "voxrank.config": (
        *("CacheOptions", "EncoderOptions", "EngineOptions", "ExtractionOptions", "SequenceOptions"),
        *("StoppingOptions", "TuningOptions", "UseOptions"),
    ),
    "voxrank.data.read": ("read_dataset",),
    "voxrank.data.utterance": ("Dataset", "Utterance"),
    "voxrank.errors": (
        *("DataError", "ModelError", "OptionError", "RequestError", "RunError", "UtteranceError", "VoxrankError"),
    ),
    "voxrank.groundtruth.validation": ("validate",),
    "voxrank.groundtruth.verdict": ("Validation",),
    "voxrank.ranking.rank": ("rank",),
    "voxrank.report.page": ("write_page",),
    "voxrank.results.ranking": ("Ranking",),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use. Importing torch takes seconds, and `voxrank --help` does not need it."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'voxrank' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
