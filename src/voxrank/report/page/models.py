"""Sections of the ranking: the table of models, and the scores of their layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from voxrank._support.words import NO_BREAK, NONE, figure, si, strict_percent, times_real_time
from voxrank.report.page import charts
from voxrank.report.page.parts import Cell, Chart, Folded, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import first_score, higher_is_better, interval, of_layer, score_names, shown, titled
from voxrank.report.terminal import rank_range
from voxrank.results.expectation import ordering
from voxrank.results.ranking import LayerScore, ModelScore, Ranking, ScoreValue

LISTED = 400
"""Maximum number of layers in the table, best first."""
MARGIN = 0.06
"""Margin above and below the curves, as a share of the range of scores."""


def ranking_part(ranking: Ranking) -> Part:
    """Return the section of models, best first, each at its best layer."""
    by = "" if ordering(ranking) else f" by “{titled(ranking, first_score(ranking))}”"
    paragraphs = [
        f"Each model at its best layer{by}. "
        + (
            "“Best in” is the share of resamples of the data in which a layer of the model came first; models that "
            "share a rank cannot be told apart."
            if ranking.beats is not None and len(ranking.models) > 1
            else ""
        )
    ]
    if order := ordering(ranking):
        paragraphs.append(shown(order))
    if any(model.share < 1 for model in ranking.models):
        paragraphs.append(
            "Models that could not be best any more were dropped early, and are ranked by the data they saw."
        )
    if any(model.published for model in ranking.models):
        paragraphs.append(
            "“Published” is the place among the models of the catalogue by the mean rank over the tasks of MAEB, or "
            "SUPERB. It does not depend on your data."
        )
    return Part("ranking", "Ranking", "Ranking", tuple(paragraphs), tables=(models_table(ranking),))


def models_table(ranking: Ranking) -> Table:
    """Return a table with one row per model."""
    score, *others = score_names(ranking)
    speeds = any(model.speed is not None for model in ranking.models)
    early = any(model.share < 1 for model in ranking.models)
    headings = ["rank", "model", "best layer", score, *(["best in"] if len(ranking.models) > 1 else [])]
    known = any(model.published for model in ranking.models)
    headings += ["parameters", *(["speed"] if speeds else []), *(["data seen"] if early else [])]
    headings += [*(["published"] if known else []), *others]
    ranks = {model.model: rank_range(group) for group in ranking.groups for model in group}
    names = {(layer.model, layer.layer): layer.name for layer in ranking.layers}
    spans = _spans([model.scores[score] for model in ranking.models])
    rows = []
    for model, span in zip(ranking.models, spans, strict=True):
        row = [
            Cell(ranks[model.model].replace("-", "\N{EN DASH}"), model.rank),
            text_cell(shown(model.model)),
            layer_cell(model.layer, names.get((model.model, model.layer), "")),
            score_cell(model.scores[score], span),
        ]
        if len(ranking.models) > 1:
            row.append(number_cell(model.probability_best, strict_percent(model.probability_best)))
        row.append(number_cell(model.parameters, si(model.parameters)))
        row += [number_cell(model.speed, times_real_time(model.speed))] * speeds
        row += [number_cell(model.share, strict_percent(model.share))] * early
        row += [_published_cell(model)] * known
        row += [score_cell(model.scores[name]) for name in others if name in model.scores]
        rows.append(row)
    return Table(
        "Models, best first, with 95 % intervals",
        tuple(map(shown, headings)),
        rows_of(rows),
        sorted_by=(0, True),
        header=1,
        marked=tuple(i for i, model in enumerate(ranking.models) if model in ranking.groups[0]),
    )


def _published_cell(model: ModelScore) -> Cell:
    """Return the places of a model by its published results; sorted by the best of them."""
    places = ", ".join(rank.title.replace(" ", NO_BREAK) for rank in model.published)
    return Cell(places or NONE, min((1 - rank.better_than for rank in model.published), default=None))


def layers_part(ranking: Ranking) -> Part:
    """Return the section of every model's scores by layer."""
    score = first_score(ranking)
    layers = _by_model(ranking)
    rows = list(curve_rows(ranking))
    values = [row[key] for row in rows for key in ("y", "low", "high") if row[key] is not None]
    margin = (max(values) - min(values) or 1.0) * MARGIN
    last = max(row["x"] for row in rows)
    has_intervals = any(row["low"] is not None for row in rows)
    curve = charts.layer_curve(
        titled(ranking, score),
        (min(values) - margin, max(values) + margin),
        last,
        reverse=not higher_is_better(ranking, score),
        banded=has_intervals,
    )
    curves = tuple(
        Chart(
            f"layers-{number}",
            charts.with_model(curve, number),
            _curve_in_words(ranking, model, layers[model.model]),
            title=shown(model.model),
            height="small",
        )
        for number, model in enumerate(ranking.models)
    )
    band = " The band is the 95 % interval." if has_intervals else ""
    joint = any(isinstance(layer.layer, str) for layer in ranking.layers)
    together = " Points to the right of a curve are layers taken together." if joint else ""
    intro = (
        f"“{titled(ranking, score)}” of every layer; the large point is the layer that ranks first.{band} "
        f"Grey lines are the other models, for comparison.{together}"
    )
    return Part(
        "layers",
        "Layer by layer",
        "Layers",
        (intro,),
        charts=curves,
        beside=True,
        folded=(Folded("All layers as a table", layers_table(ranking)),),
    )


def curve_rows(ranking: Ranking) -> Iterable[dict[str, Any]]:
    """Yield the data of all layer curves: single layers in order, then joint layers."""
    score = first_score(ranking)
    layers = _by_model(ranking)
    for number, model in enumerate(ranking.models):
        last = max((layer.layer for layer in layers[model.model] if isinstance(layer.layer, int)), default=-1)
        joint = 0
        for layer in layers[model.model]:
            single = isinstance(layer.layer, int)
            joint += not single
            value = layer.scores[score]
            yield {
                "m": number,
                "name": shown(model.model),
                "layer": str(layer.layer),
                "x": layer.layer if isinstance(layer.layer, int) else last + joint,
                "line": single,
                "y": short(value.value),
                "low": short(value.low),
                "high": short(value.high),
                "best": layer.layer == model.layer,
            }


def layers_table(ranking: Ranking) -> Table:
    """Return a table with one row per layer, best first, with all scores."""
    names = score_names(ranking)
    rows = [
        [
            text_cell(shown(layer.model)),
            layer_cell(layer.layer, layer.name),
            number_cell(layer.dim, f"{layer.dim:,}"),
            *(score_cell(layer.scores[name]) for name in names if name in layer.scores),
        ]
        for layer in ranking.layers[:LISTED]
    ]
    left_out = len(ranking.layers) - len(rows)
    more = f"; {left_out:,} more are in layers.csv" if left_out > 0 else ""
    return Table(
        f"All layers, best first, with 95 % intervals{more}",
        ("model", "layer", "dim", *map(shown, names)),
        rows_of(rows),
    )


def _by_model(ranking: Ranking) -> dict[str, list[LayerScore]]:
    """Return the layers of each model in order, joint layers last."""
    layers: dict[str, list[LayerScore]] = {model.model: [] for model in ranking.models}
    for layer in sorted(ranking.layers, key=lambda x: (isinstance(x.layer, str), x.layer)):
        layers[layer.model].append(layer)
    return layers


def _curve_in_words(ranking: Ranking, model: ModelScore, layers: Sequence[LayerScore]) -> str:
    score = first_score(ranking)
    best = model.scores[score]
    worst = (min if higher_is_better(ranking, score) else max)(layers, key=lambda x: x.scores[score].value)
    interval_text = f" ({interval(best)})" if best.low is not None else ""
    text = f"Ranked layer: {of_layer(model.layer)}, {figure(best.value)}{interval_text}"
    if len(layers) == 1:
        return f"{text}, its only layer."
    return f"{text}; worst at {of_layer(worst.layer)}: {figure(worst.scores[score].value)}."


def layer_cell(layer: int | str, name: str = "") -> Cell:
    """Return a cell for a layer and its name, sorted by number, joint layers last."""
    return Cell(str(layer), float(layer) if isinstance(layer, int) else math.inf, number=True, detail=shown(name))


def score_cell(value: ScoreValue, span: tuple[float, float, float] | None = None) -> Cell:
    """Return a cell for a score, with its interval as text and, with `span`, as a drawing."""
    has_interval = value.low is not None and value.high is not None
    return Cell(
        figure(value.value),
        value.value,
        number=True,
        span=span if has_interval else None,
        detail=interval(value) if has_interval else "",
    )


def _spans(values: Sequence[ScoreValue]) -> list[tuple[float, float, float]]:
    """Return low end, value and high end of each score, in percent of the range of all."""
    ends = [end for v in values for end in (v.low, v.value, v.high) if end is not None]
    low, width = min(ends), max(ends) - min(ends) or 1.0

    def position(end: float | None, other: float) -> float:
        return round(100 * ((other if end is None else end) - low) / width, 2)

    return [(position(v.low, v.value), position(v.value, v.value), position(v.high, v.value)) for v in values]


def short(value: float | None) -> float | None:
    """Round a value to five significant digits, as many as a chart can show."""
    return None if value is None else float(f"{value:.5g}")
