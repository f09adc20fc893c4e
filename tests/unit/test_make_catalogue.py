"""The script that makes the catalogue, on small inputs in the forms of its two sources."""

import json

import pytest

from make_catalogue import FactsError, catalogue, main, read_maeb, read_superb, text

FACTS = {
    "iso639": {"codes": "deu:de eng:en"},
    "maeb": {"tasks": ["T", "S"]},
    "shapes": {"base": {"family": "hubert", "layers": 12, "width": 768, "frame_rate": 50, "encoder": 9}},
    "models": [
        {"id": "a/one", "shape": "base", "hours": 960, "superb": "One", "more_languages": True},
        {"id": "b/two", "shape": "base", "languages": ["en"], "parameters": 12},
    ],
}
RECORD = {
    "id": "a/one",
    "released": "2021-06-14",
    "languages": ["eng-Latn", "deu-Latn", "xyz-Latn"],
    "parameters": 10,
    "dim": 768,
    "licence": "mit",
    "tasks": {"T": {"score": 0.5, "spread": 0.1}, "S": {"score": 0.25}},
}
LEADERBOARD = [
    {"model": "One", "paramShared": 11, "results": {"SF_f1_public": 80.0, "ASR_LM_wer_public": 4.79}},
    {"model": "FBANK", "paramShared": 0, "results": {"PR_per_public": 82.01}},
]
UTILS = """
def get_leaderboard_default():
    data = [{
        "name": "paper",
        "submitName": "One",
        "id": str(uuid4()),
        "paramShared": 1.1e1,
        "PR_per_public": 5.41,
        "ERfold1_acc_public": 60.83,
        "SE_pesq_public": "-",
        "SS_sisdri_public": None,
    }]
"""


def with_facts(**changes):
    return FACTS | {"models": [FACTS["models"][0] | changes, *FACTS["models"][1:]]}


def test_facts_and_figures_are_joined():
    content = catalogue(FACTS, [RECORD], LEADERBOARD)
    one, two = content["models"]
    assert (one["parameters"], one["encoder_parameters"], one["family"], one["licence"]) == (10, 9, "hubert", "mit")
    assert one["languages"] == ["de", "en", "mul", "xyz"]
    assert one["published"] == [
        {"source": "maeb", "task": "S", "metric": "score", "value": 0.25},
        {"source": "maeb", "task": "T", "metric": "score", "value": 0.5, "spread": 0.1},
        {"source": "superb", "task": "ASR", "metric": "LM_wer", "value": 4.79},
        {"source": "superb", "task": "SF", "metric": "f1", "value": 80.0},
    ]
    assert (two["parameters"], two["hours"], two["languages"], two["published"]) == (12, None, ["en"], [])
    assert list(content["others"]) == ["FBANK"]


def test_superb_counts_the_weights_where_maeb_has_none():
    assert catalogue(with_facts(), [], LEADERBOARD)["models"][0]["parameters"] == 11


def test_the_text_is_json_and_the_same_every_time():
    content = catalogue(FACTS, [RECORD], LEADERBOARD)
    assert text(content) == text(catalogue(FACTS, [RECORD], LEADERBOARD))
    assert json.loads(text(content)) == content


def test_a_correction_overrides_maeb_and_must_be_named():
    corrected = with_facts(licence="apache-2.0", corrects=["licence"])
    assert catalogue(corrected, [RECORD], LEADERBOARD)["models"][0]["licence"] == "apache-2.0"
    with pytest.raises(FactsError, match="a/one: the facts differ from MAEB in licence, and `corrects` names nothing"):
        catalogue(with_facts(licence="apache-2.0"), [RECORD], LEADERBOARD)
    with pytest.raises(FactsError, match="a/one: the facts differ from MAEB in nothing, and `corrects` names width"):
        catalogue(with_facts(corrects=["width"]), [RECORD], LEADERBOARD)


def test_a_fact_of_maeb_can_be_dropped():
    dropped = with_facts(unknown=["width"], corrects=["width"])
    assert catalogue(dropped, [RECORD], LEADERBOARD)["models"][0]["width"] is None


@pytest.mark.parametrize(
    ("facts", "records", "message"),
    [
        (FACTS, [RECORD | {"id": "c/three"}], "expected facts of every model of MAEB, got none of c/three"),
        (with_facts(superb="Won"), [RECORD], "SUPERB has no model Won"),
        (with_facts(shape="bass"), [RECORD], r"a/one: there is no shape 'bass' in \[shapes\]"),
    ],
)
def test_facts_about_nothing_are_refused(facts, records, message):
    with pytest.raises(FactsError, match=message):
        catalogue(facts, records, LEADERBOARD)


def test_maeb_is_read_from_a_clone(tmp_path):
    folder = tmp_path / "results" / "a__one" / "rev"
    folder.mkdir(parents=True)
    meta = {"name": "a/one", "release_date": "2021-06-14", "languages": ["eng-Latn"], "n_parameters": 10}
    (folder / "model_meta.json").write_text(json.dumps(meta | {"embed_dim": 768, "license": "mit"}))
    row = {"main_score": 0.5, "scores_per_experiment": [{"accuracy": 0.4}, {"accuracy": 0.6}]}
    (folder / "T.json").write_text(json.dumps({"scores": {"test": [row]}}))
    (older := folder.with_name("older")).mkdir()
    (older / "model_meta.json").write_text((folder / "model_meta.json").read_text())
    (record,) = read_maeb(tmp_path, FACTS)
    assert record == RECORD | {"languages": ["eng-Latn"], "tasks": {"T": {"score": 0.5, "spread": 0.14142}}}


def test_superb_is_read_from_a_clone(tmp_path):
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "utils.py").write_text(UTILS)
    assert read_superb(tmp_path) == [{"model": "One", "paramShared": 11, "results": {"PR_per_public": 5.41}}]


def test_the_script_writes_the_same_bytes_twice(tmp_path):
    (tmp_path / "maeb.json").write_text(json.dumps({"models": [RECORD]}))
    (tmp_path / "superb.json").write_text(json.dumps({"models": LEADERBOARD}))
    (tmp_path / "facts.toml").write_text(
        '[iso639]\ncodes = "eng:en"\n[shapes]\nbase = { family = "hubert" }\n[[models]]\nid = "a/one"\nshape = "base"\n'
    )
    sources = [f"--{name}={tmp_path / name}.json" for name in ("maeb", "superb")]
    for out in ("first", "second"):
        main([*sources, f"--facts={tmp_path / 'facts.toml'}", f"--out={tmp_path / out}"])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert json.loads((tmp_path / "first").read_text())["models"][0]["id"] == "a/one"
