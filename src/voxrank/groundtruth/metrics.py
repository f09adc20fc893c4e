"""What came of a trial: accuracy, or error rates of units and of words.

Error rates are the sum of the fewest substitutions, deletions and insertions over the number of units in the
references, all utterances together, as jiwer counts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import jiwer

from voxrank.groundtruth.answers import SPACE, Answers, spelled_out

_SPACE_MARK = "\u2423"
"""Stands for the space where units are parted by spaces."""


def measure(predicted: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], answers: Answers) -> dict[str, float]:
    """Every metric of the task.

    Args:
        predicted: of each utterance, its class, or the numbers of its units.
        wanted: the same as it should be.
        answers: what they are.

    Returns:
        "accuracy"; or the error rate of the units, and of the words for characters.
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
    """Of units, each of them taken as a word."""
    return float(jiwer.wer([_line(row) for row in meant], [_line(row) for row in said]))


def _line(units: Sequence[str]) -> str:
    return " ".join(_SPACE_MARK if unit == SPACE else "".join(unit.split()) for unit in units)
