"""Scores of layers: they measure how well a layer's samples explain the targets, from sketches alone."""

from voxrank.scores.centred import Centred
from voxrank.scores.estimator import CCA, CKA, PWCCA, VCI, HScore, LogME, MomentScore, RankMe, RidgeR2
from voxrank.scores.estimators import ESTIMATORS
from voxrank.scores.frechet import FrechetDistance
from voxrank.scores.gradient import Gradient, Reading
from voxrank.scores.registry import Score, get_score, of_moments, register_score, score_names
from voxrank.scores.sampled import GBC, KNN, LeaveOneOut, NearestClassMean, SampledScore, TransRate
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
    "Centred",
    "FrechetDistance",
    "Gradient",
    "HScore",
    "LeaveOneOut",
    "LogME",
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
