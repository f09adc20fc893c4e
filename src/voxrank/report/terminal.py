"""A ranking as tables for the terminal: at most 80 columns, names shown as plain text."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxrank.data.utterance import Skipped
from voxrank.details import ClassView, Details, Knowledge, LearningCurve
from voxrank.results import LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity

WIDTH_COLUMNS = 80
SHOWN_REASONS = 5
SCORES_ABREAST = 5
HARDEST, CONFUSED = 3, 2
"""Classes shown, and others that each is taken for."""
FEW = 5
"""Samples of a class from which on its share is shown."""
BARS = "▁▂▃▄▅▆▇█"


def plain(name: str, width: int | None = None) -> Text:
    """A name as text that the terminal cannot take for markup or control codes, cut to `width` columns."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in name)
    text = Text(shown)
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text


def show_ranking(console: Console, ranking: Ranking) -> None:
    """Print the models, best first, what to fine-tune, what was skipped and what it took."""
    names = ranking.options["scores"]
    console.print(models_table(ranking, names[0]))
    if len(names) > 1:
        for start in range(0, len(names), SCORES_ABREAST):
            console.print(scores_table(ranking, names[start : start + SCORES_ABREAST]))
    console.print(verdict(ranking))
    for found in ranking.sensitivity:
        console.print(sensitivity(found))
    show_details(console, ranking)
    show_skipped(console, ranking.skipped)
    if any(s.model for s in ranking.skipped):
        console.print("some were skipped by one model alone: models were scored on data that differ by those")
    data, cost = ranking.data, ranking.cost
    if cost.cached_s:
        console.print(
            f"{_duration(cost.cached_s)} of audio, over all models, came from the cache", style="dim", highlight=False
        )
    console.print(
        f"{data.used:,} of {data.utterances:,} utterances, {_duration(data.seconds)} of audio; "
        f"{_duration(cost.total_s)} in all, {_duration(cost.score_s)} of it scoring; "
        f"{cost.peak_rss_mb:,.0f} MB at most",
        style="dim",
        highlight=False,
    )


def models_table(ranking: Ranking, score: str) -> Table:
    """One row for each model at its best layer, with a curve of its layers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("model")
    table.add_column("layer", justify="right")
    table.add_column(score, justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("best in", justify="right")
    table.add_column("layers", overflow="ellipsis", no_wrap=True)
    curves = {m.model: _curve(ranking.layers, m.model, score) for m in ranking.models}
    places = {model.model: place(group) for group in ranking.groups for model in group}
    for model in ranking.models:
        value = model.scores[score]
        table.add_row(
            places[model.model],
            plain(model.model, width=28),
            str(model.layer),
            f"{value.value:.4f}",
            _interval(value),
            _percent(model.probability_best) if len(ranking.models) > 1 else "-",
            curves[model.model],
            style="bold green" if model.rank == 1 else None,
        )
    return table


def scores_table(ranking: Ranking, names: Sequence[str]) -> Table:
    """Where each of these scores puts each model, and at which layer."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rank and layer by")
    cells: dict[str, list[str]] = {model.model: [] for model in ranking.models}
    for name in names:
        table.add_column(name, justify="right")
        sign = -1 if ranking.options["higher_is_better"][name] else 1
        best: dict[str, LayerScore] = {}
        for layer in sorted(ranking.layers, key=lambda x: sign * x.scores[name].value):
            best.setdefault(layer.model, layer)
        for place, layer in enumerate(best.values(), start=1):
            cells[layer.model].append(f"{place} · {layer.layer}")
    for model, row in cells.items():
        table.add_row(plain(model, width=20), *row)
    return table


def layers_table(layers: Sequence[LayerScore], score: str) -> Table:
    """One row for each layer, in the order given."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "layer"):
        table.add_column(heading)
    for heading in ("dim", score, "95 % interval"):
        table.add_column(heading, justify="right")
    for layer in layers:
        value = layer.scores[score]
        where = Text(f"{layer.layer} ").append_text(plain(layer.name, width=16))
        table.add_row(plain(layer.model, width=28), where, str(layer.dim), f"{value.value:.4f}", _interval(value))
    return table


def verdict(ranking: Ranking) -> Text:
    """What to fine-tune, in one sentence, with how sure that is."""
    best = ranking.best
    name = next(x.name for x in ranking.layers if (x.model, x.layer) == (best.model, best.layer))
    if ranking.options.get("strategy") == "layer":
        text = Text(f"Fine-tune layer {best.layer} (").append_text(plain(name)).append(") of ")
        text.append_text(plain(best.model))
    else:
        text = Text("Fine-tune ").append_text(plain(best.model)).append(f" from layer {best.layer} (")
        text.append_text(plain(name)).append(")")
    if best.probability_best is not None and len(ranking.models) > 1:
        text.append(f": best of {len(ranking.models)} models in {_percent(best.probability_best)} of resamples")
        text.append(_rivals(ranking.models))
    return text.append(".")


def sensitivity(found: Sensitivity) -> Text:
    """What the ranking by other labels says, in one line."""
    text = Text("By ").append_text(plain(found.labels)).append(" labels: ")
    if found.spearman is not None:
        text.append(f"Spearman {found.spearman:.3f}, ")
    return text.append("best is ").append_text(plain(found.model)).append(f", layer {found.layer}.")


def show_details(console: Console, ranking: Ranking) -> None:
    """Print what else was found: the hardest classes, how much data it took, what layers know besides."""
    details = ranking.details
    for line in hardest(details):
        console.print(line)
    if details.curve is not None and len(details.curve.models) > 1:
        console.print(held_from(details.curve))
    if details.knowledge:
        console.print(knowledge_table(ranking))


def hardest(details: Details) -> list[Text]:
    """Classes that the best layer misses most, a line each with what it takes them for; none where it misses few."""
    shown = details.classes[0].classes if details.classes else ()
    worst = [view for view in shown if view.samples >= FEW and view.recall < 1][:HARDEST]
    return [Text("Hardest:" if place == 0 else "        ").append_text(_missed(v)) for place, v in enumerate(worst)]


def _missed(view: ClassView) -> Text:
    text = Text(" ").append_text(plain(view.name, width=16)).append(f" ({_percent(view.recall)} right)")
    for place, (name, share) in enumerate(view.confused_with[:CONFUSED]):
        text.append(", " if place else ", taken for ").append_text(plain(name, width=12)).append(f" {_percent(share)}")
    return text


def held_from(curve: LearningCurve) -> Text:
    """How much data it took until the model that is first by the curve's score came first, and whether it held."""
    whole = _duration(curve.seconds[-1])
    text = Text(f"By {curve.score} ").append_text(plain(curve.models[0].model, width=28))
    if curve.held_from_s < curve.seconds[-1]:
        return text.append(f" came first from {_duration(curve.held_from_s)} of audio on, of {whole}.")
    return text.append(f" came first with all {whole} only: more may change that.")


def knowledge_table(ranking: Ranking) -> Table:
    """For each other column, how well the best layer tells it, and which layer of that model does least."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("knows besides")
    for heading in (f"layer {ranking.best.layer}", "by chance", "layer that knows least"):
        table.add_column(heading, justify="right")
    own = [one for one in ranking.details.knowledge if one.model == ranking.best.model]
    for column in dict.fromkeys(one.column for one in own):
        layers = [one for one in own if one.column == column]
        best = next(one for one in layers if one.layer == ranking.best.layer)
        table.add_row(plain(column, width=24), _percent(best.accuracy), _percent(best.chance), _least(layers))
    return table


def _least(layers: Sequence[Knowledge]) -> str:
    least = min(layers, key=lambda one: one.accuracy)
    return f"{least.layer}: {_percent(least.accuracy)}"


def show_skipped(console: Console, skipped: Sequence[Skipped]) -> None:
    """Print how many utterances were left out, and the commonest reasons with an example each."""
    if not skipped:
        return
    console.print(f"{len(skipped):,} skipped:", style="yellow", highlight=False)
    reasons = Counter(s.reason for s in skipped)
    for reason, count in reasons.most_common(SHOWN_REASONS):
        example = next(s.utterance for s in skipped if s.reason == reason)
        line = Text(f"  {count:,} × ").append_text(plain(reason)).append(" (").append_text(plain(example)).append(")")
        console.print(line)
    if len(reasons) > SHOWN_REASONS:
        console.print(f"  and {len(reasons) - SHOWN_REASONS} other reasons: --json or --out lists them all")


def _rivals(models: Sequence[ModelScore]) -> str:
    """Names no winner where the data leave one in twenty or more to another model."""
    close = [m.model for m in models[1:] if (m.probability_best or 0.0) >= 0.05]
    return f"; {len(close)} other(s) cannot be ruled out" if close else ""


def _curve(layers: Sequence[LayerScore], model: str, score: str) -> str:
    """A bar for each layer of a model, in order of layer, joint ones last, from its lowest score to its highest."""
    own = sorted((x for x in layers if x.model == model), key=lambda x: (isinstance(x.layer, str), x.layer))
    values = [x.scores[score].value for x in own]
    low, high = min(values), max(values)
    if high == low:
        return BARS[-1] * len(values)
    return "".join(BARS[round((v - low) / (high - low) * (len(BARS) - 1))] for v in values)


def place(group: Sequence[ModelScore]) -> str:
    """The ranks of a group that cannot be told apart, such as "1-3"."""
    first, last = group[0].rank, group[-1].rank
    return str(first) if first == last else f"{first}-{last}"


def _interval(value: ScoreValue) -> str:
    return "-" if value.low is None or value.high is None else f"{value.low:.4f} {value.high:.4f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
