"""The HTML is well formed, escaped and complete, with or without each of its parts."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxrank._support.words import NO_BREAK
from voxrank.errors import OptionError
from voxrank.report.page import page_html, write_page
from voxrank.report.page.document import fragments, html_of, json_in_html, page_of
from voxrank.report.page.models import models_table, ranking_part
from voxrank.report.page.scores import correlations
from voxrank.report.page.trade_off import trade_off_part
from voxrank.results.details import Details, LearningCurve, ModelCurve, Picture
from voxrank.results.published import PublishedRank

VOID = {"meta", "br", "img", "input", "link", "hr", "rect"}
EVIL = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "]]>--><!--", "a'b\"c&lt;")


class Tree(HTMLParser):
    """A parser that checks that every element is closed in order, and collects elements and text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.scripts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute is there twice: {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] in {"script", "style"} else self.text).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def payload(html):
    return json.loads(
        re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.DOTALL).group(1)
    )


def test_the_page_is_well_formed_and_loads_no_other_file(made):
    html = page_html(made.make_ranking(), made.make_validation())
    tree = Tree(html)
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert len(tree.all("script")) == 3
    assert not any("src" in attributes or "href" in attributes for attributes in tree.all("script") + tree.all("link"))
    assert all(attributes["href"].startswith("#") for attributes in tree.all("a"))
    assert not any(name.startswith("on") or name == "style" for _, attributes in tree.tags for name in attributes)
    assert not tree.all("img")
    (policy,) = [m["content"] for m in tree.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_chart_has_a_name_a_caption_and_a_table(made):
    ranking, validation = made.make_ranking(), made.make_validation()
    page = page_of(ranking, validation)
    for part in page.parts:
        for chart in part.charts:
            assert len(chart.caption) > 20
            assert chart.table is not None or part.folded
    tree = Tree(html_of(page))
    pictures = [attributes for _, attributes in tree.tags if attributes.get("role") == "img"]
    assert len(pictures) == len(page.payload["charts"])
    assert all(attributes["aria-label"] for attributes in pictures)


def test_every_chart_is_valid_vega_lite(made):
    from altair.vegalite.v6.schema.core import Root

    charts = page_of(made.make_ranking(), made.make_validation()).payload["charts"]
    assert len(charts) > 10
    for chart in charts.values():
        Root.validate(chart)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
def test_names_of_any_text_are_shown_as_text(made, names):
    names = tuple(name + EVIL[0] for name in names)
    ranking = made.make_ranking(names, n_layers=2, scores={"logme": True}, classes=names, columns=names[:1])
    tree = Tree(page_html(ranking))
    assert len(tree.all("script")) == 3
    assert EVIL[0] in "".join(tree.text)


@pytest.mark.parametrize("name", EVIL)
def test_names_are_escaped_everywhere_in_the_page(made, name):
    ranking = made.make_ranking((name, "b"), classes=(name, "y"), columns=(name,), n_layers=2)
    options = ranking.options | {"data": name, "target": name, "voxrank": name}
    ranking = replace(ranking, options=options, skipped=(replace(ranking.skipped[0], utterance=name, reason=name),))
    html = page_html(ranking, made.make_validation((name, "b")))
    tree = Tree(html)
    assert len(tree.all("script")) == 3
    assert not tree.all("img")
    assert "".join(tree.text).count(name) > 10
    assert name in json.dumps(payload(html), ensure_ascii=False).replace('\\"', '"')


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_read_back_and_cannot_close_its_element(content):
    text = json_in_html(content)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == content


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("a",), "n_layers": 1},
        {"names": ("a",), "n_layers": 1, "scores": {"frechet": False}, "intervals": False},
        {"intervals": False},
        {"joint": True},
        {"skipped": 0},
        {"task": "regression", "lead": 0.5},
    ],
)
@pytest.mark.parametrize("details", [True, False])
def test_parts_without_content_are_left_out(made, changes, details):
    page = page_of(made.make_ranking(**changes, details=details, sensitivity=()))
    Tree(html_of(page))
    parts = {part.id for part in page.parts}
    assert parts >= {"ranking", "layers", "cost", "skipped", "reproduce"}
    assert ("classes" in parts) == ("learning-curve" in page.payload["charts"]) == details
    assert "labels" not in parts
    assert "truth" not in parts


def test_a_single_model_has_no_trade_off_and_a_single_score_no_agreement(made):
    parts = {part.id for part in page_of(made.make_ranking(("a",), scores={"logme": True})).parts}
    assert not parts & {"trade-off", "agreement"}


def test_pictures_of_values_are_coloured_in_steps(made):
    values = tuple((float(i), -float(i), float(i) / 7) for i in range(50))
    same = tuple((1.0, 2.0, 3.0) for _ in range(5))
    pictures = (Picture("a", 0, "pca", "best", (), values, 0.5), Picture("a", 0, "pca", "worst", (), same))
    page = page_of(replace(made.make_ranking(("a",)), details=Details(pictures=pictures)))
    (part,) = [part for part in page.parts if part.id == "pictures"]
    steps = [row[0].text for row in part.charts[0].table.rows]
    assert steps == ["0.000 to 1.400", "1.400 to 2.800", "2.800 to 4.200", "4.200 to 5.600", "5.600 to 7.000"]
    assert sum(int(row[1].text) for row in part.charts[0].table.rows) == 50
    assert [row[0].text for row in part.charts[1].table.rows] == ["3.000"]


def test_classes_of_the_best_model_and_of_all_models_are_shown(made):
    page = page_of(made.make_ranking(("a", "b", "c"), classes=("x", "y", "z")))
    (part,) = [part for part in page.parts if part.id == "classes"]
    assert part.charts[0].title == "a, layer 2"
    assert (
        part.charts[0].caption
        == "The hardest of 3 classes is x: recognised in 50\xa0%, else taken for z (30\xa0%) and y (10\xa0%)."
    )
    assert (
        part.paragraphs[1]
        == "Hardest for all models together: x, which no model recognises in more than 50\xa0% of the samples."
    )
    table = part.folded[0].table
    assert table.headings == ("class", "a, layer 2", "b, layer 2", "c, layer 2")
    assert [[cell.text for cell in row] for row in table.rows][2] == ["z", "77\xa0%", "–", "77\xa0%"]
    (alone,) = [part for part in page_of(made.make_ranking(("a",))).parts if part.id == "classes"]
    assert not alone.folded


def test_the_caption_states_from_how_much_data_the_first_place_held(made):
    def caption(held, models=("a", "b")):
        curves = tuple(ModelCurve(name, 0, (0.1, 0.2)) for name in models)
        curve = LearningCurve("logme", False, (60.0, 600.0), curves, (None, 1.0), held)
        page = page_of(replace(made.make_ranking(("a", "b")), details=Details(curve=curve)))
        return next(part for part in page.parts if part.id == "data").charts[0].caption

    assert caption(60.0).endswith("a came first from 60.0 s of 10.0 min on.")
    assert caption(600.0).endswith("a came first only with all of the data.")
    assert caption(60.0).startswith("logme (lower is better) against")
    assert "came first" not in caption(60.0, ("a",))


def test_the_front_is_described_in_the_caption_and_in_the_table(made):
    part = trade_off_part(made.make_ranking())
    by_size, by_speed = part.charts
    assert by_size.id == "by-parameters"
    assert "On the front: openai/whisper-base" in by_size.caption
    assert [row[-1].text for row in by_size.table.rows] == ["yes"] * 4  # each smaller one is worse
    assert [row[-1].text for row in by_speed.table.rows] == ["yes"] * 4
    slow = made.make_ranking()
    models = (slow.models[0], replace(slow.models[1], parameters=10**10, speed=1.0), *slow.models[2:])
    by_size, by_speed = trade_off_part(replace(slow, models=models)).charts
    assert [row[-1].text for row in by_size.table.rows] == ["yes", "no", "yes", "yes"]
    assert [row[-1].text for row in by_speed.table.rows] == ["yes", "no", "yes", "yes"]


def test_speeds_of_cached_models_are_left_out_with_a_remark(made):
    ranking = made.make_ranking()
    hidden = replace(ranking, models=tuple(replace(model, speed=None) for model in ranking.models))
    part = trade_off_part(hidden)
    assert len(part.charts) == 1
    assert part.paragraphs[-1] == "All features came from the cache, so that no speed was measured."
    assert "speed" not in models_table(hidden).headings
    some = replace(ranking, models=(ranking.models[0], ranking.models[1], *hidden.models[2:]))
    assert trade_off_part(some).paragraphs[-1] == "2 models came from the cache, so that no speed was measured."


def test_scores_agree_in_their_own_directions(made):
    ranking = made.make_ranking(scores={"logme": True, "frechet": False})
    ((one, rho), (back, _)) = correlations(ranking, ["logme", "frechet"])
    assert (one, rho, back) == pytest.approx((1, 1, 1))
    layers = tuple(
        replace(x, scores=x.scores | {"frechet": ranking.layers[0].scores["frechet"]}) for x in ranking.layers
    )
    assert correlations(replace(ranking, layers=layers), ["logme", "frechet"])[0][1] is None


def test_published_places_are_a_column_that_sorts_by_the_best_of_them(made):
    ranking = made.make_ranking()
    assert "published" not in models_table(ranking).headings
    first, second, *others = ranking.models
    first = replace(first, published=(PublishedRank("maeb", 18.1, 0.64, 11, 49, 20),))
    second = replace(second, published=(*first.published, PublishedRank("superb", 2.8, 0.87, 2, 15, 13)))
    ranking = replace(ranking, models=(first, second, *others))
    table = models_table(ranking)
    column = table.headings.index("published")
    cells = [row[column] for row in table.rows]
    dash = "\N{EN DASH}"
    texts = [cell.text.replace(NO_BREAK, "_") for cell in cells]
    assert texts == ["MAEB_11_of_49", "MAEB_11_of_49, SUPERB_2_of_15", dash, dash]
    assert cells[1].sort < cells[0].sort
    assert cells[2].sort is None
    assert "does not depend on your data" in " ".join(ranking_part(ranking).paragraphs)
    assert "does not depend on your data" not in " ".join(ranking_part(made.make_ranking()).paragraphs)


def test_models_that_cannot_be_distinguished_share_a_rank(made):
    table = models_table(made.make_ranking(lead=0.6))
    assert [row[0].text for row in table.rows] == ["1–4"] * 4
    assert table.marked == (0, 1, 2, 3)


def test_truth_of_failed_trials_has_no_part(made):
    page = page_of(made.make_ranking(), made.make_validation(failed=True))
    assert "truth" not in {part.id for part in page.parts}


def truth_of(made, values, beaten=()):
    validation = made.make_validation()
    truth = tuple(
        replace(one, values=row, beat_untrained=beaten) for one, row in zip(validation.truth, values, strict=False)
    )
    judged = tuple(replace(one, values=one.values[: len(truth)]) for one in validation.judged)
    (part,) = (
        x
        for x in page_of(made.make_ranking(), replace(validation, truth=truth, judged=judged)).parts
        if x.id == "truth"
    )
    return " ".join(part.paragraphs)


def test_fine_tuning_names_no_single_best_among_equal_candidates(made):
    names = [(one.model, one.layer) for one in made.make_validation().truth[:2]]
    named = "; ".join(f"{model}, layer {layer}" for model, layer in names)
    assert f"Best, 2 exactly equal: {named}, 0.500 each." in truth_of(made, [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1)])
    equal = truth_of(made, [(0.5, 0.5)] * 3)
    assert "Fine-tuning does not separate the candidates: all 3 have 0.500, and no score can agree with that." in equal
    assert "Best" not in equal


def test_the_page_states_that_no_trial_beat_its_untrained_head(made):
    text = truth_of(made, [(0.5, 0.5), (0.3, 0.3), (0.1, 0.1)], (False, False))
    assert "No trial beat its untrained head on held-out data (6 trials)" in text
    assert "Best" not in text
    some = truth_of(made, [(0.5, 0.5), (0.3, 0.3), (0.1, 0.1)], (True, False))
    assert "Best: " in some
    assert "3 of 6 trials did not beat their untrained head" in some


def test_truth_is_shown_with_spearman_and_p(made):
    page = page_of(made.make_ranking(), made.make_validation())
    (part,) = [part for part in page.parts if part.id == "truth"]
    assert re.search(r"of 8 candidates: Spearman 0\.9\d\d, p < 0\.001\.", part.charts[0].caption)
    assert [row[0].text for row in part.tables[0].rows] == ["combined", "deepest"]


def test_many_skipped_utterances_are_counted_and_some_are_listed(made):
    page = page_of(made.make_ranking(skipped=1500, details=False))
    (part,) = [part for part in page.parts if part.id == "skipped"]
    assert part.tables[0].rows[0][1].text == "1,500"
    assert len(part.folded[0].table.rows) == 500
    assert "all 1,500 are in ranking.json" in part.folded[0].table.caption


def test_the_fragments_are_parts_of_the_page(made):
    page = page_of(made.make_ranking())
    whole = html_of(page)
    pieces = fragments(page)
    assert set(pieces) == {"verdict", "contents"} | {part.id for part in page.parts}
    for piece in pieces.values():
        Tree(piece)
        assert piece.strip() in whole


def test_the_page_of_many_models_is_small(made):
    names = tuple(f"organisation-{i}/a-speech-model-of-{i}-million-parameters" for i in range(60))
    scores = dict.fromkeys(("combined", "logme", "knn", "hscore", "ridge"), True)
    ranking = made.make_ranking(names, n_layers=33, scores=scores, classes=names, columns=("speaker", "room", "day"))
    page = page_of(ranking)
    parts = {part.id: part for part in page.parts}
    assert parts["layers"].folded[0].table.caption.endswith("; 1,580 more are in layers.csv")
    assert parts["knowledge"].paragraphs[0].endswith("Shown are the first 12 of 60 models.")
    assert len(parts["data"].charts[0].table.headings) == 14
    assert len(html_of(page).encode()) <= 3_000_000


def test_the_page_is_written_whole_or_not_at_all(made, tmp_path):
    ranking = made.make_ranking(details=False)
    write_page(tmp_path / "new" / "r.html", ranking)
    assert (tmp_path / "new" / "r.html").read_text(encoding="utf-8") == page_html(ranking)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OptionError, match=r"expected a place where a page can be written at .*r\.html, got: .*; choose"
    ):
        write_page(tmp_path / "file" / "r.html", ranking)
