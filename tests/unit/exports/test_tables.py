"""Tables contain the ranking, and names in them are plain text."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from voxrank.errors import OptionError, one_line
from voxrank.exports.tables import csv_text, latex_escaped, markdown_escaped, readable, scores_of

HOSTILE = [
    "a|b",
    "a\\|b",
    "a\\",
    "`code`",
    "<script>alert(1)</script>",
    "&amp; &#60;",
    "[x](javascript:alert(1))",
    "![x](http://h/x.png)",
    "<https://h.example>",
    "*b* _i_ __s__ ~~d~~",
    "a\nb\r\n| c | d |",
    "\x1b[31mred",
    "$x$ \\(y\\)",
    "=HYPERLINK(1)",
    "\\input{/etc/passwd}",
    "50% & #1 ~ ^ { } _ $",
    "--,,``''",
    "[2ex] @octocat owner/name#12",
    "* # ## @",
]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
ANYTHING = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def seen(text):
    """Return text without zero-width spaces, which names never contain: `one_line` writes them as escapes."""
    return text.replace("\u200b", "")


def cells(text):
    """Return rows of the only table of a Markdown text, as text; anything else in a cell is refused."""
    tokens = MARKDOWN.parse(text)
    assert [t.type for t in tokens if t.level == 0] == ["table_open", "table_close"]
    rows = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "text_special"}
            rows[-1].append(seen("".join(child.content for child in token.children)))
    return rows


def test_pandas_tables_have_a_row_for_each_layer_or_model(ranking):
    layers, models = ranking.to_pandas(), ranking.to_pandas("models")
    assert len(layers) == len(ranking.layers)
    assert list(models["model"]) == [m.model for m in ranking.models]
    assert models[["rank", "tied_from", "tied_to"]].to_numpy().tolist() == [[1, 1, 2], [2, 1, 2], [3, 3, 3]]
    assert models["logme_low"].tolist() == [m.scores["logme"].low for m in ranking.models]
    assert scores_of(ranking.to_rows("models")) == ["logme", "cka"]
    with pytest.raises(OptionError, match="expected table to be one of models, layers, got 'rows'"):
        ranking.to_pandas("rows")


@pytest.mark.parametrize("table", ["models", "layers"])
@pytest.mark.parametrize("intervals", [True, False])
def test_csv_is_what_pandas_writes(make, table, intervals):
    ranking = make(intervals=intervals)
    assert ranking.to_csv(table) == ranking.to_pandas(table).to_csv(index=False, lineterminator="\n")


def test_csv_leaves_cells_without_a_value_empty():
    rows = [{"a": 1, "b": float("nan")}, {"a": None, "c": "x"}]
    assert csv_text(rows) == "a,b,c\n1,,\n,,x\n"


def test_rows_are_those_of_pandas_with_none_in_place_of_nan(make):
    ranking = make(intervals=False)
    for table in ("models", "layers"):
        frame = ranking.to_pandas(table)
        rows = ranking.to_rows(table)
        assert list(rows[0]) == list(frame.columns)
        assert [row["model"] for row in rows] == frame["model"].tolist()
        assert {row["logme_low"] for row in rows} == {None}


def test_pandas_tables_name_the_missing_extra(ranking, monkeypatch):
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"to_pandas\(\) needs the extra table; run: pip install 'voxrank\[table\]'"):
        ranking.to_pandas()
    assert all([ranking.to_csv(), ranking.to_markdown(), ranking.model_card(), ranking._repr_html_()])


def test_csv_is_read_by_pandas(ranking):
    read = pd.read_csv(io.StringIO(ranking.to_csv("models")))
    assert np.allclose(read["logme"], [m.scores["logme"].value for m in ranking.models])
    assert list(read["layer"]) == [1, 1, 1]


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_has_one_line_per_row_and_no_formulas(make, name):
    text = make((name, "b", "c"), joint=False).to_csv("models")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(text.splitlines()) == 4
    assert rows[1][3] == ("'" if name[0] in "=-" else "") + one_line(name)


def test_markdown_tables_have_readable_headings_and_values(ranking):
    assert cells(ranking.to_markdown()) == [
        ["Rank", "Model", "Layer", "logme", "95 % interval", "cka", "Best in", "Parameters"],
        ["1–2", "facebook/hubert-base", "1", "−1.0000", "−1.0100 to −0.9800", "0.1000", "33 %", "100,000,000"],
        ["1–2", "b", "1", "−1.1000", "−1.1100 to −1.0800", "0.1000", "33 %", "100,000,001"],
        ["3", "logmel", "1", "−1.2000", "−1.2100 to −1.1800", "0.1000", "33 %", "100,000,002"],
    ]
    headings, *rows = cells(ranking.to_markdown("layers"))
    assert headings == ["Model", "Layer", "Name", "Dim", "logme", "95 % interval", "cka"]
    assert [row[1] for row in rows[-3:]] == ["mean"] * 3


def test_tables_without_intervals_show_dashes_and_single_ranks(make):
    ranking = make(intervals=False, beats=None)
    assert [row[4] for row in cells(ranking.to_markdown())[1:]] == ["–"] * 3
    assert [row[0] for row in cells(ranking.to_markdown())[1:]] == ["1", "2", "3"]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_text(make, name):
    assert cells(make((name, "b", "c"), layer_name=name).to_markdown("layers"))[1][:3:2] == [one_line(name)] * 2


@ANYTHING
@given(st.text(min_size=1).filter(lambda t: one_line(t).strip()))
def test_markdown_shows_any_string_as_text(name):
    table = f"| a | b |\n| --- | --- |\n| {markdown_escaped(name)} | x |\n"
    assert cells(table)[1] == [one_line(name).strip(), "x"]
    tokens = MARKDOWN.parse(f"Said: {markdown_escaped(name)}")
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    text = "".join(c.content for c in tokens[1].children)
    assert not re.search(r"[@#][^\W_]", text)  # GitHub would make links of these and notify people
    assert seen(text).rstrip() == f"Said: {one_line(name)}".rstrip()


PLAIN_LATEX = {r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~"}
PLAIN_LATEX |= {r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"'}
PLAIN_LATEX |= {r"\textquotesingle{}": "'", r"\textasciigrave{}": "`", r"\textendash{}": "–", "$-$": "−"}
PLAIN_LATEX |= {f"\\{c}": c for c in "{}$&#%_"} | {"-{}": "-", ",{}": ",", "{[}": "[", "{*}": "*"}
_TOKEN = re.compile("|".join(map(re.escape, sorted(PLAIN_LATEX, key=len, reverse=True))) + r"|[^\\{}$&#%^_~[*]")


def printed(text):
    """Return LaTeX's output for text of known commands and harmless characters only."""
    found = _TOKEN.findall(text)
    assert "".join(found) == text
    return "".join(PLAIN_LATEX.get(token, token) for token in found)


@ANYTHING
@given(st.one_of(st.sampled_from(HOSTILE), st.text(), st.text("\\{}$&#%_^~-,'\"`<>|[]* ab")))
def test_latex_prints_names_as_text(name):
    escaped = latex_escaped(name)
    assert printed(escaped) == one_line(name)
    assert "--" not in escaped
    assert ",," not in escaped


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_tables_are_complete(make, name):
    ranking = make((name, "b", "c"))
    lines = ranking.to_latex().splitlines()
    assert lines[1] == r"\begin{tabular}{rlrrrrrr}"
    assert [lines[2], lines[4], *lines[-2:]] == [r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"]
    rows = [lines[3], *lines[5:-2]]
    assert all(row.endswith(r" \\") for row in rows)
    shown = [[printed(cell) for cell in re.split(r" & ", row.removesuffix(r" \\"))] for row in rows]
    assert shown == [[one_line(cell) for cell in row] for row in readable(ranking.to_rows("models"))]


def test_a_row_of_latex_does_not_begin_with_an_argument(make):
    for name in ("[2ex]", "*"):
        rows = make((name, "b", "c")).to_latex("layers").splitlines()[5:-2]
        assert rows[0].startswith(f"{{{name[0]}}}")


def test_a_paragraph_that_begins_with_a_name_is_no_heading():
    assert MARKDOWN.parse(markdown_escaped("# a"))[0].type == "paragraph_open"


def test_parquet_holds_types_and_origin(make, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet")
    ranking = make(intervals=False)
    ranking.to_parquet(tmp_path / "layers.parquet")
    table = parquet.read_table(tmp_path / "layers.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types["layer"] == "int64"
    assert types["joint"] in {"string", "large_string"}
    assert types["logme"] == types["logme_low"] == types["cka_high"] == "double"
    assert table["layer"].to_pylist() == [None if x.layer == "mean" else x.layer for x in ranking.layers]
    assert table["joint"].to_pylist() == ["mean" if x.layer == "mean" else None for x in ranking.layers]
    about = json.loads(table.schema.metadata[b"voxrank"])
    assert about["data"]["fingerprint"] == "0abc9"
    assert about["options"] == ranking.options
    frame = pd.read_parquet(tmp_path / "layers.parquet")
    assert np.allclose(frame["logme"], [x.scores["logme"].value for x in ranking.layers])
    ranking.to_parquet(tmp_path / "models.parquet", "models")
    models = parquet.read_table(tmp_path / "models.parquet")
    assert models["tied_to"].to_pylist() == [2, 2, 3]
    assert models["layer"].to_pylist() == [1, 1, 1]


def test_parquet_errors_name_the_missing_folder_or_extra(ranking, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="got: No such file or directory; choose another"):
        ranking.to_parquet(tmp_path / "no" / "x.parquet")
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"needs the extra parquet; run: pip install 'voxrank\[parquet\]'"):
        ranking.to_parquet(tmp_path / "x.parquet")
