"""Formats names as text, and states the verdict of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxrank._support.words import NONE, count, figure, strict_percent
from voxrank.errors import is_harmless
from voxrank.results.expectation import expectation, ordering, reference
from voxrank.results.ranking import LayerScore, ModelScore, Ranking, ScoreValue

NAMED_RIVALS = 3
"""Maximum number of models that the verdict names individually."""


def shown(name: object) -> str:
    r"""Replace characters that end a line, hide text or change its direction.

    Example:
        >>> shown("a\u202eb\u2028c")
        'a�b�c'
    """
    return "".join(c if is_harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in str(name))


def interval(value: ScoreValue) -> str:
    """Format the 95 % interval of a score."""
    return NONE if value.low is None or value.high is None else f"{figure(value.low)} to {figure(value.high)}"


def listed(names: Sequence[str]) -> str:
    """Join names for a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def first_score(ranking: Ranking) -> str:
    """Return the name of the first score, which says what to expect."""
    return str(score_names(ranking)[0])


def score_names(ranking: Ranking) -> list[str]:
    """Return the names of all scores, starting with the one that says what to expect."""
    return list(ranking.options.get("scores") or ranking.best.scores)


def higher_is_better(ranking: Ranking, score: str) -> bool:
    """Return whether a higher score is better."""
    return bool(ranking.options.get("higher_is_better", {}).get(score, True))


def titled(ranking: Ranking, score: str) -> str:
    """Return a score's name, with its direction if lower is better."""
    return shown(score) + ("" if higher_is_better(ranking, score) else " (lower is better)")


def of_layer(layer: int | str) -> str:
    """Describe a layer in a sentence: a number, or a joint layer.

    Example:
        >>> of_layer(4), of_layer("mean")
        ('layer 4', 'the mean of its layers')
    """
    joint = {"mean": "the mean of its layers", "concat": "its layers end to end"}
    return f"layer {layer}" if isinstance(layer, int) else joint.get(layer, f"layer {shown(layer)}")


@dataclass(frozen=True)
class Verdict:
    """A recommendation of what to fine-tune, with its confidence.

    Attributes:
        before, model, after: the headline in three pieces, so that the model's name can be highlighted.
        confidence: the rest of the sentence, and sentences about the result to expect.
        tied: a sentence about models that are tied with the best; empty if there are none.
    """

    before: str
    model: str
    after: str
    confidence: str
    tied: str

    @property
    def sentence(self) -> str:
        """The full text of the verdict."""
        return f"{self.before}{self.model}{self.after}: {self.confidence}{' ' if self.tied else ''}{self.tied}"


def verdict(ranking: Ranking) -> Verdict:
    """Return the recommendation of what to fine-tune, with its confidence and its ties."""
    best = ranking.best
    if ranking.options.get("strategy") == "layer":
        before, after = f"Fine-tune {of_layer(best.layer)} of ", ""
    else:
        before, after = "Fine-tune ", f" from {of_layer(best.layer)}"
    tied = " ".join(filter(None, (_tied_models(ranking.groups[0]), _equal_layers(ranking.equal_layers))))
    confidence = " ".join(filter(None, (_confidence(ranking), _expected(ranking))))
    return Verdict(before, shown(best.model), after, confidence, tied)


def _confidence(ranking: Ranking) -> str:
    best, models = ranking.best, ranking.models
    if len(models) == 1:
        return f"the only model that was ranked, at the best of {count(len(ranking.layers), 'layer')}."
    if best.probability_best is None or ranking.beats is None:
        by = "" if ordering(ranking) else f" by {shown(first_score(ranking))}"
        return f"best of {len(models)} models{by}; the data form a single block, so that its certainty is unknown."
    text = f"best of {len(models)} models in {strict_percent(best.probability_best)} of resamples of the data"
    return f"{text}; it beats {_beaten(models[1:], ranking.beats[0][1:])}."


def _expected(ranking: Ranking) -> str:
    """Return a sentence about the result to expect, and one about guessing; empty for scores that are no result."""
    text = expectation(ranking)
    return f"{text[0].upper()}{text[1:]}. {reference(ranking)}" if text else ""


def _beaten(rivals: Sequence[ModelScore], shares: Sequence[float]) -> str:
    """Describe the share of resamples in which the best model beats each other model."""
    pairs = list(zip(rivals, shares, strict=True))
    if len(pairs) > 1 and len({strict_percent(share) for share in shares}) == 1:
        return f"each of the {len(pairs)} others in {strict_percent(shares[0])}"
    if len(pairs) > NAMED_RIVALS + 1:
        named, others = pairs[:NAMED_RIVALS], pairs[NAMED_RIVALS:]
        least = min(share for _, share in others)
        tail = [f"{'each of ' if least < 1 else ''}the {len(others)} others in {_at_least(least)}"]
    else:
        named, tail = pairs, []
    return listed([f"{shown(model.model)} in {strict_percent(share)}" for model, share in named] + tail)


def _at_least(share: float) -> str:
    return strict_percent(1) if share == 1 else f"at least {strict_percent(share)}"


def _equal_layers(layers: Sequence[LayerScore]) -> str:
    if not layers:
        return ""
    named = [f"layer {shown(layer.layer)} of {shown(layer.model)}" for layer in layers[:NAMED_RIVALS]]
    if len(layers) > NAMED_RIVALS:
        named.append(f"{len(layers) - NAMED_RIVALS} more")
    verb = "scores" if len(layers) == 1 else "score"
    return f"{count(len(layers), 'other layer')} {verb} exactly the same: {listed(named)}."


def _tied_models(first: Sequence[ModelScore]) -> str:
    if len(first) == 1:
        return ""
    names = [shown(model.model) for model in first[1:]]
    few = names if len(names) <= NAMED_RIVALS else [*names[:NAMED_RIVALS], count(len(names) - NAMED_RIVALS, "other")]
    is_tied = "is tied with it" if len(names) == 1 else "are tied with it"
    return f"{listed(few)} {is_tied}: more data, or another consideration, has to decide."
