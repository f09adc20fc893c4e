"""Scores: how well a layer's samples explain the targets, read from sketches alone."""

from voxrank.scores.logme import LogME
from voxrank.scores.registry import Score, get_score, register_score, score_names

__all__ = ["LogME", "Score", "get_score", "register_score", "score_names"]
