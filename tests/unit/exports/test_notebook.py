"""Notebook output is complete, and names in it are plain text."""

from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from tied_rankings import make_ranking
from voxrank.errors import one_line

KNOWN = {
    "div": set(),
    "p": {"style"},
    "table": {"style"},
    "thead": set(),
    "tbody": set(),
    "tr": set(),
    "th": {"style"},
    "td": {"style"},
    "svg": {"width", "height", "viewbox", "role", "aria-label"},
    "polyline": {"points", "fill", "stroke", "stroke-width"},
    "circle": {"cx", "cy", "r", "fill"},
}


class Reader(HTMLParser):
    """A parser that accepts known tags and attributes, closed in order, and keeps the text of cells and paragraphs."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.cells, self.paragraphs, self.pictures = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        assert {name for name, _ in attrs} <= KNOWN[tag]
        self.open.append(tag)
        self.pictures += tag == "svg"
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "p":
            self.paragraphs.append("")

    def handle_startendtag(self, tag, attrs):
        assert {name for name, _ in attrs} <= KNOWN[tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        where = self.paragraphs if self.open[-1] == "p" else self.cells
        where[-1] += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def read(ranking):
    reader = Reader()
    reader.feed(ranking._repr_html_())
    reader.close()
    assert not reader.open
    return reader


def test_notebooks_show_the_table_the_verdict_and_the_curves(ranking):
    found = read(ranking)
    assert found.paragraphs[0] == ranking.verdict
    assert found.paragraphs[1] == "classification, 1,199 utterances, 66.7 min of audio"
    assert found.cells[:3] == ["Rank", "Model", "Layer"]
    assert found.cells[9:12] == ["1–2", "facebook/hubert-base", "1"]
    assert found.pictures == len(ranking.models)
    assert "currentColor" in ranking._repr_html_()
    assert "http" not in ranking._repr_html_()


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.text())
def test_names_are_shown_as_plain_text(name, layer_name):
    ranking = make_ranking((name, f"{name}2", "c"), layer_name=layer_name)
    found = read(ranking)
    assert found.cells[10] == one_line(name)
    assert found.paragraphs[0] == one_line(ranking.verdict)


def test_scripts_in_names_are_shown_as_text():
    found = read(make_ranking(("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td>")))
    assert found.cells[10] == "<script>alert(1)</script>"
