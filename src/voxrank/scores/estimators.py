"""The classes with the interface of scikit-learn, by score name, for scores of one set of features."""

from __future__ import annotations

from voxrank.scores.estimator import CCA, CKA, PWCCA, VCI, FittedMoments, HScore, LogME, RankMe, RidgeR2
from voxrank.scores.sampled import GBC, KNN, LeaveOneOut, NearestClassMean, TransRate

ESTIMATORS: dict[str, type[FittedMoments]] = {
    "logme": LogME,
    "hscore": HScore,
    "ridge": RidgeR2,
    "cca": CCA,
    "pwcca": PWCCA,
    "vci": VCI,
    "cka": CKA,
    "rankme": RankMe,
    "knn": KNN,
    "ncm": NearestClassMean,
    "loo": LeaveOneOut,
    "gbc": GBC,
    "transrate": TransRate,
}
