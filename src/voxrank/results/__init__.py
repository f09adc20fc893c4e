"""A ranking and its parts, as data: printed, saved and read back."""

from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity

__all__ = ["Cost", "DataSummary", "LayerScore", "ModelScore", "Ranking", "ScoreValue", "Sensitivity"]
