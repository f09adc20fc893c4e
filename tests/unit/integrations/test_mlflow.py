"""Rankings in MLflow: the log equals the ranking, for any names."""

from contextlib import suppress
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voxrank.integrations.mlflow
from tied_rankings import make_ranking
from voxrank.errors import OptionError, RunError
from voxrank.integrations.mlflow import MAX_NAME, Tracker, log_to_mlflow, metrics_of, parameters_of, valid_name
from voxrank.results.ranking import Ranking

pytestmark = [
    pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the extra mlflow"),
    pytest.mark.filterwarnings("ignore"),  # warnings of MLflow itself
]


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    """Return a file store in a separate folder; databases need all of MLflow."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return Tracker("speech", (tmp_path / "runs").as_uri())


def test_a_run_holds_parameters_metrics_and_files(tracker, tmp_path):
    ranking = make_ranking()
    ranking.save(tmp_path / "ranked")
    (tmp_path / "ranked" / "report.html").write_text("<p>")
    run = tracker.client().get_run(log_to_mlflow(ranking, tracker, folder=tmp_path / "ranked"))
    assert run.info.status == "FINISHED"
    assert run.data.params["best/model"] == "facebook/hubert-base"
    assert run.data.params["options/strategy"] == "probe"
    assert run.data.params["data/fingerprint"] == "0abc9"
    client = tracker.client()
    curve = sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, "logme/facebook_hubert-base"))
    wanted = sorted(
        (x.layer, x.scores["logme"].value)
        for x in ranking.layers
        if x.model == "facebook/hubert-base" and x.layer != "mean"
    )
    assert curve == [(step, pytest.approx(value)) for step, value in wanted]
    assert run.data.metrics["logme-mean/b"] == pytest.approx(-1.2)
    assert run.data.metrics["probability_best/logmel"] == pytest.approx(1 / 3)
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"ranking.json", "layers.csv", "report.html"}
    copy = client.download_artifacts(run.info.run_id, "ranking.json", str(tmp_path))
    assert Ranking.load(copy) == ranking


def test_an_existing_run_is_extended_and_left_open(tracker):
    client = tracker.client()
    run = client.create_run(tracker.find_experiment(client)).info.run_id
    assert log_to_mlflow(make_ranking(), tracker, run_id=run) == run
    assert client.get_run(run).info.status == "RUNNING"
    assert client.get_run(run).data.params["task"] == "classification"


HOSTILE = ["a", "a/b", "../../x", "/etc/passwd", "a//b", "a:b", "a?b", "é", "x" * 400, "x" * 401, "a\nb", ".", " "]


def test_different_names_never_share_a_key(tracker):
    ranking = make_ranking(HOSTILE, joint=False)
    run = tracker.client().get_run(log_to_mlflow(ranking, tracker))
    curves = [name for name in run.data.metrics if name.startswith("logme/")]
    assert len(curves) == len(HOSTILE)
    assert {round(run.data.metrics[name], 6) for name in curves} == {
        round(x.scores["logme"].value, 6) for x in ranking.layers if x.layer == 2
    }


@given(st.one_of(st.text(max_size=600), st.text("a/. ", max_size=600)))
def test_names_are_valid(text):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    name = valid_name(text)
    assert 0 < len(name) <= MAX_NAME
    _validate_metric_name(name)
    _validate_param_name(name)


def test_more_metrics_than_a_request_can_hold_are_all_logged(tracker):
    ranking = make_ranking([f"m{i}" for i in range(200)])
    assert len(metrics_of(ranking)) > 1000
    options = ranking.options | {f"o{i}": i for i in range(150)}
    ranking = make_ranking(options=options)
    assert len(parameters_of(ranking)) > 100
    run = tracker.client().get_run(log_to_mlflow(ranking, tracker))
    assert run.data.params["options/o149"] == "149"


def test_runs_go_to_the_store_that_is_named():
    assert Tracker.of("my experiment") == Tracker("my experiment")
    assert Tracker.of("http://localhost:5000") == Tracker("voxrank", "http://localhost:5000")
    assert Tracker.of("databricks").uri == "databricks"
    with pytest.raises(OptionError, match="got nothing; name one"):
        Tracker.of(" ")


def test_a_store_that_cannot_be_used_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(OptionError, match=r"MLflow cannot be used .*MLFLOW_ALLOW_FILE_STORE=true"):
        Tracker("x", (tmp_path / "runs").as_uri()).check()
    with pytest.raises(OptionError, match="MLflow cannot be used"):
        Tracker("x", "nonsense://x").check()
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"needs the extra mlflow; run: pip install 'voxrank\[mlflow\]'"):
        Tracker("x").check()


def test_checking_the_store_creates_no_experiment(tracker):
    tracker.check()
    assert tracker.client().get_experiment_by_name("speech") is None
    log_to_mlflow(make_ranking(), tracker)
    assert tracker.client().get_experiment_by_name("speech") is not None


def test_a_failed_write_to_the_server_is_reported_with_its_cause(tracker, monkeypatch):
    from mlflow.tracking import MlflowClient

    def gone(*_, **__):
        raise ConnectionError("refused")

    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    with pytest.raises(RunError, match="could not be logged to MLflow: ConnectionError: refused"):
        log_to_mlflow(make_ranking(), tracker)  # only the end of the run fails
    monkeypatch.setattr(
        voxrank.integrations.mlflow, "_log_files", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(RunError, match="could not be logged to MLflow: OSError: disk full"):
        log_to_mlflow(make_ranking(), tracker)


def test_a_run_that_is_interrupted_is_marked_and_the_interruption_goes_on(tracker, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(voxrank.integrations.mlflow, "_log_files", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log_to_mlflow(make_ranking(), tracker)
    client = tracker.client()
    (run,) = client.search_runs([client.get_experiment_by_name("speech").experiment_id])
    assert run.info.status == "KILLED"
    mine = client.create_run(run.info.experiment_id).info.run_id
    with suppress(KeyboardInterrupt):
        log_to_mlflow(make_ranking(), tracker, run_id=mine)
    assert client.get_run(mine).info.status == "RUNNING"


def test_a_run_that_fails_on_the_way_is_marked(tracker, monkeypatch):
    monkeypatch.setattr(
        voxrank.integrations.mlflow, "_log_files", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(RunError, match="could not be logged to MLflow: OSError: disk full"):
        log_to_mlflow(make_ranking(), tracker)
    client = tracker.client()
    (run,) = client.search_runs([client.get_experiment_by_name("speech").experiment_id])
    assert run.info.status == "FAILED"
