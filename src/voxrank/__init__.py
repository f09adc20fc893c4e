"""Which pre-trained speech model, and which layer of it, to fine-tune for your own labelled speech.

Example::

    import voxrank as vr

    ranking = vr.rank("train.csv", models=["openai/whisper-tiny", "facebook/hubert-base-ls960"])
    ranking.best.model, ranking.best.layer, ranking.best.probability_best
    ranking.to_pandas()
"""

from voxrank.config import EncoderOptions, ExtractionOptions
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
from voxrank.ranking import rank
from voxrank.results import Ranking

__all__ = [
    "DataError",
    "Dataset",
    "EncoderOptions",
    "ExtractionOptions",
    "ModelError",
    "OptionError",
    "Ranking",
    "RequestError",
    "RunError",
    "Utterance",
    "UtteranceError",
    "VoxrankError",
    "rank",
    "read_dataset",
]
