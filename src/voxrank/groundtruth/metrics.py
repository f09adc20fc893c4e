"""Metrics of a trial: accuracy, or error rates of units and of words.

An error rate is the minimum number of substitutions, deletions and insertions, divided by the number of units in the
references. Both are summed over all utterances, as jiwer does.
"""

from __future__ import annotations

from collections.abc import Sequence

import jiwer

from voxrank.groundtruth.answers import SPACE, Answers, spelled_out

_SPACE_MARK = "\u2423"
"""Replaces the space where units are separated by spaces."""


def measure(predicted: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], answers: Answers) -> dict[str, float]:
    """Return every metric of the task.

    Args:
        predicted: class of each utterance, or the numbers of its units.
        wanted: the correct classes or units, in the same form.
        answers: the training targets.

    Returns:
        "accuracy"; or the error rate of the units, and for characters also that of the words.
    """
    if not answers.sequences:
        right = sum(list(one) == list(other) for one, other in zip(predicted, wanted, strict=True))
        return {"accuracy": right / len(wanted)}
    said, meant = ([spelled_out(row, answers.names) for row in rows] for rows in (predicted, wanted))
    in_characters = answers.metric in ("cer", "wer")
    rates = {"cer" if in_characters else answers.metric: _error_rate(said, meant)}
    if in_characters:
        rates["wer"] = float(jiwer.wer(["".join(row) for row in meant], ["".join(row) for row in said]))
    return rates


def _error_rate(said: Sequence[Sequence[str]], meant: Sequence[Sequence[str]]) -> float:
    """Return the error rate of units, each treated as a word."""
    return float(jiwer.wer([_line(row) for row in meant], [_line(row) for row in said]))


def _line(units: Sequence[str]) -> str:
    return " ".join(_SPACE_MARK if unit == SPACE else "".join(unit.split()) for unit in units)
