"""Exports of rankings from the command line: tables, model cards, scripts and runs of MLflow."""

import csv
import io
import json
import shutil
from importlib.util import find_spec

import pytest
import yaml

import voxrank.integrations.mlflow
from voxrank.results.ranking import Ranking


@pytest.fixture
def run(run):
    """Return a function that runs a command line, with standard error joined to one line."""

    def call(*arguments):
        code, out, err = run(*arguments)
        return code, out, " ".join(err.split())

    return call


@pytest.fixture
def hubert(tmp_path):
    """Return a small random HuBERT, saved by transformers."""
    import transformers as tf

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = tf.HubertConfig(
        **sizes, conv_dim=(12,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=12
    )
    tf.HubertModel(config).save_pretrained(tmp_path / "hubert")
    tf.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path / "hubert")
    return tmp_path / "hubert"


@pytest.fixture(scope="module")
def ranked_once(tmp_path_factory):
    """Return a list of the folders of stored rankings: none, or one."""
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def ranked(run, tones, tmp_path, ranked_once):
    """Return a folder with a ranking of log-mel and MFCC, a copy of the first."""
    first = ranked_once / "ranked"
    if not first.exists():
        code, _, err = run("rank", tones, "-m", "logmel", "-m", "mfcc", "--out", first, "--no-cache")
        assert code == 0, err
    return shutil.copytree(first, tmp_path / "ranked")


def test_saved_rankings_are_exported_in_every_form(run, ranked, tmp_path):
    code, out, _ = run("export", ranked)
    assert code == 0
    assert out.startswith("| Rank | Model | Layer |")
    code, out, _ = run("export", ranked, "--to", "csv")
    assert {row["model"] for row in csv.DictReader(io.StringIO(out))} == {"logmel", "mfcc"}
    code, out, _ = run("export", ranked, "--to", "latex", "--table", "layers")
    assert r"\toprule" in out
    code, out, _ = run("export", ranked, "--to", "json")
    assert json.loads(out) == json.loads((ranked / "ranking.json").read_text())
    code, out, _ = run("export", ranked, "--json", "-")
    assert json.loads(out) == json.loads((ranked / "ranking.json").read_text())
    code, out, _ = run("export", ranked, "--to", "card")
    assert yaml.safe_load(out.split("---\n")[1])["tags"] == ["voxrank", "speech"]
    code, out, err = run("export", ranked / "ranking.json", "--out", tmp_path / "t.md")
    assert (code, out) == (0, "")
    assert "t.md" in err
    assert (tmp_path / "t.md").read_text() == Ranking.load(ranked).to_markdown()


def test_files_are_written_before_json_is_printed(run, ranked, tmp_path):
    code, out, err = run("export", ranked, "--out", tmp_path / "t.md", "--json", "-")
    assert code == 0, err
    assert json.loads(out) == json.loads((ranked / "ranking.json").read_text())
    assert (tmp_path / "t.md").read_text() == Ranking.load(ranked).to_markdown()


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra parquet")
def test_parquet_goes_to_a_file(run, ranked, tmp_path):
    import pandas as pd

    assert run("export", ranked, "--to", "parquet", "--table", "models", "--out", tmp_path / "m.parquet")[0] == 0
    assert len(pd.read_parquet(tmp_path / "m.parquet")) == 2


def test_wrong_requests_are_refused_in_one_line(run, ranked, tmp_path):
    taken = tmp_path / "taken.py"
    taken.write_text("mine")
    for arguments, message in [
        (
            ("--to", "word"),
            "expected --to to be one of markdown, latex, csv, parquet, json, card, finetune, got 'word'",
        ),
        (("--to", "markdwn"), "got 'markdwn'; did you mean markdown?"),
        (("--table", "model"), "expected --table to be one of models, layers, got 'model'; did you mean models?"),
        (("--to", "card", "--trust-remote-code", "x/y"), "--trust-remote-code is for --to finetune; leave it out"),
        (("--to", "parquet"), "Parquet is written to a file; name one with --out"),
        (("--to", "card", "--table", "layers"), "leave it out with --to card"),
        (("--table", "rows"), "expected --table to be one of models, layers, got 'rows'"),
        (("--out", tmp_path / "no" / "x.md"), "No such file or directory; choose another"),
        (("--to", "finetune", "--out", taken), "exists already, and may have been edited"),
        (("--to", "finetune"), "came first, and transformers cannot tune a model of its kind"),
    ]:
        code, _, err = run("export", ranked, *arguments)
        assert (code, message in err) == (2, True), err
    assert taken.read_text() == "mine"
    code, _, err = run("export", tmp_path / "nothing")
    assert code == 2
    assert "cannot read a ranking at" in err


def test_rank_writes_a_script_that_runs(run, run_python, tones, hubert, tmp_path):
    there = tmp_path / "finetune.py"
    code, out, err = run(
        *("rank", tones, "-m", hubert, "--strategy", "layer", "--score", "logme", "--layers", "1"),
        *("--then", there, "--device", "cpu", "--no-cache", "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["schema"] == 1
    assert "finetune.py fine-tunes the winner" in err
    text = there.read_text()
    assert 'STRATEGY = "layer"' in text
    assert "LAYER = 1  #" in text
    there.write_text(text.replace("EPOCHS = 30", "EPOCHS = 1"))
    done = run_python(there, cwd=tmp_path, check=True)
    assert "block 1 and the head learn" in done.stdout
    code, out, _ = run("rank", tones, "-m", hubert, "--then", there)
    assert code == 2
    assert there.read_text().startswith('"""Fine-tune')


def test_models_none_of_which_can_be_tuned_are_refused_before_the_run(run, tones, tmp_path):
    code, out, err = run("rank", tones, "-m", "logmel", "-m", "mfcc", "--then", tmp_path / "f.py")
    assert (code, out) == (2, "")
    assert "expected a model that transformers can tune, such as a hub id or a directory, got logmel, mfcc" in err
    code, _, err = run("rank", tones, "-m", "logmel", "-m", "./x", "--then", tmp_path / "no" / "f.py")
    assert code == 2
    assert "there is no folder" in err


def test_a_model_that_cannot_be_tuned_may_still_win(run, tones, hubert, tmp_path):
    arguments = ("-m", "logmel", "-m", hubert, "--score", "logme", "--device", "cpu", "--no-cache")
    code, out, err = run("rank", tones, *arguments, "--out", tmp_path / "o", "--then", tmp_path / "f.py")
    best = Ranking.load(tmp_path / "o").best.model
    assert best == "logmel"  # the spectrum distinguishes tones best
    assert code == 1
    message = "logmel came first, and transformers cannot tune a model of its kind"
    assert f"the ranking was saved in {tmp_path / 'o'}; {tmp_path / 'f.py'} was not written: {message}; " in err
    assert f"the best model that it can tune is {hubert}: rank without logmel for its script" in err
    assert "best of 2 models" in " ".join(out.split())
    assert not (tmp_path / "f.py").exists()


def test_segments_and_a_script_are_refused_before_the_run(run, tones, tmp_path):
    code, out, err = run("rank", tones, "-m", "./x", "--segments", tmp_path, "--then", tmp_path / "f.py")
    assert (code, out) == (2, "")
    assert "expected --then with labels, values or transcripts, got --segments; leave one of the two out" in err


def test_a_script_may_go_into_the_folder_of_the_ranking(run, tones, hubert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("-m", hubert, "--score", "logme", "--layers", "1", "--device", "cpu", "--no-cache")
    code, _, err = run("rank", tones, *arguments, "--details", "none", "--out", "new", "--then", "./new/tune.py")
    assert code == 0, err
    assert "LAYER = 1  #" in (tmp_path / "new" / "tune.py").read_text()
    code, _, err = run("rank", tones, *arguments, "--out", "other", "--then", "elsewhere/tune.py")
    assert code == 2
    assert "there is no folder elsewhere" in err


def test_a_port_without_a_page_is_refused(run, tones):
    code, out, err = run("rank", tones, "-m", "logmel", "--watch-port", "8000")
    assert (code, out) == (2, "")
    assert "--watch-port 8000 is the port of the page of --watch; add --watch, or leave it out" in err


@pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra mlflow")
@pytest.mark.filterwarnings("ignore")
def test_the_script_is_written_even_if_logging_fails(run, tones, hubert, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def gone(*_):
        raise OSError("gone")

    monkeypatch.setattr(voxrank.integrations.mlflow, "_log_files", gone)
    arguments = ("-m", hubert, "--score", "logme", "--layers", "1", "--device", "cpu", "--no-cache")
    where = ("--mlflow", (tmp_path / "runs").as_uri(), "--then", tmp_path / "f.py")
    code, _, err = run("rank", tones, *arguments, *where)
    assert code == 1
    assert "the ranking was shown; the ranking could not be logged to MLflow: OSError: gone" in err
    assert "LAYER = 1  #" in (tmp_path / "f.py").read_text()


@pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra mlflow")
@pytest.mark.filterwarnings("ignore")
def test_rank_logs_to_mlflow(run, tones, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = (tmp_path / "runs").as_uri()
    code, _, err = run("rank", tones, "-m", "logmel", "--no-cache", "--mlflow", where, "--out", tmp_path / "o")
    assert code == 0, err
    identity = err.rpartition("as run ")[2].split()[0]
    from voxrank.integrations.mlflow import Tracker

    client = Tracker.of(where).client()
    assert client.get_run(identity).data.params["best/model"] == "logmel"
    assert "run.log" in {file.path for file in client.list_artifacts(identity)}
    code, out, err = run("rank", tones, "-m", "logmel", "--mlflow", "nonsense://x")
    assert (code, out) == (2, "")
    assert "MLflow cannot be used" in err
