"""Details are those of the layers that the ranking names, for any order and with the cache."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import voxrank
import voxrank.ranking.early_stopping
import voxrank.ranking.runner
from voxrank.config import DetailOptions, ExtractionOptions, StoppingOptions, UseOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError, OptionError
from voxrank.ranking.diagnosing import _best_of, _RankedLayer, _worst_of
from voxrank.ranking.resampling import Column
from voxrank.results.details import Details
from voxrank.results.ranking import ScoreValue

NAMES = ["fake-a", "fake-b", "fake-c"]


def assert_same(found, expected):
    """Check that details are equal, up to rounding."""
    assert [(one.model, one.layer) for one in found.classes] == [(one.model, one.layer) for one in expected.classes]
    for one, other in zip(found.classes, expected.classes, strict=True):
        assert one.classes == other.classes
    assert found.knowledge == expected.knowledge
    for one, other in zip(found.pictures, expected.pictures, strict=True):
        assert replace(one, points=(), explained=None) == replace(other, points=(), explained=None)
        assert one.explained == pytest.approx(other.explained)
        np.testing.assert_allclose(one.points, other.points, rtol=2e-3, atol=1e-4)
    mine, theirs = found.curve, expected.curve
    assert (mine.score, mine.seconds, mine.held_from_s) == (theirs.score, theirs.seconds, theirs.held_from_s)
    assert mine.spearman == pytest.approx(theirs.spearman)
    for one, other in zip(mine.models, theirs.models, strict=True):
        assert (one.model, one.layer) == (other.model, other.layer)
        assert one.values == pytest.approx(other.values, rel=1e-4)


@pytest.fixture
def graded(tones):
    """Write the tones with columns of other cells: by utterance, by speaker, and one that is mostly empty."""
    header, *rows = csv.reader(tones.read_text().splitlines())
    path = tones.with_name("graded.csv")
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*header, "room", "gender", "note"])
        for n, row in enumerate(rows):
            out.writerow([*row, "xy"[n % 2], "fm"[int(row[2][1]) % 2], "loud" if n == 3 else ""])
    return path


def ranked(data, names=NAMES, **options):
    return voxrank.rank(data, names, **{"scores": ["combined"], "besides": ["room", "gender", "speaker"]} | options)


def test_details_are_of_the_layers_that_the_ranking_names(fakes, graded):
    ranking = ranked(graded)
    details = ranking.details
    assert [(one.model, one.layer) for one in details.classes] == [(one.model, one.layer) for one in ranking.models]
    for one in details.classes:
        assert {view.name for view in one.classes} == {"low", "middle", "high"}
        assert sum(view.samples for view in one.classes) == 36
        assert [view.recall for view in one.classes] == sorted(view.recall for view in one.classes)
    first, last = ranking.layers[0], ranking.layers[-1]
    assert [(one.place, one.model, one.layer, one.method) for one in details.pictures] == [
        ("best", first.model, first.layer, "pca"),
        ("worst", last.model, last.layer, "pca"),
    ]
    assert {len(one.points) for one in details.pictures} == {36}
    layers = {(layer.model, layer.layer) for layer in ranking.layers}
    for column, classes in (("room", 2), ("gender", 2), ("speaker", 4)):
        found = [one for one in details.knowledge if one.column == column]
        assert {(one.model, one.layer) for one in found} == layers
        assert {(one.classes, one.samples) for one in found} == {(classes, 36)}
    curve = details.curve
    assert (curve.score, curve.higher_is_better) == ("logme", True)
    assert curve.seconds[-1] == pytest.approx(ranking.data.seconds)
    for one in curve.models:
        own = [layer.scores["logme"].value for layer in ranking.layers if layer.model == one.model]
        assert one.values[-1] == max(own)
    assert ranking.cost.detail_s > 0


@pytest.mark.parametrize("sample", ["utterance", "frame", "segment", "effective"])
def test_neither_the_cache_nor_the_size_of_shards_changes_details(fakes, graded, kept, sample):
    options = ExtractionOptions(sample=sample)
    first = ranked(graded, extraction=options, cache=kept).details
    assert_same(ranked(graded, extraction=options, cache=kept).details, first)
    assert_same(ranked(graded, extraction=replace(options, shard_s=0.4)).details, first)


@pytest.mark.parametrize("target", ["segments", "text"])
def test_details_of_frame_labels_are_sampled_and_repeatable(fakes, spelled, kept, target):
    options = {"target": target, "scores": ["logme"], "besides": ["speaker"]}
    if target == "text":
        options["sequence"] = voxrank.SequenceOptions(aligner="uniform")
    first = ranked(spelled, cache=kept, **options).details
    assert len(first.classes) == 3
    named = {view.name for view in first.classes[0].classes}
    assert set("abcde") <= named
    assert named <= {*"abcde", "silence"}
    letters = sum(len(utterance.segments) for utterance in read_dataset(spelled, target="segments").utterances)
    assert {one.samples for one in first.knowledge} == {letters}  # one for each segment
    assert {one.classes for one in first.knowledge} == {4}
    assert_same(ranked(spelled, cache=kept, **options).details, first)


def test_values_have_no_classes(fakes, graded):
    text = graded.read_text().replace("label", "value").replace(",low,", ",1,").replace(",middle,", ",2,")
    graded.write_text(text.replace(",high,", ",7,"))
    details = ranked(graded).details
    assert details.classes == ()
    assert {one.classes for one in details.pictures} == {()}
    assert len({point[2] for point in details.pictures[0].points}) == 3
    assert len(details.knowledge) == 18


@pytest.mark.parametrize("names", [["knn"], ["vci"], ["tuned"]])
def test_any_score_may_order(fakes, graded, names):
    use = UseOptions("layer") if names == ["tuned"] else None
    ranking = ranked(graded, scores=names, use=use)
    details = ranking.details
    assert [(one.model, one.layer) for one in details.classes] == [(one.model, one.layer) for one in ranking.models]
    assert details.pictures[0].layer == ranking.best.layer
    assert details.pictures[-1].model == ranking.layers[-1].model
    assert (details.curve.score, details.curve.higher_is_better) == (
        ("vci", False) if names == ["vci"] else ("logme", True)
    )
    assert len(details.curve.models) == len(ranking.models)


def test_models_that_were_dropped_are_in_no_curve(fakes, graded, monkeypatch):
    monkeypatch.setattr(voxrank.ranking.early_stopping, "LEAST_UTTERANCES", 4)
    monkeypatch.setattr(
        voxrank.ranking.runner, "beaten", lambda now, before, **_: {"fake-b"} & set(now.scores) if before else set()
    )
    ranking = ranked(graded, scores=["logme"], stopping=StoppingOptions())
    assert {model.model: model.share < 1 for model in ranking.models} == {
        "fake-a": False,
        "fake-b": True,
        "fake-c": False,
    }
    assert {one.model for one in ranking.details.curve.models} == {"fake-a", "fake-c"}
    assert len(ranking.details.classes) == 3
    assert ranking.details.pictures[-1].model == "fake-b"


def test_source_data_do_not_change_details(fakes, graded):
    plain = ranked(graded, scores=["logme"]).details
    assert_same(ranked(graded, scores=["logme", "frechet"], source=graded).details, plain)


def test_details_that_need_blocks_or_samples_are_left_out_without_them(fakes, graded):
    details = ranked(graded, extraction=ExtractionOptions(blocks=1)).details
    assert (details.classes, details.curve) == ((), None)
    assert len(details.pictures) == 2
    bare = ranked(graded, scores=["logme"], extraction=ExtractionOptions(kept_samples=0)).details
    assert (bare.classes, bare.pictures, bare.knowledge) == ((), (), ())
    assert bare.curve is not None


def test_no_details_are_computed_where_none_are_requested(fakes, graded):
    ranking = ranked(graded, details="none", besides=[])
    assert ranking.details == Details()
    assert ranking.cost.detail_s == 0


def test_full_details_have_a_tsne_picture(fakes, graded):
    assert [one.method for one in ranked(graded, ["fake-c"], details="full").details.pictures] == ["pca", "t-sne"]


def test_a_column_that_no_cell_confirms_is_left_out(fakes, graded):
    assert ranked(graded, besides=["note"]).details.knowledge == ()


def test_wrong_requests_are_refused(fakes, graded):
    with pytest.raises(
        DataError, match=r"graded.csv: there is no column 'gendre' to probe layers for; did you mean gender\?"
    ):
        ranked(graded, besides=["gendre"])
    given = voxrank.read_dataset(graded)
    with pytest.raises(
        DataError, match=r"graded.csv: no utterance has a cell in a column 'gender'; known: label, speaker"
    ):
        ranked(given, besides=["gender"])
    with pytest.raises(OptionError, match="--besides needs details"):
        DetailOptions("none", ("room",))
    with pytest.raises(OptionError, match="expected each column of --besides once, got room, room"):
        ranked(graded, besides=["room", "room"])
    with pytest.raises(OptionError, match="expected details to be one of none, quick, full, got 'some'"):
        ranked(graded, details="some")


def test_columns_of_a_data_set_that_was_read_before_are_used(fakes, graded):
    given = voxrank.read_dataset(graded, besides=["room"])
    assert isinstance(given, Dataset)
    assert_same(ranked(given, besides=["room"]).details, ranked(graded, besides=["room"]).details)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_the_best_and_the_worst_are_always_kept(scored):
    """The candidates, of up to three models, come model by model, ordered as a combination orders them."""
    scored = sorted(scored, key=lambda one: one[2])
    columns = [
        Column(
            tuple(ScoreValue(float(one[place]), None, None) for one in scored), higher_is_better=True, resampled=None
        )
        for place in (0, 1)
    ]
    order = Column.combined(columns).order()
    standings = [_RankedLayer(str(model), n, 1.0, (a, b), None) for n, (a, b, model) in enumerate(scored)]
    best, worst = [], []
    for model in "012":
        own = [one for one in standings if one.model == model]
        best, worst = _best_of([*best, *_best_of(own)]), _worst_of([*worst, *own])
        mine = [n for n in order if standings[n].model == model]
        assert not own or standings[mine[0]] in _best_of(own)
    assert standings[order[0]] in best
    assert standings[order[-1]] in worst
