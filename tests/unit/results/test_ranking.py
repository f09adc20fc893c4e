"""Results are saved completely, and folders that cannot be written are refused."""

import json
from dataclasses import replace

import pytest

from voxrank.data.utterance import Skipped
from voxrank.errors import DataError, OptionError
from voxrank.results.details import ClassView, Details, Knowledge, LayerClasses, LearningCurve, ModelCurve, Picture
from voxrank.results.ranking import (
    Cost,
    DataSummary,
    LayerScore,
    ModelScore,
    Ranking,
    ScoreValue,
    Sensitivity,
    check_folder,
)

SCORES = {"logme": ScoreValue(0.5, 0.4, 0.6)}
RANKING = Ranking(
    task="classification",
    data=DataSummary(10, 9, 12.5, "abc"),
    models=(ModelScore("m, with comma", 1, 1, 0.97, 1000, SCORES),),
    layers=(LayerScore("m, with comma", 1, "block 1", 8, SCORES), LayerScore("m", 0, "input", 8, SCORES)),
    beats=None,
    cost=Cost(1.0, 0.1, 1.5, 200.0),
    skipped=(Skipped("u1", "too short"),),
    options={"scores": ["logme"], "higher_is_better": {"logme": True}, "layers": "all"},
)


def tied(values, *, best=("a", 1), beats=None, shares=None):
    """Return a ranking whose layers, (model, layer) → value, are in this order."""
    layers = tuple(LayerScore(m, n, "", 8, {"logme": ScoreValue(v, None, None)}) for (m, n), v in values.items())
    names = list(dict.fromkeys(model for model, _ in values))
    first = {name: next(layer for layer in layers if layer.model == name) for name in names}
    models = tuple(
        ModelScore(name, first[name].layer, rank, None, 1000, first[name].scores, (shares or {}).get(name, 1.0))
        for rank, name in enumerate(names, start=1)
    )
    return replace(RANKING, models=models, layers=layers, beats=beats)


def test_layers_that_score_exactly_the_same_as_the_best_are_named():
    made = tied({("a", 1): 0.9, ("b", 0): 0.9, ("a", 2): 0.9 * (1 + 1e-15), ("b", 1): 0.8})
    assert [(x.model, x.layer) for x in made.equal_layers] == [("b", 0), ("a", 2)]
    assert made.verdict == (
        "Fine-tune a from layer 1 (). 2 other layers score exactly the same: layer 0 of b, layer 2 of a."
    )
    one = tied({("a", 1): 1.0, ("a", 2): 1.0, ("a", 3): 0.9})
    assert one.verdict.endswith(" 1 other layer scores exactly the same: layer 2 of a.")
    many = tied({("a", layer): 1.0 for layer in range(8)})
    assert many.verdict.endswith(
        " 7 other layers score exactly the same: layer 1 of a, layer 2 of a, layer 3 of a and 4 more."
    )
    assert "same" not in tied({("a", 1): 1.0, ("a", 2): 1.0 - 1e-9}).verdict


def test_a_model_that_saw_less_data_does_not_score_the_same():
    made = tied({("a", 1): 0.9, ("b", 0): 0.9}, shares={"b": 0.5})
    assert made.equal_layers == []
    assert [len(group) for group in made.groups] == [1, 1]


def test_models_that_score_exactly_the_same_share_a_rank_without_blocks():
    made = tied({("a", 1): 0.9, ("b", 0): 0.9, ("c", 0): 0.8, ("d", 0): 0.8, ("e", 0): 0.7})
    assert [[model.model for model in group] for group in made.groups] == [["a", "b"], ["c", "d"], ["e"]]
    assert made.to_pandas("models")["tied_to"].tolist() == [2, 2, 4, 4, 5]


def test_json_holds_the_schema():
    content = json.loads(RANKING.to_json())
    assert content["schema"] == 1
    assert set(content) >= {"task", "data", "models", "layers", "cost", "skipped"}
    assert content["models"][0] == {
        "model": "m, with comma",
        "layer": 1,
        "rank": 1,
        "probability_best": 0.97,
        "behind": None,
        "parameters": 1000,
        "scores": {"logme": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "share": 1.0,
        "speed": None,
        "published": [],
    }
    assert content["layers"][1]["name"] == "input"
    times = {"encode_s": 1.0, "score_s": 0.1, "total_s": 1.5, "align_s": 0.0, "cached_s": 0.0, "detail_s": 0.0}
    assert content["cost"] == times | {"peak_rss_mb": 200.0}


def test_save_writes_just_the_table_and_the_json(tmp_path):
    RANKING.save(tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["layers.csv", "ranking.json"]
    lines = (tmp_path / "a" / "b" / "layers.csv").read_text().splitlines()
    assert lines == [
        "model,layer,name,dim,logme,logme_low,logme_high",
        '"m, with comma",1,block 1,8,0.5,0.4,0.6',
        "m,0,input,8,0.5,0.4,0.6",
    ]


def test_a_failed_write_leaves_the_old_file_and_no_partial_file(tmp_path, monkeypatch):
    RANKING.save(tmp_path)
    before = (tmp_path / "ranking.json").read_text()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        RANKING.save(tmp_path)
    assert (tmp_path / "ranking.json").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layers.csv", "ranking.json"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        OptionError, match=r"expected a folder that can be written at .*taken, got: Not a directory; choose"
    ):
        check_folder(tmp_path / "taken")


def test_a_folder_without_permission_to_write_is_refused(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OptionError, match="got: Permission denied; choose another"):
        check_folder(tmp_path)


def test_the_pandas_table_has_a_row_for_each_layer():
    table = RANKING.to_pandas()
    assert list(table.columns) == ["model", "layer", "name", "dim", "logme", "logme_low", "logme_high"]
    assert RANKING.best.model == "m, with comma"


DETAILS = Details(
    classes=(LayerClasses("m", 0, (ClassView("<b>", 4, 0.25, (("a", 0.75),)), ClassView("a", 3, 1.0, ()))),),
    pictures=(Picture("m", "mean", "pca", "best", ("a", "<b>"), ((0.5, -1.0, 1.0),), 0.5),),
    knowledge=(Knowledge("speaker", "m", 0, 0.9, 0.5, 2, 40),),
    curve=LearningCurve("logme", True, (1.0, 2.0), (ModelCurve("m", 0, (0.1, 0.2)),), (None, None), 1.0),
)


@pytest.mark.parametrize("details", [Details(), DETAILS], ids=["plain", "details"])
def test_a_saved_ranking_is_loaded_unchanged(tmp_path, details):
    saved = replace(RANKING, beats=((0.5,),), sensitivity=(Sensitivity("jitter", None, 0.1, "m", "mean"),))
    saved = replace(saved, details=details)
    saved.save(tmp_path)
    assert (tmp_path / "details.json").exists() == (details != Details())
    for place in (tmp_path, tmp_path / "ranking.json"):
        loaded = Ranking.load(place)
        assert loaded == replace(saved, options=loaded.options)
        assert loaded.to_json() == saved.to_json()
    loaded.save(tmp_path / "again")
    for file in tmp_path.glob("*.*"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_details_of_an_older_ranking_are_deleted(tmp_path):
    replace(RANKING, details=DETAILS).save(tmp_path)
    RANKING.save(tmp_path)
    assert Ranking.load(tmp_path).details == Details()


def test_a_place_without_a_ranking_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read a ranking at .*ranking.json: No such file"):
        Ranking.load(tmp_path)
    with pytest.raises(DataError, match=r"cannot read a ranking at .*elsewhere: No such file"):
        Ranking.load(tmp_path / "elsewhere")


def _drop_layers(content):
    content["layers"] = content["layers"][1:]


def _set(place, value):
    def change(content):
        for key in place[:-1]:
            content = content[key]
        content[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_layers, "a model's best layer is none of the layers"),
        (_set(["models"], []), "there are no models"),
        (_set(["options", "scores"], []), "there are no scores"),
        (_set(["options", "scores"], ["knn"]), "a score has no direction"),
        (_set(["options", "scores"], "logme"), 'options.scores: expected a list, got "logme"'),
        (_set(["options", "higher_is_better"], None), "options.higher_is_better: expected an object, got null"),
        (_set(["layers", 1, "scores"], {}), "a score is missing"),
        (_set(["beats"], [[0.5, 0.5]]), "the shares of resamples do not fit the models"),
        (_set(["models", 0, "rank"], "1"), r'models\[0\].rank: expected a whole number, got "1"'),
        (_set(["schema"], 2), "its schema is 2, and this version of voxrank reads 1"),
        (_set(["new"], 2), "does not know 'new'"),
        (lambda content: content.pop("task"), "'task' is missing"),
    ],
)
def test_rankings_that_are_damaged_are_refused(tmp_path, change, message):
    RANKING.save(tmp_path)
    content = json.loads((tmp_path / "ranking.json").read_text())
    change(content)
    (tmp_path / "ranking.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as refused:
        Ranking.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_damaged_details_are_refused(tmp_path):
    replace(RANKING, details=DETAILS).save(tmp_path)
    text = (tmp_path / "details.json").read_text()
    (tmp_path / "details.json").write_text(text.replace('"pca"', '"umap"'))
    with pytest.raises(DataError, match=r"pictures\[0\].method: expected one of pca, t-sne, got"):
        Ranking.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["curve"].update(seconds=[]), "steps of its learning curve"),
        (lambda d: d["curve"]["models"][0].update(values=[1.0]), "steps of its learning curve"),
        (lambda d: d["pictures"][0].update(classes=["a"]), "a point of a picture is of no class"),
        (lambda d: d["pictures"][0].update(model="half \ud800"), "half a surrogate pair"),
    ],
)
def test_details_that_do_not_fit_together_are_refused_in_a_line(tmp_path, change, said):
    curve = LearningCurve("logme", True, (1.0, 2.0), (ModelCurve("m", 0, (0.1, 0.2)),), (None, None), 1.0)
    picture = Picture("m", 0, "pca", "best", ("a", "b"), ((0.0, 1.0, 0.0), (1.0, 0.0, 1.0)))
    replace(RANKING, details=Details(pictures=(picture,), curve=curve)).save(tmp_path)
    assert Ranking.load(tmp_path).details.curve == curve
    file = tmp_path / "details.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        Ranking.load(tmp_path)


@pytest.mark.parametrize("options", [{"trust_remote_code": None}, {"strategy": "odd"}, {"data": 3}])
def test_impossible_options_are_refused_in_one_line(tmp_path, options):
    RANKING.save(tmp_path)
    file = tmp_path / "ranking.json"
    content = json.loads(file.read_text())
    content["options"] |= options
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"options.{next(iter(options))}"):
        Ranking.load(tmp_path)


def test_names_that_are_too_long_are_refused_in_a_line(tmp_path):
    with pytest.raises(OptionError, match="File name too long; choose another"):
        RANKING.save(tmp_path / ("x" * 300))
    with pytest.raises(DataError, match="File name too long; check the path"):
        Ranking.load(tmp_path / ("x" * 300))
