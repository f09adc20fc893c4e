"""Results save whole, and refuse folders they cannot write."""

import json

import pytest

from voxrank.data.utterance import Skipped
from voxrank.errors import OptionError
from voxrank.results import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue, check_folder

SCORES = {"logme": ScoreValue(0.5, 0.4, 0.6)}
RANKING = Ranking(
    task="classification",
    data=DataSummary(10, 9, 12.5, "abc"),
    models=(ModelScore("m, with comma", 1, 1, 0.97, 1000, SCORES),),
    layers=(LayerScore("m, with comma", 1, "block 1", 8, SCORES), LayerScore("m", 0, "input", 8, SCORES)),
    beats=None,
    cost=Cost(1.0, 0.1, 1.5, 200.0),
    skipped=(Skipped("u1", "too short"),),
    options={"scores": ["logme"]},
)


def test_json_holds_the_schema():
    content = json.loads(RANKING.to_json())
    assert content["schema"] == 1
    assert set(content) >= {"task", "data", "models", "layers", "cost", "skipped"}
    assert content["models"][0] == {
        "model": "m, with comma",
        "layer": 1,
        "rank": 1,
        "probability_best": 0.97,
        "parameters": 1000,
        "scores": {"logme": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "share": 1.0,
        "speed": None,
    }
    assert content["layers"][1]["name"] == "input"
    times = {"encode_s": 1.0, "score_s": 0.1, "total_s": 1.5, "align_s": 0.0, "cached_s": 0.0}
    assert content["cost"] == times | {"peak_rss_mb": 200.0}


def test_save_writes_both_files_and_nothing_else(tmp_path):
    RANKING.save(tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["layers.csv", "ranking.json"]
    lines = (tmp_path / "a" / "b" / "layers.csv").read_text().splitlines()
    assert lines == [
        "model,layer,name,dim,logme,logme_low,logme_high",
        '"m, with comma",1,block 1,8,0.5,0.4,0.6',
        "m,0,input,8,0.5,0.4,0.6",
    ]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    RANKING.save(tmp_path)
    before = (tmp_path / "ranking.json").read_text()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        RANKING.save(tmp_path)
    assert (tmp_path / "ranking.json").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layers.csv", "ranking.json"]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        OptionError, match=r"expected a folder that can be written at .*taken, got: Not a directory; choose"
    ):
        check_folder(tmp_path / "taken")


def test_no_permission(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OptionError, match="got: Permission denied; choose another"):
        check_folder(tmp_path)


def test_pandas_table():
    table = RANKING.to_pandas()
    assert list(table.columns) == ["model", "layer", "name", "dim", "logme", "logme_low", "logme_high"]
    assert RANKING.best.model == "m, with comma"
