"""The results of a run: a ranking and its parts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity

__all__ = ["Cost", "DataSummary", "LayerScore", "ModelScore", "Ranking", "ScoreValue", "Sensitivity"]


def __getattr__(name: str) -> Any:
    """Import a result class when it is first used. Commands read the names of details without NumPy."""
    if name in __all__:
        return getattr(import_module("voxrank.results.ranking"), name)
    raise AttributeError(f"module 'voxrank.results' has no attribute {name!r}")
