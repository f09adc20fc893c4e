"""Model groups: names such as `@base` that stand for a few models of the catalogue.

The rule, by which every group is made from the catalogue:

1. Candidates are models for speech that voxrank can load, that meet the condition of the group (`GROUPS`), and whose
   checkpoint has at most 1.6 billion weights, as Whisper large has, since the whole of it is downloaded.
2. They are ordered by published results, best first, from the source that has results of most of them; then the others,
   newest first.
3. The first of each family is taken, in this order; then the second of each family, until there are ten models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from voxrank.encoders.catalogue import MANY_LANGUAGES, CatalogueModel, read_catalogue
from voxrank.encoders.known import GROUP_MARK
from voxrank.encoders.published import published_values
from voxrank.errors import OptionError, did_you_mean

Request = TypeVar("Request", bound=Any)
SIZE = 10
"""Maximum number of models in a group."""
MAX_CHECKPOINT = 1.6e9
"""Maximum number of weights of a checkpoint in a group."""
PER_FAMILY = 2
"""Maximum number of models of one family in a group."""
NOT_SPEECH = frozenset({"tagging", "captions", "reconstruction"})
"""Kinds of training of models for sounds of every kind."""
CONFORMERS = frozenset(
    {
        "canary", "cohere_asr", "granite_speech", "nemotron_asr_streaming", "parakeet_ctc", "parakeet_encoder",
        "parakeet_rnnt", "parakeet_tdt", "seamless_m4t", "seamless_m4t_v2", "wav2vec2-bert", "wav2vec2-conformer",
    }
)  # fmt: skip
"""Families whose blocks are conformers."""
MANY = 20
"""Minimum number of languages of a multilingual model."""


@dataclass(frozen=True)
class ModelGroup:
    """A name for a few models of the catalogue.

    Attributes:
        name: the name, which begins with "@".
        about: which models belong to it.
        holds: returns whether a model may belong to it.
    """

    name: str
    about: str
    holds: Callable[[CatalogueModel], bool]


def _between(low: float, high: float) -> Callable[[CatalogueModel], bool]:
    """Return a condition on the size of the encoder, in weights."""
    return lambda model: model.size is not None and low < model.size <= high


def _is_multilingual(model: CatalogueModel) -> bool:
    return len(model.languages) >= MANY or MANY_LANGUAGES in model.languages


GROUPS = {
    group.name: group
    for group in (
        ModelGroup("@small", "encoders of at most 60 million weights", _between(0, 60e6)),
        ModelGroup("@base", "encoders of 60 to 130 million weights", _between(60e6, 130e6)),
        ModelGroup("@large", "encoders of 130 to 700 million weights", _between(130e6, 700e6)),
        ModelGroup("@multilingual", f"encoders trained on at least {MANY} languages", _is_multilingual),
        ModelGroup("@conformer", "encoders with conformer blocks", lambda model: model.family in CONFORMERS),
    )
}
"""Name → group."""


def with_models(request: Request) -> Request:
    """Return a request in which the models of groups stand for the names of the groups.

    Args:
        request: a dataclass with the field `models`.

    Raises:
        OptionError: there is no such group.
    """
    if isinstance(request.models, str):  # refused elsewhere, by a message of its own
        return request
    return replace(request, models=expand_groups(request.models))


def expand_groups(specs: Sequence[str]) -> tuple[str, ...]:
    """Replace the name of each group by the ids of its models; a model that comes again through a group counts once.

    Args:
        specs: specs of models, and names of groups.

    Returns:
        The specs, in order. A spec that is given twice by itself is returned twice, and refused elsewhere.

    Raises:
        OptionError: there is no such group.

    Example:
        >>> expand_groups(["logmel"])
        ('logmel',)
    """
    expanded: list[str] = []
    named = {spec for spec in specs if not spec.startswith(GROUP_MARK)}
    for spec in specs:
        if spec.startswith(GROUP_MARK):
            expanded += [name for name in group_models(spec) if name not in named and name not in expanded]
        else:
            expanded.append(spec)
    return tuple(expanded)


@lru_cache
def group_models(name: str) -> tuple[str, ...]:
    """Return the ids of the models of a group, in the order in which the rule takes them.

    Raises:
        OptionError: there is no such group.
    """
    if name not in GROUPS:
        raise OptionError(f"there is no group of models {name!r}; {did_you_mean(name, GROUPS)}")
    by_family: dict[str | None, list[str]] = {}
    for model in _ordered([model for model in read_catalogue() if _is_eligible(model) and GROUPS[name].holds(model)]):
        by_family.setdefault(model.family, []).append(model.id)
    rounds = [own[turn] for turn in range(PER_FAMILY) for own in by_family.values() if turn < len(own)]
    return tuple(rounds[:SIZE])


def _is_eligible(model: CatalogueModel) -> bool:
    """Return whether a model is for speech, can be loaded, and is of known and moderate size."""
    size = max(model.parameters or 0, model.size or 0)
    is_for_speech = not NOT_SPEECH & set(model.pretraining.split(" + "))
    return is_for_speech and not model.reason and 0 < size <= MAX_CHECKPOINT


def _ordered(models: Sequence[CatalogueModel]) -> list[CatalogueModel]:
    """Return the models with published results, best first, then the others, newest first."""
    values = published_values([model.id for model in models])
    return sorted(models, key=lambda model: (-values.get(model.id, -1.0), _newest_first(model)))


def _newest_first(model: CatalogueModel) -> tuple[int, ...]:
    return tuple(-int(part) for part in model.released.split("-")) if model.released else (0,)
