"""Trivial rules, which guess the better candidate without data.

A correlation has little meaning without the values that these rules reach on the same candidates. The values of
chance have a closed form: `voxrank.groundtruth.agreement.chance`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from voxrank.encoders.published import published_values
from voxrank.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Candidate:
    """The properties of one layer of one model that are known without data.

    Attributes:
        model: the spec.
        layer: index; 0 is the input of the first block. "mean" or "concat" for a joint layer.
        last_layer: index of the model's last layer.
        dim: feature dimension.
        parameters: number of weights of the encoder.
    """

    model: str
    layer: int | str
    last_layer: int
    dim: int
    parameters: int


@dataclass(frozen=True)
class Rule:
    """A rule that guesses how good a candidate is.

    Attributes:
        name: name by which the rule is selected.
        title: title in tables.
        value: a candidate → the guess, higher is better; None if the rule does not apply.
        of_models: specs of all models → the guess of each model to which the rule applies, instead of `value`, for
            rules that need to know the other models.
        least: minimum number of models to which the rule must apply.
    """

    name: str
    title: str
    value: Callable[[Candidate], float | None]
    of_models: Callable[[Sequence[str]], Mapping[str, float]] | None = None
    least: int = 1

    def guesses(self, candidates: Sequence[Candidate]) -> list[float | None]:
        """Return the guess for each candidate; None where the rule does not apply.

        Args:
            candidates: C candidates.
        """
        if self.of_models is None:
            return [self.value(candidate) for candidate in candidates]
        by_model = self.of_models(list(dict.fromkeys(candidate.model for candidate in candidates)))
        return [by_model.get(candidate.model) for candidate in candidates]


@dataclass(frozen=True)
class Hours:
    """The amount of speech on which a model was pre-trained.

    Attributes:
        pattern: regular expression, searched for in the last part of a spec, in lower case.
        hours: hours of audio, without later fine-tuning; None if they are not published.
        source: source of the figure.
    """

    pattern: str
    hours: float | None
    source: str


HOURS: tuple[Hours, ...] = (
    Hours(r"^(logmel|mfcc)$", 0, "untrained"),
    Hours(r"^distil-", None, "Distil-Whisper: hours of the teacher and of the student do not add up to one figure"),
    Hours(r"whisper.*\.en", 438_000, "model card of openai/whisper-tiny.en: the English 65 % of 680,000 h"),
    Hours(
        r"whisper-large-v3",
        5_000_000,
        "model card of openai/whisper-large-v3: 1 million h and 4 million pseudo-labelled",
    ),
    Hours(r"whisper", 680_000, "arXiv 2212.04356"),
    Hours(r"^distilhubert", 960, "arXiv 2110.01900: LibriSpeech"),
    Hours(r"^hubert-base", 960, "arXiv 2106.07447: LibriSpeech"),
    Hours(r"^hubert-x?large", 60_000, "arXiv 2106.07447: Libri-Light"),
    Hours(r"xlsr", 56_000, "arXiv 2006.13979: 53 languages"),
    Hours(r"xls-r", 436_000, "arXiv 2111.09296: 128 languages"),
    Hours(r"^mms-(300m|1b)", 491_000, "arXiv 2305.13516: 1,406 languages"),
    Hours(r"10k-voxpopuli", 10_000, "arXiv 2101.00390"),
    Hours(r"100k-voxpopuli", 100_000, "arXiv 2101.00390"),
    Hours(r"^wav2vec2-large.*(lv-?60|ll60k)", 60_000, "arXiv 2006.11477: Libri-Light; 53,200 h of them after cutting"),
    Hours(r"^wav2vec2-(base|large)(-\d+h|-superb-\w+)?$", 960, "arXiv 2006.11477: LibriSpeech"),
    Hours(r"^wavlm-base(-sv|-sd)?$", 960, "arXiv 2110.13900: LibriSpeech"),
    Hours(r"^wavlm-(base-plus|large)", 94_000, "arXiv 2110.13900: Libri-Light, GigaSpeech and VoxPopuli"),
    Hours(r"^unispeech-sat-base(-sv|-sd|-\d+h.*)?$", 960, "arXiv 2110.05752: LibriSpeech"),
    Hours(r"^unispeech-sat-(base-plus|large)", 94_000, "arXiv 2110.05752: Libri-Light, GigaSpeech and VoxPopuli"),
    Hours(r"^data2vec-audio-base", 960, "arXiv 2202.03555: LibriSpeech"),
    Hours(r"^data2vec-audio-large", 60_000, "arXiv 2202.03555: Libri-Light"),
    Hours(r"^w2v-bert-2\.0", 4_500_000, "arXiv 2312.05187"),
    Hours(r"^parakeet-tdt-0\.6b-v2", 120_000, "model card of nvidia/parakeet-tdt-0.6b-v2: Granary"),
    Hours(r"^parakeet-(ctc|rnnt|tdt)-(0\.6b|1\.1b)$", 64_000, "model card of nvidia/parakeet-ctc-1.1b"),
    Hours(r"^ge2e$", None, "Resemblyzer does not say how much of LibriSpeech-other and VoxCeleb was kept"),
    Hours(r"^(openwakeword|silero-vad|crepe|crepe-full)$", None, "not published in hours of speech"),
)
"""Hours of pre-training; the first pattern that matches applies."""

PUBLISHED_LEAST = 3
"""Minimum number of models with published results for the rule "published"; two orders of two say nothing."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    (r"wavlm",),
    (r"whisper|^distil-(small|medium|large)", r"w2v-bert", r"parakeet"),
    (r"unispeech-sat",),
    (r"(?<!distil)hubert", r"data2vec-audio"),
    (r"wav2vec2", r"xlsr", r"xls-r", r"^mms-"),
    (r"distilhubert",),
    (r"^ge2e$", r"^openwakeword$"),
    (r"^silero-vad$", r"^crepe(-full)?$"),
    (r"^(logmel|mfcc)$",),
)
"""Families of models, best first; families in one line are tied.

The order is that of SUPERB, as the papers of its entrants report it: WavLM above HuBERT (arXiv 2110.13900) and
UniSpeech-SAT between them (2110.05752), HuBERT above wav2vec 2.0 above filter banks (2105.01051), DistilHuBERT below
both (2110.01900). Other places are a judgement: Whisper is after WavLM, because it is better on content and worse on
speakers (2305.17733). w2v-BERT 2.0 and Parakeet are beside it, with as much training data; data2vec is beside HuBERT,
with the same training data. Small models for a single purpose are above untrained features; models trained on words
or speakers are above those trained on pitch or pauses.
"""


def model_name(spec: str) -> str:
    """Return the last part of a spec, in lower case, in which patterns are searched.

    Example:
        >>> model_name("openai/whisper-tiny.en"), model_name("pack:ge2e"), model_name("onnx:a/wavlm.onnx#*conv*")
        ('whisper-tiny.en', 'ge2e', 'wavlm.onnx')
    """
    return re.split(r"[/\\:]", spec.partition("#")[0].rstrip("/\\"))[-1].lower()


def pretraining_hours(candidate: Candidate) -> float | None:
    """Return the hours of speech on which the model was pre-trained, from `HOURS`; None if unknown."""
    name = model_name(candidate.model)
    return next((entry.hours for entry in HOURS if re.search(entry.pattern, name)), None)


def family_rank(candidate: Candidate) -> float | None:
    """Return the number of families below the model's family in `FAMILIES`; None if it belongs to none."""
    name = model_name(candidate.model)
    for index, patterns in enumerate(FAMILIES):
        if any(re.search(pattern, name) for pattern in patterns):
            return float(len(FAMILIES) - 1 - index)
    return None


def depth_in_blocks(candidate: Candidate) -> float:
    """Return the layer's index; for joint layers, the mean index of all layers."""
    return candidate.last_layer / 2 if isinstance(candidate.layer, str) else float(candidate.layer)


def depth(candidate: Candidate) -> float:
    """Return the layer's index divided by that of the last layer; 0 in a model with a single layer."""
    return depth_in_blocks(candidate) / max(candidate.last_layer, 1)


def published_value(candidate: Candidate) -> float | None:
    """Return the mean share of other models that the model is better than by published results; None if unknown."""
    return published_values([candidate.model]).get(candidate.model)


_RULES: dict[str, Rule] = {}


def register_rule(rule: Rule) -> None:
    """Register a rule under its name.

    Raises:
        ValueError: the name is already registered.
    """
    if rule.name in _RULES:
        raise ValueError(f"the rule {rule.name!r} is registered already; choose another name")
    _RULES[rule.name] = rule


def get_rule(name: str) -> Rule:
    """Return the rule with this name.

    Raises:
        OptionError: the name is unknown; the message lists the known ones.
    """
    if name not in _RULES:
        raise OptionError(f"unknown rule {name!r}; {did_you_mean(name, _RULES)}")
    return _RULES[name]


def rule_names() -> tuple[str, ...]:
    """Return the registered names, in order of registration."""
    return tuple(_RULES)


def rule_values(name: str, candidates: Sequence[Candidate]) -> NDArray[np.float64] | None:
    """Return the guesses of a rule, higher is better.

    A candidate to which the rule does not apply receives the median over the models to which it applies, each model
    counted once. A rule is therefore compared on the same candidates as the scores, and missing knowledge neither helps
    nor harms.

    Args:
        name: name of a registered rule.
        candidates: C candidates.

    Returns:
        (C,); None if the rule applies to no candidate, or to fewer models than it needs, or gives all candidates the
        same value.

    Raises:
        OptionError: the rule is unknown.

    Example:
        >>> whisper, mel = Candidate("openai/whisper-tiny", 4, 4, 384, 8_208_384), Candidate("logmel", 0, 0, 80, 0)
        >>> rule_values("hours", [whisper, mel])
        array([680000.,      0.])
    """
    rule = get_rule(name)
    guesses = rule.guesses(candidates)
    by_model = {c.model: guess for c, guess in zip(candidates, guesses, strict=True) if guess is not None}
    if len(by_model) < rule.least:
        return None
    median_guess = median(by_model.values())
    values = np.array([median_guess if guess is None else guess for guess in guesses], dtype=np.float64)
    return None if (values == values[0]).all() else values


for _rule in (
    Rule("depth", "depth, share of the model", depth),
    Rule("block", "depth in blocks", depth_in_blocks),
    Rule("last", "last layer", lambda c: float(c.layer == c.last_layer)),
    Rule("parameters", "parameters", lambda c: float(c.parameters)),
    Rule("dim", "feature dimension", lambda c: float(c.dim)),
    Rule("hours", "hours of pre-training", pretraining_hours),
    Rule("static", "fixed order of model families", family_rank),
    Rule("published", "mean published rank", published_value, published_values, PUBLISHED_LEAST),
):
    register_rule(_rule)
