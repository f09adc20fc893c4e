"""Training targets (the class of each utterance, or its transcript as numbered units), and metrics of predictions.

An error rate is the minimum number of substitutions, deletions and insertions, divided by the number of units in the
references. Both are summed over all utterances, as jiwer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from numpy.typing import NDArray

from voxrank.config import SequenceOptions, TuningOptions
from voxrank.data.shards import Item
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError, OptionError, UtteranceError
from voxrank.targets.sequence import units_of
from voxrank.targets.units import FIRST, Inventory, Speller, Units

BLANK = 0
"""Number of the blank of CTC and of the transducer; units are counted from `FIRST`."""

SPACE = " "
"""The unit between words, in transcripts in characters."""

_SPACE_MARK = "\u2423"
"""Replaces the space where units are separated by spaces."""

UNIT_METRICS = {"char": "cer", "phone": "per"}
"""Unit → its error rate; for the pieces of a tokenizer it is "ter"."""


@dataclass(frozen=True)
class Answers:
    """The training targets.

    Attributes:
        names: names of the classes or units; class n is `names[n]`, unit n is `names[n − 1]`.
        by_utterance: id → (1,) its class, or (L,) the numbers of its units.
        sequences: whether the targets are units.
        metric: metric by which trials are compared.
        skipped: utterances without a target, with reasons.
    """

    names: tuple[str, ...]
    by_utterance: dict[str, NDArray[np.int64]]
    sequences: bool
    metric: str
    skipped: tuple[Skipped, ...] = ()

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""
        return self.metric == "accuracy"


def find_answers(items: Sequence[Item], dataset: Dataset, sequence: SequenceOptions, options: TuningOptions) -> Answers:
    """Return the training targets of all utterances.

    Raises:
        OptionError: the task cannot be trained, or the metric or head does not fit it.
        DataError: there is a single class, or no transcript can be spelled.
    """
    if dataset.task == "classification":
        return _classes(items, dataset, options)
    if dataset.task == "transcription":
        return _transcripts(items, sequence, options)
    raise OptionError(f"models are tuned for labels and transcripts, and {dataset.source} is for {dataset.task}")


def _classes(items: Sequence[Item], dataset: Dataset, options: TuningOptions) -> Answers:
    if options.metric not in (None, "accuracy"):
        raise OptionError(f"expected the metric accuracy for labels, got {options.metric!r}")
    if options.head == "transducer":
        raise OptionError("a transducer writes transcripts, and these are labels; take --head linear or mlp")
    names = dataset.classes
    if len(names) < 2:
        raise DataError(f"expected at least two classes, got {len(names)}")
    numbers = {name: number for number, name in enumerate(names)}
    by_utterance = {item.utterance.id: np.array([numbers[item.utterance.label or ""]]) for item in items}
    return Answers(names, by_utterance, sequences=False, metric="accuracy")


def _transcripts(items: Sequence[Item], sequence: SequenceOptions, options: TuningOptions) -> Answers:
    unit = sequence.unit or "char"
    if unit == "word":
        raise OptionError(
            "models are tuned to characters, phones or tokens; take --unit char, and --metric wer for words"
        )
    metric = options.metric or UNIT_METRICS.get(unit, "ter")
    allowed = (UNIT_METRICS.get(unit, "ter"), *(("wer",) if unit == "char" else ()))
    if metric not in allowed:
        raise OptionError(f"expected the metric {' or '.join(allowed)} for units of the kind {unit}, got {metric!r}")
    speller, spelled, skipped = Speller(unit, sequence.language), {}, []
    speller.check_languages(item.utterance.language for item in items)
    for item in items:
        try:
            units = units_of(item.utterance, speller).spoken
        except UtteranceError as error:
            skipped.append(Skipped(item.utterance.id, str(error)))
        else:
            spelled[item.utterance.id] = _with_spaces(units) if unit == "char" else units
    if not spelled:
        raise DataError(f"none of the {len(items)} transcripts can be spelled; the first: {skipped[0].reason}")
    inventory = Inventory.of(list(spelled.values()))
    numbers = {name: inventory.numbers(units) for name, units in spelled.items()}
    return Answers(inventory.names, numbers, sequences=True, metric=metric, skipped=tuple(skipped))


def _with_spaces(units: Units) -> Units:
    """Insert a space between words."""
    names: list[str] = []
    for index, (name, begins) in enumerate(zip(units.names, units.pauses, strict=False)):
        names += [SPACE, name] if begins and index else [name]
    return Units(tuple(names), np.zeros(len(names) + 1, dtype=np.bool_))


def spelled_out(numbers: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the units with these numbers."""
    return [names[number - FIRST] for number in numbers]


def measure(predicted: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], answers: Answers) -> dict[str, float]:
    """Return every metric of the task.

    Args:
        predicted: class of each utterance, or the numbers of its units.
        targets: the correct classes or units, in the same form.
        answers: the training targets.

    Returns:
        "accuracy"; or the error rate of the units, and for characters also that of the words.
    """
    if not answers.sequences:
        correct = sum(list(prediction) == list(target) for prediction, target in zip(predicted, targets, strict=True))
        return {"accuracy": correct / len(targets)}
    hypotheses, references = ([spelled_out(row, answers.names) for row in rows] for rows in (predicted, targets))
    in_characters = answers.metric in ("cer", "wer")
    rates = {"cer" if in_characters else answers.metric: _error_rate(hypotheses, references)}
    if in_characters:
        rates["wer"] = float(jiwer.wer(["".join(row) for row in references], ["".join(row) for row in hypotheses]))
    return rates


def _error_rate(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """Return the error rate of units, each treated as a word."""
    return float(jiwer.wer([_joined(row) for row in references], [_joined(row) for row in hypotheses]))


def _joined(units: Sequence[str]) -> str:
    return " ".join(_SPACE_MARK if unit == SPACE else "".join(unit.split()) for unit in units)
