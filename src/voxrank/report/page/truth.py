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
    intro = (
        f"{count(len(validation.truth), 'candidate')} fine-tuned for real ({validation.strategy}), judged by "
        f"{shown(validation.metric)} on held-out data. {_best(validation)}"
    )
    remark = "" if validation.verdict.none_learnt else validation.verdict.remark
    scores = [judged for judged in validation.judged if judged.kind != "rule"]
    plots = tuple(_scatter(number, judged, validation) for number, judged in enumerate(scores[:SCATTERS]))
    return Part(
        "truth",
        "Was the ranking right?",
        "Fine-tuned",
        (intro, remark) if remark else (intro,),
        tables=(judged_table(validation.judged),),
        charts=tuple(chart for chart in plots if chart is not None),
        beside=True,
    )


def _best(validation: Validation) -> str:
    """Return a sentence about the best candidates by fine-tuning; it names no single candidate if several are equal."""
    verdict, best = validation.verdict, validation.best
    metric = "" if best is None else figure(best.mean)
    if verdict.none_learnt:
        equal = f" All {verdict.candidates} have {metric}." if verdict.all_equal else ""
        return verdict.remark + equal
    if verdict.all_equal:
        return (
            f"Fine-tuning does not separate the candidates: all {verdict.candidates} have {metric}, and no score can "
            "agree with that."
        )
    named = "; ".join(f"{shown(candidate.model)}, layer {candidate.layer}" for candidate in verdict.best[:TIED])
    if len(verdict.best) == 1:
        return f"Best: {named}, {metric}."
    more = f" and {len(verdict.best) - TIED} more" if len(verdict.best) > TIED else ""
    return f"Best, {len(verdict.best)} exactly equal: {named}{more}, {metric} each."


def judged_table(judged: Sequence[Judged]) -> Table:
    """Return a table of each predictor's agreement with fine-tuning."""
    return Table(
        "Agreement with fine-tuning: scores, a cheap rival, and rules that look at no data",
        ("predictor", "kind", "Spearman", "p", "Kendall", "regret", "of the top 3"),
        rows_of(
            [
                text_cell(shown(predictor.name)),
                text_cell(KINDS.get(predictor.kind, predictor.kind)),
                number_cell(predictor.agreement.spearman.value, figure(predictor.agreement.spearman.value)),
                number_cell(predictor.agreement.spearman.p, p_value(predictor.agreement.spearman.p)),
                number_cell(predictor.agreement.kendall.value, figure(predictor.agreement.kendall.value)),
                number_cell(*_regret(predictor)),
                number_cell(predictor.agreement.recall, strict_percent(predictor.agreement.recall)),
            ]
            for predictor in judged
        ),
    )


def p_value(p: float | None) -> str:
    """Format a p-value.

    Example:
        >>> p_value(0.0312), p_value(2e-9)
        ('0.031', '< 0.001')
    """
    return "–" if p is None else f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def _regret(predictor: Judged) -> tuple[float | None, str]:
    regret = predictor.agreement.regret
    return (None, "–") if regret is None else (regret.absolute, figure(regret.absolute))


def _scatter(number: int, judged: Judged, validation: Validation) -> Chart | None:
    """Return a chart of one predictor against the metric; None if no tuned candidate has a value."""
    rows: list[Row] = []
    for candidate, value in zip(validation.truth, judged.values, strict=True):
        by_seed = [v for v in candidate.values if v is not None]
        if value is None or not by_seed:
            continue
        row = {"model": shown(candidate.model), "layer": str(candidate.layer), "x": float(f"{value:.5g}")}
        rows.append(row | {"y": round(candidate.mean or 0.0, 5), "low": min(by_seed), "high": max(by_seed)})
    if not rows:
        return None
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    name = shown(judged.name) + ("" if judged.higher_is_better else " (lower is better)")
    spearman = judged.agreement.spearman
    result = f"Spearman {figure(spearman.value)}" + (
        "" if spearman.p is None else f", p {_sign(spearman.p)}{p_value(spearman.p)}"
    )
    if spearman.value is None:
        result = "no correlation can be given"
    text = f"{name} against {shown(validation.metric)} of {count(len(rows), 'candidate')}: {result}."
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
    return Chart(f"truth-{number}", spec, text, table, title=name, height="large")


def _sign(p: float) -> str:
    return "" if p < SMALLEST_P else "= "
