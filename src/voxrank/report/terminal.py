"""Tables of a ranking for the terminal, at most 80 columns wide, with names as plain text."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxrank._support.words import duration, megabytes, percent, score_figure

if TYPE_CHECKING:  # numerical packages are not needed to show a help text
    from voxrank.data.utterance import Skipped
    from voxrank.results.details import ClassView, Details, Knowledge, LearningCurve
    from voxrank.results.ranking import LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity

WIDTH_COLUMNS = 80
GAP_COLUMNS = 2
"""Width of the gap between two columns of a table."""
NAME_COLUMNS, LEAST_NAME_COLUMNS = 28, 8
"""Maximum and minimum width of a model's name."""
SCORE_COLUMNS, ABREAST_COLUMNS = 14, 10
"""Maximum width of a score's name: as the only score, and beside others."""
CURVE_COLUMNS = 13
"""Width that is reserved for the curve of layers; longer names are shortened for it."""
SHOWN_REASONS = 5
SCORES_ABREAST = 5
HARDEST, CONFUSED = 3, 2
"""Number of hardest classes shown, and number of confused classes shown for each."""
MIN_SAMPLES = 5
"""Minimum number of samples per class for its recall to be shown."""
BARS = "▁▂▃▄▅▆▇█"

_duration = partial(duration, separator="")


def plain(name: str, width: int | None = None) -> Text:
    """Return a name as text without markup or control codes, cut to `width` columns."""
    shown = name
    if not name.isprintable():
        shown = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in name)
    text = Text(shown)
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text


def short_name(name: str, width: int) -> Text:
    """Shorten a model's name to `width` columns in the middle, because names from the same owner differ at the end.

    Example:
        >>> short_name("facebook/wav2vec2-large-xlsr-53", 20).plain
        'facebo…large-xlsr-53'
    """
    text = plain(name)
    if text.cell_len <= width:
        return text
    head, tail = set_cell_size(text.plain, (width - 1) // 3).rstrip(), ""
    for character in reversed(text.plain):
        if cell_len(head) + cell_len(tail) + cell_len(character) + 1 > width:
            break
        tail = character + tail
    return Text(f"{head}…{tail}")


def show_ranking(console: Console, ranking: Ranking) -> None:
    """Print a ranking: a warning if many utterances were skipped, the models, the verdict, details and the cost."""
    from voxrank.results.expectation import ordering

    names = ranking.options["scores"]
    show_warning(console, ranking.warning)
    console.print(models_table(ranking, names[0]))
    if len(names) > 1:
        for start in range(0, len(names), SCORES_ABREAST):
            console.print(scores_table(ranking, names[start : start + SCORES_ABREAST]))
    if order := ordering(ranking):
        console.print(order, style="dim", highlight=False)
    console.print(verdict(ranking))
    for result in ranking.sensitivity:
        console.print(sensitivity(result))
    show_details(console, ranking)
    show_skipped(console, ranking.skipped)
    if any(s.model for s in ranking.skipped):
        console.print("some were skipped by one model alone, so that the models were not all scored on the same data")
    data, cost = ranking.data, ranking.cost
    if cost.cached_s:
        console.print(
            f"{_duration(cost.cached_s)} of audio, over all models, came from the cache", style="dim", highlight=False
        )
    console.print(
        f"{data.used:,} of {data.utterances:,} utterances, {_duration(data.seconds)} of audio; "
        f"{_duration(cost.total_s)} in all, {_duration(cost.score_s)} of it scoring; "
        f"peak memory {megabytes(cost.peak_rss_mb)}",
        style="dim",
        highlight=False,
    )


def show_warning(console: Console, text: str) -> None:
    """Print a warning if the text is not empty."""
    if text:
        console.print(Text("Warning: ").append_text(plain(text)), style="bold yellow")


def models_table(ranking: Ranking, score: str) -> Table:
    """Return a table with one row per model at its best layer, and a curve of its layers."""
    ranks = {model.model: rank_range(group) for group in ranking.groups for model in group}
    headings: tuple[str | Text, ...] = ("", plain(score, width=SCORE_COLUMNS), "layer", "95 % interval", "best in")
    rows: list[tuple[str | Text, ...]] = [
        (
            ranks[model.model],
            score_figure(model.scores[score].value),
            str(model.layer),
            _interval(model.scores[score]),
            percent(model.probability_best) if len(ranking.models) > 1 else "-",
        )
        for model in ranking.models
    ]
    remaining = _remaining_width([headings, *rows])
    most_layers = max(Counter(layer.model for layer in ranking.layers).values())
    widest = max(len("model"), *(min(_cells(plain(m.model)), NAME_COLUMNS) for m in ranking.models))
    name_width = max(min(widest, remaining - max(len("layers"), min(most_layers, CURVE_COLUMNS))), LEAST_NAME_COLUMNS)
    table = _table()
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for heading in ("layer", headings[1], *headings[3:]):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("layers", no_wrap=True)
    for model, (rank, value, layer, interval, best) in zip(ranking.models, rows, strict=True):
        table.add_row(
            rank,
            short_name(model.model, name_width),
            layer,
            value,
            interval,
            best,
            _curve(ranking.layers, model.model, score, max(remaining - name_width, 1)),
            style="bold green" if model.rank == 1 else None,
        )
    return table


def scores_table(ranking: Ranking, names: Sequence[str]) -> Table:
    """Return a table of the rank and the best layer of each model by each of these scores."""
    table = _table()
    table.add_column("rank and layer by", no_wrap=True)
    cells: dict[str, list[str]] = {model.model: [] for model in ranking.models}
    for name in names:
        table.add_column(plain(name, width=ABREAST_COLUMNS), justify="right", no_wrap=True)
        sign = -1 if ranking.options["higher_is_better"][name] else 1
        best: dict[str, LayerScore] = {}
        for layer in sorted(ranking.layers, key=lambda x: sign * x.scores[name].value):
            best.setdefault(layer.model, layer)
        for layer, rank in zip(best.values(), shared_ranks([x.scores[name].value for x in best.values()]), strict=True):
            cells[layer.model].append(f"{rank} · {layer.layer}")
    for model, row in cells.items():
        table.add_row(short_name(model, 20), *row)
    return table


def shared_ranks(values: Sequence[float]) -> list[int]:
    """Return the rank of each value in an order from the best to the worst; equal values share the first rank.

    Example:
        >>> shared_ranks([0.9, 0.7, 0.7, 0.1])
        [1, 2, 2, 4]
    """
    ranks: list[int] = []
    for position, value in enumerate(values):
        ranks.append(ranks[-1] if position and value == values[position - 1] else position + 1)
    return ranks


def layers_table(layers: Sequence[LayerScore], score: str) -> Table:
    """Return a table with one row per layer, in the given order."""
    heading = plain(score, width=SCORE_COLUMNS)
    rows: list[tuple[str | Text, ...]] = [
        (str(layer.dim), score_figure(layer.scores[score].value), _interval(layer.scores[score])) for layer in layers
    ]
    headings: tuple[str | Text, ...] = ("dim", heading, "95 % interval")
    remaining = _remaining_width([headings, *rows])
    table = _table()
    for name in ("model", "layer"):
        table.add_column(name, no_wrap=True)
    for column_heading in headings:
        table.add_column(column_heading, justify="right", no_wrap=True)
    name_width = min(remaining * 3 // 5, NAME_COLUMNS)
    names = {model: short_name(model, name_width) for model in {layer.model for layer in layers}}
    for layer, row in zip(layers, rows, strict=True):
        label = Text(f"{layer.layer} ").append_text(plain(layer.name))
        label.truncate(remaining - name_width, overflow="ellipsis")
        table.add_row(names[layer.model], label, *row)
    return table


def verdict(ranking: Ranking) -> Text:
    """Return one sentence that recommends what to fine-tune, with its confidence."""
    return plain(ranking.verdict)


def sensitivity(result: Sensitivity) -> Text:
    """Return one line about the ranking by alternative labels."""
    text = Text("By ").append_text(plain(result.labels)).append(" labels: ")
    if result.spearman is not None:
        text.append(f"Spearman {result.spearman:.3f}, ")
    text.append("best is ").append_text(plain(result.model)).append(f", layer {result.layer}")
    return text.append(f", and {result.equal} other layer(s) score exactly the same." if result.equal else ".")


def show_details(console: Console, ranking: Ranking) -> None:
    """Print the details: the hardest classes, the amount of data needed, and the results of probing."""
    details = ranking.details
    for line in hardest(details):
        console.print(line)
    if details.curve is not None and len(details.curve.models) > 1:
        console.print(held_from(details.curve))
    if details.knowledge:
        console.print(knowledge_table(ranking))


def hardest(details: Details) -> list[Text]:
    """Return one line for each class with the lowest recall at the best layer; empty if all are recognised.

    Each line names the classes with which the class is confused.
    """
    classes = details.classes[0].classes if details.classes else ()
    worst = [view for view in classes if view.samples >= MIN_SAMPLES and view.recall < 1][:HARDEST]
    return [Text("Hardest:" if i == 0 else "        ").append_text(_confusions(view)) for i, view in enumerate(worst)]


def _confusions(view: ClassView) -> Text:
    text = Text(" ").append_text(plain(view.name, width=16)).append(f" ({percent(view.recall)} right)")
    for index, (name, share) in enumerate(view.confused_with[:CONFUSED]):
        text.append(", " if index else ", taken for ").append_text(plain(name, width=12)).append(f" {percent(share)}")
    return text


def held_from(curve: LearningCurve) -> Text:
    """Return a sentence with the amount of audio from which the curve's first model stayed first."""
    whole = _duration(curve.seconds[-1])
    text = Text(f"By {curve.score} ").append_text(plain(curve.models[0].model, width=28))
    if curve.held_from_s < curve.seconds[-1]:
        return text.append(f" came first from {_duration(curve.held_from_s)} of audio on, of {whole}.")
    return text.append(f" came first with all {whole} only: more data may change that.")


def knowledge_table(ranking: Ranking) -> Table:
    """Return a table of probing: for each column, the accuracy of the best layer, and the layer with the lowest."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("also knows")
    for heading in (f"layer {ranking.best.layer}", "by chance", "layer that knows least"):
        table.add_column(heading, justify="right")
    probes = [probe for probe in ranking.details.knowledge if probe.model == ranking.best.model]
    for column in dict.fromkeys(probe.column for probe in probes):
        by_layer = [probe for probe in probes if probe.column == column]
        best = next(probe for probe in by_layer if probe.layer == ranking.best.layer)
        table.add_row(plain(column, width=24), percent(best.accuracy), percent(best.chance), _weakest_layer(by_layer))
    return table


def _weakest_layer(probes: Sequence[Knowledge]) -> str:
    least = min(probes, key=lambda probe: probe.accuracy)
    return f"{least.layer}: {percent(least.accuracy)}"


def show_skipped(console: Console, skipped: Sequence[Skipped]) -> None:
    """Print the number of skipped utterances and the most frequent reasons, each with an example."""
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


def _curve(layers: Sequence[LayerScore], model: str, score: str, width: int) -> str:
    """Return a bar for each layer of a model, from the model's lowest score to its highest.

    Bars are in order of the layers, joint layers last. If there are more layers than `width`, neighbouring layers share
    a bar of their mean score.
    """
    ordered = sorted((x for x in layers if x.model == model), key=lambda x: (isinstance(x.layer, str), x.layer))
    values = [layer.scores[score].value for layer in ordered]
    if len(values) > width:
        cuts = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[i:j]) / (j - i) for i, j in itertools.pairwise(cuts)]
    low, high = min(values), max(values)
    if high == low:
        return BARS[-1] * len(values)
    return "".join(BARS[round((v - low) / (high - low) * (len(BARS) - 1))] for v in values)


def rank_range(group: Sequence[ModelScore]) -> str:
    """Return the ranks of a group of tied models, such as "1-3"."""
    first, last = group[0].rank, group[-1].rank
    return str(first) if first == last else f"{first}-{last}"


def _interval(value: ScoreValue) -> str:
    return "-" if value.low is None or value.high is None else f"{score_figure(value.low)} {score_figure(value.high)}"


def _remaining_width(rows: Sequence[Sequence[str | Text]]) -> int:
    """Return the width left for two more columns beside these cells, without the gap between the two."""
    widths = (max(map(_cells, column)) for column in zip(*rows, strict=True))
    return WIDTH_COLUMNS - sum(width + GAP_COLUMNS for width in widths) - GAP_COLUMNS


def _cells(text: str | Text) -> int:
    return cell_len(text if isinstance(text, str) else text.plain)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")
