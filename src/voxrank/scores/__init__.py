"""Scores of layers: they measure how well a layer's samples explain the targets, from sketches alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voxrank.scores.names import MODULES

if TYPE_CHECKING:
    from voxrank.scores.accuracy import (
        BalancedAccuracy,
        HeldOutAccuracy,
        HeldOutLikelihood,
        HeldOutR2,
        MeanAveragePrecision,
    )
    from voxrank.scores.cca import CCA, PWCCA, VCI
    from voxrank.scores.centred import Centred
    from voxrank.scores.cka import CKA
    from voxrank.scores.estimator import MomentScore
    from voxrank.scores.frechet import FrechetDistance
    from voxrank.scores.gradient import Gradient, Reading
    from voxrank.scores.heldout import KNN, LeaveOneOut, NearestClassMean
    from voxrank.scores.hscore import HScore
    from voxrank.scores.logme import LogME
    from voxrank.scores.rankme import RankMe
    from voxrank.scores.registry import ESTIMATORS, get_score, register_score, score_names
    from voxrank.scores.ridge import RidgeR2
    from voxrank.scores.sampled import SampledScore
    from voxrank.scores.score import Score, of_moments
    from voxrank.scores.separation import GBC, TransRate
    from voxrank.scores.sliced import SlicedWasserstein
    from voxrank.scores.spectrum import Spectrum
    from voxrank.scores.tsne import TSNEDistance

__all__ = [
    "CCA",
    "CKA",
    "ESTIMATORS",
    "GBC",
    "KNN",
    "PWCCA",
    "VCI",
    "BalancedAccuracy",
    "Centred",
    "FrechetDistance",
    "Gradient",
    "HScore",
    "HeldOutAccuracy",
    "HeldOutLikelihood",
    "HeldOutR2",
    "LeaveOneOut",
    "LogME",
    "MeanAveragePrecision",
    "MomentScore",
    "NearestClassMean",
    "RankMe",
    "Reading",
    "RidgeR2",
    "SampledScore",
    "Score",
    "SlicedWasserstein",
    "Spectrum",
    "TSNEDistance",
    "TransRate",
    "get_score",
    "of_moments",
    "register_score",
    "score_names",
]

_PUBLIC_MODULES = ("registry", "score", "gradient", "centred", "spectrum", "estimator", "sampled", *MODULES.values())


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `voxrank.scores.names` does not wait for torch."""
    if name in __all__:
        for module_name in _PUBLIC_MODULES:
            module = import_module(f"voxrank.scores.{module_name}")
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module 'voxrank.scores' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
