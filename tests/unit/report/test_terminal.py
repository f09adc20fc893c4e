"""Tables fit 80 columns and show names as plain text."""

import io
import re

import pytest
from rich.console import Console

from voxrank.data.utterance import Skipped
from voxrank.report.progress import BarProgress, LineProgress, watch
from voxrank.report.terminal import layers_table, plain, show_ranking
from voxrank.results import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue


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
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console)
    return console.file.getvalue()


def test_ranking_fits_eighty_columns_and_names_the_best():
    text = printed(lambda c: show_ranking(c, ranking(["facebook/wav2vec2-large-xlsr-53-and-more", "b"])))
    assert max(map(len, text.splitlines())) <= 80
    assert "Fine-tune facebook/wav2vec2-large-xlsr-53-and-more from layer 1" in " ".join(text.split())
    assert "1 other(s) cannot be ruled out" in " ".join(text.split())


def test_names_are_neither_markup_nor_control_codes():
    evil = "[red]x\x1b[31m\nnext"
    text = printed(lambda c: show_ranking(c, ranking([evil], skipped=[Skipped(evil, evil)])))
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "[bold]x" in text
    assert plain(evil).plain.count("\n") == 0


def test_without_intervals():
    text = printed(lambda c: c.print(layers_table(ranking(["m"], low=None).layers, "logme")))
    assert text.splitlines()[1].split()[-1] == "-"


def test_skipped_reasons_are_counted_with_an_example():
    skipped = [Skipped(f"u{i}", "too short") for i in range(7)] + [Skipped(f"v{i}", f"reason {i}") for i in range(6)]
    text = printed(lambda c: show_ranking(c, ranking(["m"], skipped=skipped)))
    assert "13 skipped:" in text
    assert "7 × too short (u0)" in text
    assert "and 2 other reasons" in text


def test_what_one_model_skipped_is_no_secret():
    every, one = [Skipped("u", "too short")], [Skipped("u", "no frames", "m")]
    assert "models were scored on data that differ" not in printed(
        lambda c: show_ranking(c, ranking(["m"], skipped=every))
    )
    text = printed(lambda c: show_ranking(c, ranking(["m", "n"], skipped=one)))
    assert "models were scored on data that differ" in " ".join(text.split())


def test_a_model_alone_is_the_best_of_nothing():
    text = printed(lambda c: show_ranking(c, ranking(["m"])))
    assert "100 %" not in text


def test_bars_fit_eighty_columns(monkeypatch):
    for speed in ("speed", "finished_speed"):
        monkeypatch.setattr(f"rich.progress.Task.{speed}", 1234.5, raising=False)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with watch(console) as progress:
        progress.load("an-organisation/a-model-with-a-long-name", 1, 12)
        progress.start("an-organisation/a-model-with-a-long-name", 11, 12, 123_456.0)
        progress.advance(56_789.0)
        progress.finish()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", console.file.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", drawn)]
    assert any("123,456/123,456 s" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_suits_its_console(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with watch(console) as progress:
        assert isinstance(progress, BarProgress if terminal else LineProgress)
        progress.start("a[b]", 1, 2, 10.0)
        progress.advance(10.0)
        progress.finish()
        progress.note("[x] noted")
    text = console.file.getvalue()
    assert "a[b]" in text
    assert "[x] noted" in text
    assert terminal == ("\x1b" in text)
    assert "1/2" in text


def test_lines_tell_how_far_it_is(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=40)
    progress = LineProgress(console)
    progress.start("model", 1, 1, 100.0)
    for _ in range(4):
        now[0] += 10
        progress.advance(25.0)
    progress.finish()
    assert console.file.getvalue().splitlines() == [
        "[1/1] model: 100 s of audio",
        "[1/1] model: 50%, 2.5 × real time, 20 s left",
        "[1/1] model: 100%, 2.5 × real time, 0 s left",
        "[1/1] model: done in 40.0 s, 2.5 × real time",
    ]
