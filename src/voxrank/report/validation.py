"""Tables of a validation for the terminal, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxrank._support.words import fixed, noun
from voxrank.groundtruth.agreement import Agreement
from voxrank.groundtruth.correlation import FEWEST, Correlation
from voxrank.groundtruth.verdict import Judged, Truth, Validation
from voxrank.report.terminal import plain, show_skipped, show_warning

SHOWN_CANDIDATES = 12
SHOWN_TIED = 4
"""Maximum number of tied best candidates that are named."""
KINDS = {"score": "scores", "rival": "a cheap rival", "rule": "rules that look at no data"}


def show_validation(console: Console, validation: Validation) -> None:
    """Print the results of fine-tuning, the agreement of the predictors with them, and the cost of both."""
    show_warning(console, validation.warning)
    console.print(truth_table(validation))
    console.print(agreement_table(validation))
    console.print(in_words(validation))
    if (line := validation.verdict.remark) and not validation.verdict.none_learnt:
        console.print(line, style="yellow")
    for note in validation.notes:
        console.print(plain(note), style="yellow")
    if validation.failed:
        failure = next(failure for candidate in validation.truth for failure in candidate.failures)
        console.print(
            Text(f"Failed trials, which are not counted: {validation.failed}; the first: ").append_text(plain(failure)),
            style="yellow",
        )
    show_skipped(console, validation.skipped)


def truth_table(validation: Validation) -> Table:
    """Return a table of the candidates, best first by fine-tuning, with the metric of each seed and the mean."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "layer"):
        table.add_column(heading)
    for heading in (validation.metric, "by seed", validation.judged[0].name, "seconds"):
        table.add_column(heading, justify="right")
    first = validation.judged[0]
    order = sorted(range(len(validation.truth)), key=lambda i: _sort_key(validation.truth[i], validation))
    for index in order[:SHOWN_CANDIDATES]:
        candidate, value = validation.truth[index], first.values[index]
        seeds = " ".join("failed" if v is None else f"{v:.3f}" for v in candidate.values[:4])
        table.add_row(
            plain(candidate.model, width=24),
            str(candidate.layer),
            fixed(candidate.mean),
            seeds + (" …" if len(candidate.values) > 4 else ""),
            fixed(value),
            f"{candidate.seconds:.0f}",
        )
    if len(order) > SHOWN_CANDIDATES:
        table.add_row(f"and {len(order) - SHOWN_CANDIDATES} more", "", "", "", "", "")
    return table


def agreement_table(validation: Validation) -> Table:
    """Return a table of each predictor's agreement with fine-tuning."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("agreement with fine-tuning")
    for heading in ("Spearman", "p", "over seeds", "τ", "regret", "top 3", "s"):
        table.add_column(heading, justify="right")
    kind = ""
    for judged in validation.judged:
        if judged.kind != kind:
            kind = judged.kind
            table.add_row(Text(KINDS[kind], style="dim"))
        table.add_row(Text("  ").append_text(plain(judged.name, width=20)), *_cells(judged))
    return table


def _cells(judged: Judged) -> list[str]:
    agreement = judged.agreement
    seeds = "-" if agreement.spearman_over_seeds is None else "{:.2f} {:.2f}".format(*agreement.spearman_over_seeds)
    return [
        fixed(agreement.spearman.value),
        _p_value(agreement.spearman),
        seeds,
        fixed(agreement.kendall.value, 2),
        "-" if agreement.regret is None else f"{agreement.regret.absolute:.3f}",
        fixed(agreement.recall, 2),
        f"{judged.seconds:.0f}" if judged.seconds >= 1 else "0" if not judged.seconds else "<1",
    ]


def in_words(validation: Validation) -> Text:
    """Return the conclusion in a few sentences."""
    first = validation.judged[0]
    if validation.best is None:
        return Text("No trial finished.")
    text = _best(validation)
    if validation.verdict.none_learnt:
        text.append(" Any agreement of a score with it is chance.")
    elif validation.verdict.all_equal:
        text.append(" No score can agree with that: a rank correlation is undefined.")
    elif (value := first.agreement.spearman.value) is None:
        text.append(" ").append_text(plain(first.name)).append(f": {_undefined(first, validation)}.")
    else:
        text.append(" ").append_text(plain(first.name)).append(f" agrees with fine-tuning by Spearman {fixed(value)}")
        text.append(f" over {first.agreement.n} candidates{_ceiling(first.agreement)}")
        text.append(_best_rule(validation.judged))
    text.append(f" The scores took {validation.cost.ratio:,.0f} times less than fine-tuning.")
    return text


def _best(validation: Validation) -> Text:
    """Return a sentence about the best candidates by fine-tuning; it names no single candidate if several are equal."""
    verdict, best = validation.verdict, validation.best
    figure = "" if best is None else f"{validation.metric} {best.mean:.4f}"
    if verdict.none_learnt:
        equal = f" All {verdict.candidates} candidates have {figure}." if verdict.all_equal else ""
        return Text(verdict.remark + equal)
    if verdict.all_equal:
        return Text(f"Fine-tuning does not separate the candidates: all {verdict.candidates} have {figure}.")
    tied = len(verdict.best) > 1
    text = Text(f"Fine-tuned best, {len(verdict.best)} exactly equal: " if tied else "Fine-tuned best: ")
    for number, candidate in enumerate(verdict.best[:SHOWN_TIED]):
        text.append("; " if number else "").append_text(plain(candidate.model)).append(f" layer {candidate.layer}")
    more = len(verdict.best) - SHOWN_TIED
    before = "" if tied or best is None or best.untrained_mean is None else f" (untrained {best.untrained_mean:.4f})"
    return text.append(f" and {more} more" if more > 0 else "").append(f", {figure}{' each' if tied else before}.")


def _undefined(judged: Judged, validation: Validation) -> str:
    """Return why a predictor has no rank correlation with the truth, although not all truths are equal."""
    n = judged.agreement.n
    if n < FEWEST:
        return f"no rank correlation can be given over {n} {noun(n, 'candidate')}"
    values = zip(judged.values, validation.truth, strict=True)
    if len({value for value, candidate in values if value is not None and candidate.mean is not None}) == 1:
        return f"it scores all {n} candidates the same, so that no rank correlation is defined"
    return f"the {n} candidates that it scores are equal after fine-tuning, so that no rank correlation is defined"


def _ceiling(agreement: Agreement) -> str:
    """Return how well one seed of the truth agrees with another, which bounds any correlation with the truth."""
    if agreement.reliability is None:
        return "; the noise of the truth is unknown: it has one seed, or its seeds do not separate the candidates."
    return f"; one seed agrees with another by {agreement.reliability.one_seed:.3f}."


def _best_rule(judged: Sequence[Judged]) -> str:
    """Return how the best rule that uses no data compares with the first score."""
    correlation = judged[0].agreement.spearman.value
    better = [
        (predictor.agreement.spearman.value, predictor.name)
        for predictor in judged
        if predictor.kind == "rule" and predictor.agreement.spearman.value is not None
    ]
    if correlation is None or not better:
        return ""
    value, name = max(better)
    verb = "does better" if value > correlation else "does worse" if value < correlation else "does as well"
    return f" The best rule that looks at no data, {plain(name)}, {verb}: {value:.3f}."


def _sort_key(candidate: Truth, validation: Validation) -> float:
    """Return a key that sorts candidates best first, failed ones last."""
    if candidate.mean is None:
        return float("inf")
    return -candidate.mean if validation.higher_is_better else candidate.mean


def _p_value(correlation: Correlation) -> str:
    return "-" if correlation.p is None else f"{correlation.p:.1g}" if correlation.p < 0.001 else f"{correlation.p:.3f}"
