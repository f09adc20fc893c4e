"""The published ranks of the models of the catalogue, within each source of published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean

from voxrank.encoders.catalogue import (
    SORTS,
    CatalogueModel,
    Published,
    find_model,
    load_catalogue,
    sort_models,
)
from voxrank.errors import OptionError, did_you_mean
from voxrank.results.published import PublishedRank

Results = Mapping[str, Sequence[Published]]
"""Name of a model → its published results of one source."""


def published_ranks(spec: str) -> tuple[PublishedRank, ...]:
    """Return the published ranks of the model that a spec names, one for each source; empty if nothing is published.

    Args:
        spec: hub id, or a model of the offline pack that is published on the hub.
    """
    model = find_model(spec)
    return () if model is None else _all_ranks().get(model.id, ())


def published_values(specs: Sequence[str]) -> dict[str, float]:
    """Return `PublishedRank.better_than` of the models that have one, by spec, from a single source.

    The values of two sources are not comparable, because each compares other models. The source with results of the
    most of these models is used, and the first one of several.

    Args:
        specs: specs of models.

    Example:
        >>> sorted(published_values(["openai/whisper-tiny", "facebook/hubert-base-ls960", "logmel"]))
        ['facebook/hubert-base-ls960', 'openai/whisper-tiny']
    """
    ranks = {spec: published_ranks(spec) for spec in specs}
    by_source = {
        source: {spec: rank.better_than for spec, own in ranks.items() for rank in own if rank.source == source}
        for source in load_catalogue().sources
    }
    return max(by_source.values(), key=len)


def number_of_models(source: str) -> int:
    """Return the number of models with results of a source."""
    return len(results_of(source))


def order_names() -> tuple[str, ...]:
    """Return the names of the orders of `sort_by_facts`."""
    return (*SORTS, *load_catalogue().sources)


def sort_by_facts(models: Sequence[CatalogueModel], name: str) -> list[CatalogueModel]:
    """Return models in the order of a fact, or of their places in a source; those without it come last.

    Args:
        models: models of the catalogue.
        name: a name of `SORTS`, or "maeb" or "superb".

    Raises:
        OptionError: there is no such order.
    """
    if name not in order_names():
        raise OptionError(f"the catalogue has no order {name!r}; {did_you_mean(name, order_names())}")
    if name in SORTS:
        return sort_models(models, name)
    places = {m.id: rank.place for m in models for rank in published_ranks(m.id) if rank.source == name}
    return sorted(models, key=lambda model: places.get(model.id, len(models) + number_of_models(name)))


def results_of(source: str) -> dict[str, tuple[Published, ...]]:
    """Return the results of one source by model, with those of models that are not on the hub."""
    whole = load_catalogue()
    by_name = {model.id: model.published for model in whole.models} | dict(whole.others)
    own = {name: tuple(one for one in figures if one.source == source) for name, figures in by_name.items()}
    return {name: figures for name, figures in own.items() if figures}


def shares(results: Results) -> dict[str, dict[str, float]]:
    """Return task → model → share of the other models that it is better than; the mean over the metrics of the task.

    Args:
        results: results of one source.

    Example:
        >>> figures = {name: [Published("superb", "PR", "per", value)] for name, value in (("a", 5.0), ("b", 9.0))}
        >>> shares(figures)
        {'PR': {'a': 1.0, 'b': 0.0}}
    """
    columns: dict[tuple[str, str], dict[str, float]] = {}
    for name, figures in results.items():
        for one in figures:
            columns.setdefault((one.task, one.metric), {})[name] = one.goodness
    by_task: dict[str, dict[str, list[float]]] = {}
    for (task, _), values in sorted(columns.items()):
        for name, value in values.items():
            worse = sum((other < value) + (other == value) / 2 for other in values.values()) - 0.5
            by_task.setdefault(task, {}).setdefault(name, []).append(worse / max(len(values) - 1, 1))
    return {task: {name: fmean(own) for name, own in by_name.items()} for task, by_name in by_task.items()}


@lru_cache(maxsize=1)
def _all_ranks() -> dict[str, tuple[PublishedRank, ...]]:
    """Return model → its ranks, in the order of the sources."""
    found: dict[str, tuple[PublishedRank, ...]] = {}
    for source in load_catalogue().sources:
        for name, rank in _ranks(source).items():
            found[name] = (*found.get(name, ()), rank)
    return found


def _ranks(source: str) -> dict[str, PublishedRank]:
    """Return model → its rank within one source."""
    results = results_of(source)
    by_task = shares(results)
    means = {name: fmean(own[name] for own in by_task.values() if name in own) for name in results}
    ranks: dict[str, PublishedRank] = {}
    for name, mean in means.items():
        own = [task for task in by_task.values() if name in task]
        rank = fmean(1 + (1 - task[name]) * (len(task) - 1) for task in own)
        place = 1 + sum(other > mean for other in means.values())
        ranks[name] = PublishedRank(source, rank, mean, place, len(means), len(own))
    return ranks
