"""Section on fine-tuning: its results compared with the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxrank._support.words import count, figure, strict_percent
from voxrank.report.page import charts
from voxrank.report.page.drawing import Row
from voxrank.report.page.parts import Chart, Part, Table, number_cell, rows_of, text_cell
from voxrank.report.page.words import shown

if TYPE_CHECKING:
    from voxrank.groundtruth.verdict import Judged, Validation

KINDS = {"score": "score", "rival": "cheap rival", "rule": "rule that looks at no data"}

SCATTERS = 4
"""Maximum number of scores and rivals that are plotted."""
TIED = 4
"""Maximum number of tied best candidates that are named."""
SMALLEST_P = 0.001


def truth_part(validation: Validation | None) -> Part | None:
    """Return the section of scores against fine-tuning, with Spearman's correlation and p; None without results."""
    if validation is None or validation.best is None:
        return None
    says = (
        f"{count(len(validation.truth), 'candidate')} fine-tuned for real ({validation.strategy}), judged by "
        f"{shown(validation.metric)} on held-out data. {_best(validation)}"
    )
    remark = "" if validation.verdict.none_learnt else validation.verdict.remark
    scores = [judged for judged in validation.judged if judged.kind != "rule"]
    made = tuple(_scatter(number, judged, validation) for number, judged in enumerate(scores[:SCATTERS]))
    return Part(
        "truth",
        "Was the ranking right?",
        "Fine-tuned",
        (says, remark) if remark else (says,),
        tables=(judged_table(validation.judged),),
        charts=tuple(chart for chart in made if chart is not None),
        beside=True,
    )


def _best(validation: Validation) -> str:
    """Return a sentence about the best candidates by fine-tuning; it names no single candidate if several are equal."""
    verdict, best = validation.verdict, validation.best
    reached = "" if best is None else figure(best.mean)
    if verdict.none_learnt:
        equal = f" All {verdict.candidates} have {reached}." if verdict.all_equal else ""
        return verdict.remark + equal
    if verdict.all_equal:
        return (
            f"Fine-tuning does not separate the candidates: all {verdict.candidates} have {reached}, and no score can "
            "agree with that."
        )
    named = "; ".join(f"{shown(place.model)}, layer {place.layer}" for place in verdict.best[:TIED])
    if len(verdict.best) == 1:
        return f"Best: {named}, {reached}."
    more = f" and {len(verdict.best) - TIED} more" if len(verdict.best) > TIED else ""
    return f"Best, {len(verdict.best)} exactly equal: {named}{more}, {reached} each."


def judged_table(judged: Sequence[Judged]) -> Table:
    """Return a table of each predictor's agreement with fine-tuning."""
    return Table(
        "Agreement with fine-tuning: scores, a cheap rival, and rules that look at no data",
        ("predictor", "kind", "Spearman", "p", "Kendall", "regret", "of the top 3"),
        rows_of(
            [
                text_cell(shown(one.name)),
                text_cell(KINDS.get(one.kind, one.kind)),
                number_cell(one.agreement.spearman.value, figure(one.agreement.spearman.value)),
                number_cell(one.agreement.spearman.p, p_value(one.agreement.spearman.p)),
                number_cell(one.agreement.kendall.value, figure(one.agreement.kendall.value)),
                number_cell(*_regret(one)),
                number_cell(one.agreement.recall, strict_percent(one.agreement.recall)),
            ]
            for one in judged
        ),
    )


def p_value(p: float | None) -> str:
    """Format a p-value.

    Example:
        >>> p_value(0.0312), p_value(2e-9)
        ('0.031', '< 0.001')
    """
    return "–" if p is None else f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def _regret(one: Judged) -> tuple[float | None, str]:
    found = one.agreement.regret
    return (None, "–") if found is None else (found.absolute, figure(found.absolute))


def _scatter(number: int, judged: Judged, validation: Validation) -> Chart | None:
    """Return a chart of one predictor against the metric; None if no tuned candidate has a value."""
    rows: list[Row] = []
    for one, value in zip(validation.truth, judged.values, strict=True):
        known = [v for v in one.values if v is not None]
        if value is None or not known:
            continue
        row = {"model": shown(one.model), "layer": str(one.layer), "x": float(f"{value:.5g}")}
        rows.append(row | {"y": round(one.mean or 0.0, 5), "low": min(known), "high": max(known)})
    if not rows:
        return None
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    name = shown(judged.name) + ("" if judged.higher_is_better else " (lower is better)")
    found = judged.agreement.spearman
    told = f"Spearman {figure(found.value)}" + ("" if found.p is None else f", p {_sign(found.p)}{p_value(found.p)}")
    if found.value is None:
        told = "no correlation can be given"
    text = f"{name} against {shown(validation.metric)} of {count(len(rows), 'candidate')}: {told}."
    metric = shown(validation.metric) + ("" if validation.higher_is_better else " (lower is better)")
    spec = charts.truth(
        rows, models, name, metric, reversed_axes=(not judged.higher_is_better, not validation.higher_is_better)
    )
    table = Table(
        f"{name} and {metric} of each candidate",
        ("model", "layer", name, metric, "lowest seed", "highest seed"),
        rows_of(
            [
                text_cell(row["model"]),
                number_cell(float(row["layer"]), row["layer"]),
                *(number_cell(row[key], figure(row[key])) for key in ("x", "y", "low", "high")),
            ]
            for row in rows
        ),
    )
    return Chart(f"truth-{number}", spec, text, table, title=name, tall="large")


def _sign(p: float) -> str:
    return "" if p < SMALLEST_P else "= "
