"""Curves show the scores, and drawing them leaves nothing behind."""

import os

import pytest

from voxrank.errors import OptionError
from voxrank.exports.curves import curves, sparkline

pytest.importorskip("matplotlib", reason="the extra plot")


def test_curves_are_in_order_of_layers_with_joint_ones_last(ranking):
    found = curves(ranking.to_rows(), "logme", ["b", "logmel"], higher_is_better=True)
    assert [curve.model for curve in found] == ["b", "logmel"]
    assert found[0].layers == (0, 1, 2, "mean")
    assert found[0].layers[found[0].best] == 1
    assert found[0].values[1] == pytest.approx(-1.1)
    assert found[0].low[1] == pytest.approx(-1.11)
    lowest = curves(ranking.to_rows(), "cka", ["b"], higher_is_better=False)[0]
    assert (lowest.best, lowest.low, lowest.high) == (0, None, None)


def test_plot_draws_scores_and_marks_the_best(ranking):
    axes = ranking.plot()
    lines = axes.get_lines()
    assert len(lines) == 3 * len(ranking.models)
    assert lines[0].get_ydata().tolist() == pytest.approx([-1.05, -1.0, -1.05])
    assert lines[1].get_ydata().tolist() == pytest.approx([-1.1])
    assert (lines[2].get_xdata().tolist(), lines[2].get_ydata().tolist()) == ([1], [-1.0])
    assert len(axes.collections) == len(ranking.models)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [m.model for m in ranking.models]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2", "mean"]
    assert axes.get_ylabel() == "logme"
    assert ranking.plot("cka").get_ylabel() == "cka (lower is better)"


def test_plot_draws_on_given_axes_and_refuses_unknown_scores(ranking):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert ranking.plot(ax=axes) is axes
    with pytest.raises(OptionError, match="there is no score 'logm' in this ranking; did you mean logme"):
        ranking.plot("logm")


@pytest.mark.parametrize("name", ["_hidden", "$x", "$\\frac{", "a\nb", "$\\alpha$"])
def test_names_are_drawn_as_text(make, name):
    axes = make((name, "b", "c")).plot()
    assert axes._repr_png_().startswith(b"\x89PNG")
    shown = axes.get_legend().get_texts()
    assert len(shown) == 3
    assert shown[0].get_text().replace(r"\$", "$").strip() == name.replace("\n", "\\n")


def test_plot_needs_no_display_and_does_not_import_pyplot(ranking, tmp_path, run_python):
    ranking.save(tmp_path)
    code = (
        "import sys; from voxrank import Ranking; import matplotlib\n"
        "def settings(): return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        f"Ranking.load({str(tmp_path)!r}).plot().figure.savefig({str(tmp_path / 'x.svg')!r})\n"
        "print('matplotlib.pyplot' in sys.modules, before == settings())"
    )
    done = run_python("-c", code, check=True, env=_no_display())
    assert done.stdout.split() == ["False", "True"]
    assert "<svg" in (tmp_path / "x.svg").read_text()


def _no_display():
    return {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}


def test_plot_names_the_missing_extra(ranking, monkeypatch):
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"needs the extra plot; run: pip install 'voxrank\[plot\]'"):
        ranking.plot()


def test_a_sparkline_of_one_layer_is_valid(make):
    ranking = make(("a", "b", "c"))
    found = curves([row for row in ranking.to_rows() if row["layer"] == 0], "logme", ["a"], higher_is_better=True)
    assert "nan" not in sparkline(found[0])
    assert 'points="4.0,24.0"' in sparkline(found[0])
