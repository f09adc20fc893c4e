"""The catalogue: public speech encoders that people choose from, with their facts and their published results.

`catalogue.json` is made by `scripts/make_catalogue.py`. It is read on first use, and nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from voxrank.config import Hertz
from voxrank.errors import OptionError, did_you_mean

FILE = Path(__file__).with_name("catalogue.json")
MANY_LANGUAGES = "mul"
"""Code among a model's languages that stands for many more than those listed; it matches every language."""
LOWER_IS_BETTER = frozenset({"wer", "LM_wer", "per", "cer", "eer", "der"})
"""Metrics of published results that are error rates."""
OPEN_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-3.0"})
"""Licences that allow commercial use."""
OPEN = "open"
"""Name of the choice of all `OPEN_LICENCES`."""
_PACK = "pack:"
_OWNERS_OF_PACK = ("openai/",)
"""Owners of the hub whose models the offline pack holds under the same name."""


@dataclass(frozen=True)
class Published:
    """A published result of a model.

    Attributes:
        source: "maeb" or "superb".
        task: name of the task in the source.
        metric: name of the metric; `LOWER_IS_BETTER` says which are error rates. MAEB's is "score", its main score.
        value: the result, in the unit of the source.
        spread: standard deviation over the experiments; None where it is not published.
    """

    source: str
    task: str
    metric: str
    value: float
    spread: float | None = None

    @property
    def goodness(self) -> float:
        """The result, with the sign changed for error rates: higher is better."""
        return -self.value if self.metric in LOWER_IS_BETTER else self.value


@dataclass(frozen=True)
class CatalogueModel:
    """A public model. A fact that is not known is None, or empty.

    Attributes:
        id: hub id, which is the model's spec.
        family: `model_type` in transformers; None for models of other libraries.
        parameters: number of weights of the whole checkpoint as published, often rounded.
        encoder_parameters: number of weights of the encoder, which is what voxrank loads.
        layers: number of blocks of the encoder.
        width: number of features in a frame.
        frame_rate: frames per second at the blocks, in Hz.
        hours: hours of audio in pre-training, without later fine-tuning.
        pretraining: kinds of training in their order, joined by " + ".
        languages: codes of ISO 639, sorted; "mul" for many more than those listed.
        licence: identifier of SPDX, in lower case.
        released: date of release, as YYYY, YYYY-MM or YYYY-MM-DD.
        source: source of the hours and of the other facts that MAEB and SUPERB do not state.
        reason: why voxrank cannot load the model; empty where it can.
        published: published results.
    """

    id: str
    family: str | None
    parameters: int | None
    layers: int | None
    width: int | None
    frame_rate: Hertz | None
    hours: float | None
    pretraining: str
    languages: tuple[str, ...]
    licence: str | None
    released: str | None
    published: tuple[Published, ...] = ()
    encoder_parameters: int | None = None
    source: str = ""
    reason: str = ""

    @property
    def size(self) -> int | None:
        """The number of weights of the encoder, or of the whole checkpoint where that of the encoder is not known."""
        return self.parameters if self.encoder_parameters is None else self.encoder_parameters

    def speaks(self, language: str) -> bool:
        """Return whether a language, as a code of ISO 639, was among those of the training."""
        return language in self.languages or MANY_LANGUAGES in self.languages


@dataclass(frozen=True)
class Catalogue:
    """The content of `catalogue.json`.

    Attributes:
        models: the models.
        sources: source of published results → its title, origin, licence, and what was measured.
        others: published results of models that are not on the hub, by name; they count in ranks.
    """

    models: tuple[CatalogueModel, ...]
    sources: Mapping[str, Mapping[str, str]]
    others: Mapping[str, tuple[Published, ...]]


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """Return the whole catalogue, read once."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    others = {name: _figures(figures) for name, figures in content["others"].items()}
    return Catalogue(tuple(map(_model, content["models"])), content["sources"], others)


def read_catalogue() -> tuple[CatalogueModel, ...]:
    """Return the models of the catalogue, read once."""
    return load_catalogue().models


def find_model(spec: str) -> CatalogueModel | None:
    """Return the model of the catalogue that a spec names, or None.

    The models of the offline pack that are published on the hub count as such.

    Example:
        >>> find_model("pack:whisper-base").id
        'openai/whisper-base'
    """
    by_id = _by_id()
    if spec.startswith(_PACK):
        name = spec.removeprefix(_PACK)
        return next((by_id[owner + name] for owner in _OWNERS_OF_PACK if owner + name in by_id), None)
    return by_id.get(spec)


def select_models(
    models: Iterable[CatalogueModel],
    *,
    language: str | None = None,
    max_parameters: float | None = None,
    licence: str | None = None,
    family: str | None = None,
) -> list[CatalogueModel]:
    """Return the models that meet every given condition, in their order.

    Args:
        models: models of the catalogue.
        language: code of ISO 639, such as "de"; a region, as in "de-AT", is ignored.
        max_parameters: largest size of the encoder; models of unknown size are left out.
        licence: an identifier, or "open" for all that allow commercial use.
        family: `model_type` in transformers.

    Raises:
        OptionError: no model has this language, licence or family.
    """
    chosen = list(models)
    if language is not None:
        code = _known("language", language.replace("_", "-").partition("-")[0].lower(), _languages(chosen))
        chosen = [model for model in chosen if model.speaks(code)]
    if licence is not None:
        name = _known("licence", licence.lower(), {OPEN, *filter(None, (model.licence for model in models))})
        chosen = [m for m in chosen if (m.licence in OPEN_LICENCES if name == OPEN else m.licence == name)]
    if family is not None:
        name = _known("family", family, {model.family for model in models if model.family is not None})
        chosen = [model for model in chosen if model.family == name]
    if max_parameters is not None:
        chosen = [model for model in chosen if model.size is not None and model.size <= max_parameters]
    return chosen


SORTS: dict[str, Callable[[CatalogueModel], Any]] = {
    "id": lambda model: model.id.lower(),
    "family": lambda model: model.family,
    "parameters": lambda model: model.size,
    "layers": lambda model: model.layers,
    "width": lambda model: model.width,
    "rate": lambda model: model.frame_rate,
    "hours": lambda model: None if model.hours is None else -model.hours,
    "released": lambda model: None if model.released is None else [-int(part) for part in model.released.split("-")],
    "licence": lambda model: model.licence,
}
"""Name of an order → key; the most hours and the newest release come first, otherwise the smallest value."""


def sort_models(models: Sequence[CatalogueModel], name: str) -> list[CatalogueModel]:
    """Return the models in order; those without the fact come last, and equal ones keep their order.

    Raises:
        OptionError: there is no such order.
    """
    key = SORTS[_known("order", name, SORTS)]
    known = [model for model in models if key(model) is not None]
    return [*sorted(known, key=key), *(model for model in models if key(model) is None)]


@lru_cache(maxsize=1)
def _by_id() -> dict[str, CatalogueModel]:
    return {model.id: model for model in read_catalogue()}


def _languages(models: Iterable[CatalogueModel]) -> set[str]:
    return {code for model in models for code in model.languages if code != MANY_LANGUAGES}


def _known(noun: str, name: str, known: Iterable[str]) -> str:
    """Return a name if it is known.

    Raises:
        OptionError: it is not.
    """
    names = set(known)
    if name not in names:
        raise OptionError(f"the catalogue has no {noun} {name!r}; {did_you_mean(name, names)}")
    return name


def _model(facts: dict[str, Any]) -> CatalogueModel:
    known = {field.name for field in fields(CatalogueModel)}
    own = {name: value for name, value in facts.items() if name in known}
    return CatalogueModel(**own | {"languages": tuple(facts["languages"]), "published": _figures(facts["published"])})


def _figures(figures: Iterable[dict[str, Any]]) -> tuple[Published, ...]:
    return tuple(Published(**figure) for figure in figures)
