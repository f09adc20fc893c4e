"""Tables fit 80 columns and show names as plain text."""

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from voxrank.data.utterance import Skipped
from voxrank.report.progress import BarProgress, LineProgress, watch
from voxrank.report.terminal import (
    _curve,
    layers_table,
    models_table,
    plain,
    scores_table,
    sensitivity,
    shared_ranks,
    short_name,
    show_ranking,
)
from voxrank.results.details import ClassView, Details, Knowledge, LayerClasses, LearningCurve, ModelCurve
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, Sensitivity


def ranking(names, *, low=0.4, skipped=()):
    scores = {"logme": ScoreValue(-0.123456, low, None if low is None else 0.6)}
    models = tuple(ModelScore(n, 1, i, 1 / len(names), 10**8, scores) for i, n in enumerate(names, start=1))
    layers = tuple(LayerScore(n, k, "[bold]x", 768, scores) for n in names for k in range(13))
    return Ranking(
        "classification",
        DataSummary(1200, 1199, 4000.0, "f"),
        models,
        layers,
        None if low is None else tuple(tuple(0.5 for _ in names) for _ in names),
        Cost(60.0, 1.0, 75.0, 900.0),
        tuple(skipped),
        {"scores": ["logme"], "higher_is_better": {"logme": True}},
    )


def printed(show, width=80):
    text = io.StringIO()
    show(Console(file=text, width=width, highlight=False))
    return text.getvalue()


def test_ranking_fits_eighty_columns_and_names_the_best():
    text = printed(lambda c: show_ranking(c, ranking(["facebook/wav2vec2-large-xlsr-53-and-more", "b"])))
    assert max(map(len, text.splitlines())) <= 80
    assert "Fine-tune facebook/wav2vec2-large-xlsr-53-and-more from layer 1" in " ".join(text.split())
    assert "1 other(s) cannot be ruled out" in " ".join(text.split())


LONG = (
    "an-organisation-with-a-long-name/a-model-with-an-even-longer-name-xlsr-53",
    "組織/とても長い名前のモデル-とても長い名前",
    "logmel",
)
MANY = ("combined", "logme", "hscore", "ridge", "knn", "transrate", "a-plug-in-with-a-very-very-long-name-indeed")


@pytest.mark.parametrize("value", [0.5, -0.123456, -1234.56789, 6.02e23])
@pytest.mark.parametrize("layer", [3, 47, "concat"])
@pytest.mark.parametrize("n_layers", [1, 4, 13, 48])
def test_tables_fit_eighty_columns_and_keep_their_rows_on_one_line(value, layer, n_layers):
    scores = {name: ScoreValue(value, value - abs(value) / 3, value + abs(value) / 3) for name in MANY}
    models = tuple(ModelScore(n, layer, i, 1 / 3, 10**8, scores) for i, n in enumerate(LONG, start=1))
    places = [*range(n_layers), *([layer] if layer not in range(n_layers) else [])]
    layers = tuple(
        LayerScore(n, k, "encoder.layers.last.intermediate_dense", 1024, scores) for n in LONG for k in places
    )
    made = replace(
        ranking(LONG),
        models=models,
        layers=layers,
        options={"scores": list(MANY), "higher_is_better": dict.fromkeys(MANY, True)},
    )
    for name in MANY:
        for table in (models_table(made, name), layers_table(layers, name)):
            lines = printed(lambda c, table=table: c.print(table)).splitlines()
            assert max(map(cell_len, lines)) <= 80
            assert len(lines) == 1 + table.row_count
            assert not re.search(r"\d…", "".join(lines)), "a number was cut"
    text = printed(lambda c: show_ranking(c, made))
    assert max(map(cell_len, text.splitlines())) <= 80


def test_long_names_are_shortened_in_the_middle():
    cut = [short_name(f"facebook/wav2vec2-large-{end}", 20).plain for end in ("robust", "xlsr-53")]
    assert len(set(cut)) == 2
    assert max(map(cell_len, cut)) <= 20
    assert short_name("short", 20).plain == "short"
    assert cell_len(short_name(LONG[1], 15).plain) <= 15


def test_a_curve_of_many_layers_keeps_its_shape():
    values = {k: ScoreValue(float(k), None, None) for k in range(48)}
    layers = [LayerScore("m", k, "x", 8, {"logme": v}) for k, v in values.items()]
    assert _curve(layers, "m", "logme", 8) == "▁▂▃▄▅▆▇█"
    assert len(_curve(layers, "m", "logme", 100)) == 48


def test_models_that_cannot_be_distinguished_share_a_place():
    made = ranking(["a", "b", "c"])
    lines = printed(lambda c: c.print(models_table(made, "logme"))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1-3", "1-3", "1-3"]
    beats = ((0.5, 0.99, 0.99), (0.01, 0.5, 0.6), (0.01, 0.4, 0.5))
    lines = printed(lambda c: c.print(models_table(replace(made, beats=beats), "logme"))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1", "2-3", "2-3"]


def test_equal_scores_share_a_rank():
    assert shared_ranks([0.9, 0.9, 0.5, 0.4, 0.4, 0.4, 0.1]) == [1, 1, 3, 4, 4, 4, 7]
    assert shared_ranks([]) == []
    names = ["a", "b", "c"]
    made = ranking(names)
    worse = {"logme": ScoreValue(-0.2, -0.3, -0.1)}
    layers = tuple(replace(x, scores=worse) if x.model == "b" else x for x in made.layers)
    lines = printed(lambda c: c.print(scores_table(replace(made, layers=layers), ["logme"]))).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["a", "1"], ["b", "3"], ["c", "1"]]


def test_ties_for_the_best_layer_by_other_labels_are_counted():
    alone = Sensitivity("uniform", 0.5, 0.1, "m", 3)
    assert sensitivity(alone).plain == "By uniform labels: Spearman 0.500, best is m, layer 3."
    tied = replace(alone, spearman=None, equal=2)
    assert sensitivity(tied).plain == (
        "By uniform labels: best is m, layer 3, and 2 other layer(s) score exactly the same."
    )


def test_names_are_neither_markup_nor_control_codes():
    evil = "[red]x\x1b[31m\nnext"
    text = printed(lambda c: show_ranking(c, ranking([evil], skipped=[Skipped(evil, evil)])))
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "[bold]x" in text
    assert plain(evil).plain.count("\n") == 0


def test_a_missing_interval_is_shown_as_a_dash():
    text = printed(lambda c: c.print(layers_table(ranking(["m"], low=None).layers, "logme")))
    assert text.splitlines()[1].split()[-1] == "-"


def test_skipped_reasons_are_counted_with_an_example():
    skipped = [Skipped(f"u{i}", "too short") for i in range(7)] + [Skipped(f"v{i}", f"reason {i}") for i in range(6)]
    text = printed(lambda c: show_ranking(c, ranking(["m"], skipped=skipped)))
    assert "13 skipped:" in text
    assert "7 × too short (u0)" in text
    assert "and 2 other reasons" in text


def test_utterances_that_only_some_models_skipped_are_remarked_on():
    every, one = [Skipped("u", "too short")], [Skipped("u", "no frames", "m")]
    assert "the models were not all scored on the same data" not in printed(
        lambda c: show_ranking(c, ranking(["m"], skipped=every))
    )
    text = printed(lambda c: show_ranking(c, ranking(["m", "n"], skipped=one)))
    assert "the models were not all scored on the same data" in " ".join(text.split())


def test_a_single_model_is_not_called_the_best():
    text = printed(lambda c: show_ranking(c, ranking(["m"])))
    assert "100 %" not in text


def test_bars_fit_eighty_columns(monkeypatch):
    for speed in ("speed", "finished_speed"):
        monkeypatch.setattr(f"rich.progress.Task.{speed}", 1234.5, raising=False)
    text = io.StringIO()
    with watch(Console(file=text, force_terminal=True, width=80, color_system=None)) as progress:
        progress.load("an-organisation/a-model-with-a-long-name", 1, 12)
        progress.start("an-organisation/a-model-with-a-long-name", 11, 12, 123_456.0)
        progress.advance(56_789.0)
        progress.finish()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", text.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", drawn)]
    assert any("123,456/123,456 s" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_bars_in_a_terminal_and_lines_elsewhere(terminal):
    file = io.StringIO()
    with watch(Console(file=file, force_terminal=terminal, width=100)) as progress:
        assert isinstance(progress, BarProgress if terminal else LineProgress)
        progress.start("a[b]", 1, 2, 10.0)
        progress.advance(10.0)
        progress.finish()
        progress.note("[x] noted")
    text = file.getvalue()
    assert "a[b]" in text
    assert "[x] noted" in text
    assert terminal == ("\x1b" in text)
    assert "1/2" in text


def test_lines_show_how_far_a_model_is(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    text = io.StringIO()
    progress = LineProgress(Console(file=text, width=40))
    progress.start("model", 1, 1, 100.0)
    for _ in range(4):
        now[0] += 10
        progress.advance(25.0)
    progress.finish()
    assert text.getvalue().splitlines() == [
        "[1/1] model: 100 s of audio",
        "[1/1] model: 50%, 2.5 × real time, 20 s left",
        "[1/1] model: 100%, 2.5 × real time, 0 s left",
        "[1/1] model: done in 40.0 s, 2.5 × real time",
    ]


def test_lines_show_how_much_is_read_after_a_while(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    text = io.StringIO()
    progress = LineProgress(Console(file=text, width=40))
    progress.scan("rows", None)
    progress.scanned(1000)
    now[0] = 20.0
    progress.scanned(1000)
    progress.scan("headers of audio files", 5000)
    now[0] = 40.0
    progress.scanned(64)
    assert text.getvalue().splitlines() == ["reading rows: 2,000", "reading headers of audio files: 64 of 5,000"]


def test_a_bar_shows_how_much_is_read_and_leaves_before_the_first_model():
    file = io.StringIO()
    with BarProgress(Console(file=file, force_terminal=True, width=100)) as progress:
        progress.scan("headers of audio files", 5000)
        progress.scanned(4000)
        progress._bars.refresh()
        assert "reading headers of audio files" in file.getvalue()
        assert "4,000/5,000" in file.getvalue()
        progress.load("model", 1, 1)
        progress.start("model", 1, 1, 10.0)
        progress.scan("rows", 3)
        progress.scanned(3)
        assert [task.description for task in progress._bars.tasks] == ["1/1 model"]


EVIL = "[red]" + "x" * 60 + "\x1b[31m\n"


def detailed(**changes):
    views = (
        ClassView("rare", 4, 0.0, (("b", 1.0),)),
        ClassView(EVIL, 40, 0.5, ((EVIL, 0.25), ("b", 0.15), ("c", 0.1))),
        *(ClassView(name, 40, recall, (("c", 1 - recall),)) for name, recall in (("b", 0.6), ("c", 0.7), ("d", 0.8))),
    )
    known = [Knowledge(EVIL, "m", layer, accuracy, 0.25, 4, 99) for layer, accuracy in ((1, 0.9), (7, 0.4), (9, 0.6))]
    grown = tuple(ModelCurve(name, 1, (0.0, 0.1, 0.2)) for name in "mn")
    curve = LearningCurve("logme", True, (300.0, 600.0, 1200.0), grown, (None,) * 3, 600.0)
    details = Details((LayerClasses("m", 1, views),), (), tuple(known), curve)
    return replace(ranking(["m", "n"]), details=replace(details, **changes))


def test_details_are_a_few_short_lines():
    text = printed(lambda c: show_ranking(c, detailed()))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    plain_lines = printed(lambda c: show_ranking(c, ranking(["m", "n"]))).splitlines()
    added = [line.rstrip() for line in lines if line not in plain_lines]
    assert added == [
        "Hardest: [red]xxxxxxxxxx… (50 % right), taken for [red]xxxxxx… 25 %, b 15 %",
        "         b (60 % right), taken for c 40 %",
        "         c (70 % right), taken for c 30 %",
        "By logme m came first from 10.0 min of audio on, of 20.0 min.",
        "also knows                layer 1  by chance  layer that knows least",
        "[red]xxxxxxxxxxxxxxxxxx…     90 %       25 %                 7: 40 %",
    ]


def test_a_first_place_that_did_not_hold_is_remarked_on():
    curve = replace(detailed().details.curve, held_from_s=1200.0)
    easy = LayerClasses("m", 1, (ClassView("a", 40, 1.0, ()), ClassView("b", 3, 0.5, (("a", 0.5),))))
    text = printed(lambda c: show_ranking(c, detailed(classes=(easy,), curve=curve, knowledge=())))
    assert "By logme m came first with all 20.0 min only: more data may change that." in text
    assert "Hardest" not in text
    assert "also knows" not in text
