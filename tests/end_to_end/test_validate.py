"""`voxrank validate` as a user runs it, with data of two minutes at most that are tuned in seconds."""

import csv
import gc
import html
import json
import os
import signal
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
from functools import partial

import pytest
from scipy.stats import spearmanr

import hf_models as models
import voxrank.report.plots
from voxrank.cli.main import exit_code
from voxrank.groundtruth import strategies
from voxrank.groundtruth.agreement import agreement
from voxrank.groundtruth.training import TrialError
from voxrank.groundtruth.verdict import Cost, Judged, Parts, Truth, Validation
from voxrank.report.plots import save_plots

one_thread = models.one_thread

FILES = ["candidates.csv", "ranks.svg", "run.log", "scatter.svg", "trials.sqlite", "validation.json"]
QUICK = ("--seeds", "2", "--epochs", "2", "--whisper-window", "fit")
RIVAL = "probe on 10 %"

# a warning of peft on whole models of transformers; tests/unit/groundtruth/test_backbones.py covers it
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture(scope="module", autouse=True)
def little_garbage():
    """Exclude imports from garbage collection: the Trainer collects twice per run, longer than these trials take."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that returns the directory of a small model of a family."""
    place = tmp_path_factory.mktemp("models")
    found = {}

    def save(family):
        if family not in found:
            found[family] = models.save(place / family, *models.build(family))
            if family == "parakeet-rnnt":
                save_tokenizer(place / family)
        return found[family]

    return save


def save_tokenizer(place):
    import tokenizers
    import transformers as tf

    vocabulary = {piece: number for number, piece in enumerate(("▁", "a", "b", "c", "<unk>"))}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tf.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(place)


@pytest.fixture
def run(run, monkeypatch):
    """Run `voxrank validate` with empty pictures: drawing takes longer than all else, and few tests read them."""

    def save_empty(validation, folder):
        for name in ("scatter.svg", "ranks.svg"):
            (folder / name).write_text("<svg/>", encoding="utf-8")

    monkeypatch.setattr(voxrank.report.plots, "save_plots", save_empty)
    return partial(run, "validate")


def content_of(folder):
    return json.loads((folder / "validation.json").read_text())


def files_in(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(("-wal", "-shm")))


def rows_in(folder):
    return list(csv.DictReader((folder / "candidates.csv").read_text().splitlines()))


def candidates_of(content):
    return [(one["model"], one["layer"]) for one in content["truth"]]


def count_trials(monkeypatch, fails=lambda layer, dim, seed: False):
    """Return a list of the trials that run from here on, as (layer, seed); some of them may fail."""
    ran, train = [], vars(strategies)["train"]

    def counted(backbone, head, parts, answers, fit, device):
        ran.append((backbone.layer, fit.seed))
        if fails(backbone.layer, backbone.dim, fit.seed):
            raise TrialError("it is made to fail")
        return train(backbone, head, parts, answers, fit, device)

    monkeypatch.setattr(strategies, "train", counted)
    return ran


STRATEGIES = {
    "probe": (["--layers", "0,-1"], [("logmel", 0), ("hubert", 0), ("hubert", 3)]),
    "layer": ([], [("hubert", 1), ("hubert", 2), ("hubert", 3)]),
    "full": ([], [("logmel", 0), ("hubert", 3), ("whisper", 3)]),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_validate_gives_a_verdict_with_every_strategy(run, tones, tmp_path, saved, strategy, monkeypatch):
    monkeypatch.setattr(voxrank.report.plots, "save_plots", save_plots)
    options, expected = STRATEGIES[strategy]
    names = {"logmel": "logmel", "hubert": saved("hubert-layer"), "whisper": saved("whisper")}
    chosen = [name for name in names if name != "whisper" or strategy == "full"]
    models_ = [word for name in chosen for word in ("-m", names[name])]
    out_dir = tmp_path / "o"
    code, out, err = run(tones, *models_, "--strategy", strategy, *options, *QUICK, "--out", out_dir)
    assert code == 0, err
    assert files_in(out_dir) == FILES
    assert max(len(line) for line in out.splitlines() if not line.startswith("Saved in")) <= 80
    assert "Traceback" not in err
    content = content_of(out_dir)
    check_content(content, strategy, [(names[name], layer) for name, layer in expected])
    check_table(rows_in(out_dir), content)
    left_out = "logmel has no weights that can be tuned here, and is left out"
    assert (left_out in content["notes"]) == (strategy == "layer") == (left_out in " ".join(out.split()))
    for name in ("scatter.svg", "ranks.svg"):
        ET.parse(out_dir / name)
    assert "seed 1" in (out_dir / "run.log").read_text()
    with sqlite3.connect(out_dir / "trials.sqlite") as connection:
        rows = connection.execute("SELECT status, count(*) FROM trials GROUP BY status").fetchall()
    connection.close()
    read = 6 if strategy != "full" else 1 + 4 + 4
    rivals = {"probe": 3, "layer": 3, "full": read}[strategy]  # a probe of every layer for whole models
    assert rows == [("done", 6 + rivals)]


def check_content(content, strategy, expected):
    assert (content["schema"], content["task"], content["strategy"]) == (1, "classification", strategy)
    assert (content["metric"], content["higher_is_better"]) == ("accuracy", True)
    parts = content["parts"]
    assert (parts["by"], parts["train"] + parts["validation"] + parts["test"]) == ("speaker", 36)
    assert candidates_of(content) == expected
    for one in content["truth"]:
        assert len(one["values"]) == 2
        assert all(0 <= value <= 1 for value in one["values"])
        assert one["failures"] == []
        assert one["seconds"] > 0
    assert content["judged"][0]["name"] == ("tuned" if strategy == "layer" else "mean order")
    assert len(content["expected"]) == len(expected)
    assert all(one["low"] <= one["value"] <= one["high"] for one in content["expected"])
    kinds = [one["kind"] for one in content["judged"]]
    assert kinds == sorted(kinds, key=["score", "rival", "rule"].index)
    assert set(kinds) == {"score", "rival", "rule"}
    assert [one["name"] for one in content["judged"] if one["kind"] == "rival"] == [RIVAL]
    means = [sum(one["values"]) / 2 for one in content["truth"]]
    for judged in content["judged"]:
        found = judged["agreement"]
        assert len(judged["values"]) == found["n"] == len(expected)
        if found["spearman"]["value"] is not None:
            sign = 1 if judged["higher_is_better"] else -1
            other = spearmanr([sign * value for value in judged["values"]], means).statistic
            assert found["spearman"]["value"] == pytest.approx(other, abs=1e-9)
    cost = content["cost"]
    assert cost["tune_s"] == pytest.approx(sum(one["seconds"] for one in content["truth"]))
    assert content["options"]["tuning"]["strategy"] == strategy


def check_table(rows, content):
    assert [(row["model"], int(row["layer"])) for row in rows] == candidates_of(content)
    for place, (row, one) in enumerate(zip(rows, content["truth"], strict=True)):
        assert [float(row[f"accuracy_seed{seed}"]) for seed in (0, 1)] == one["values"]
        assert float(row["accuracy"]) == pytest.approx(sum(one["values"]) / 2)
        for judged in content["judged"]:
            column = "expected_accuracy" if judged["name"] == "accuracy" else judged["name"]
            assert float(row[column]) == pytest.approx(judged["values"][place], rel=1e-12)


def test_the_same_command_resumes_and_repeats_no_trial(run, tones, tmp_path, saved, monkeypatch):
    ran = count_trials(monkeypatch)
    command = [tones, "-m", "logmel", "-m", saved("hubert-layer"), "--layers", "0,-1", *QUICK, "--out", tmp_path / "o"]
    assert run(*command)[0] == 0
    assert len(ran) == 3 * 2 + 3  # and the trials of the rival
    first, table = content_of(tmp_path / "o"), (tmp_path / "o" / "candidates.csv").read_bytes()
    ran.clear()
    count_trials(monkeypatch, fails=lambda *_: True)
    assert run(*command)[0] == 0
    assert ran == []
    again = content_of(tmp_path / "o")
    assert again["truth"] == first["truth"]
    assert (tmp_path / "o" / "candidates.csv").read_bytes() == table
    for one, other in zip(again["judged"], first["judged"], strict=True):
        assert (one["name"], one["values"], one["agreement"]) == (other["name"], other["values"], other["agreement"])
    assert again["cost"]["tune_s"] == first["cost"]["tune_s"]


def test_only_the_new_seed_is_trained_where_seeds_are_added(run, tones, tmp_path, monkeypatch):
    ran = count_trials(monkeypatch)
    command = [tones, "-m", "logmel", "-m", "mfcc", *QUICK, "--out", tmp_path / "o", "--json"]
    values = [one["values"] for one in json.loads(run(*command)[1])["truth"]]
    ran.clear()
    more = json.loads(run(*command, "--seeds", "3")[1])
    assert ran == [(0, 2), (0, 2)]
    assert [one["values"][:2] for one in more["truth"]] == values
    ran.clear()
    assert run(*command, "--epochs", "3")[0] == 0
    assert len(ran) == 2 * 2 + 2  # other options make other trials


def test_only_json_is_printed_and_no_file_is_written_without_out(run, tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, _ = run(tones, "-m", "logmel", "--seeds", "1", "--epochs", "1", "--json")
    assert code == 0
    assert candidates_of(json.loads(out)) == [("logmel", 0)]
    assert sorted(tmp_path.iterdir()) == before


def test_a_failed_trial_is_reported_and_not_counted(run, tones, tmp_path, saved, monkeypatch):
    hubert = saved("hubert-layer")

    def fails(layer, dim, seed):
        return dim == models.HIDDEN and (layer == 0 or (layer, seed) == (3, 1))

    count_trials(monkeypatch, fails)
    options = ["--layers", "0,2,3", *QUICK, "--out", tmp_path / "o"]
    code, out, _ = run(tones, "-m", hubert, "-m", saved("whisper"), "--layers", "0,2,3", *options)
    assert code == 0
    content = content_of(tmp_path / "o")
    assert len(content["truth"]) == 6
    by_candidate = {(one["model"], one["layer"]): one for one in content["truth"]}
    assert {key: [value is None for value in one["values"]] for key, one in by_candidate.items() if key[1] != 2} == {
        (hubert, 0): [True, True],
        (hubert, 3): [False, True],
        (saved("whisper"), 0): [True, True],
        (saved("whisper"), 3): [False, True],
    }
    assert by_candidate[hubert, 0]["failures"] == ["it is made to fail"] * 2
    assert by_candidate[hubert, 3]["failures"] == ["it is made to fail"]
    places = [place for place, key in enumerate(by_candidate) if key[1] != 0]
    for judged in content["judged"]:
        found = judged["agreement"]
        missing = 2 if judged["name"] == RIVAL else 0
        assert [value is None for value in judged["values"]] == [bool(missing) and n not in places for n in range(6)]
        assert (found["n"], found["without_truth"] + found["without_score"]) == (4, 2 + missing)
        means = [
            [value for value in list(by_candidate.values())[place]["values"] if value is not None] for place in places
        ]
        direct = agreement(
            [judged["values"][place] for place in places],
            [[values[0], values[-1] if len(values) > 1 else float("nan")] for values in means],
            truth_higher_is_better=True,
            score_higher_is_better=judged["higher_is_better"],
        )
        assert found["spearman"]["value"] == direct.spearman.value
    assert "Failed trials, which are not counted: 6; the first: it is made to fail" in " ".join(out.split())
    (row,) = [row for row in rows_in(tmp_path / "o") if (row["model"], row["layer"]) == (hubert, "0")]
    assert (row["accuracy"], row["accuracy_seed0"]) == ("", "")
    assert row["failures"] == "it is made to fail; it is made to fail"


def test_trials_that_learn_nothing_name_no_best_candidate(run, tones, tmp_path):
    options = ["--head-learning-rate", "0", *QUICK, "--out", tmp_path / "o"]
    code, out, _ = run(tones, "-m", "logmel", "-m", "mfcc", *options)
    text = " ".join(out.split())
    assert code == 0
    assert "No trial beat its untrained head on held-out data (4 trials)" in text
    assert "All 2 candidates have accuracy" in text
    assert "Fine-tuned best" not in text
    content = content_of(tmp_path / "o")
    assert (content["verdict"]["trials"], content["verdict"]["beat_untrained"]) == (4, 0)
    assert [one["model"] for one in content["verdict"]["best"]] == ["logmel", "mfcc"]
    assert all(one["untrained"] == one["values"] for one in content["truth"])


def test_trials_that_learn_are_compared_with_their_untrained_head(run, tones):
    content = json.loads(run(tones, "-m", "logmel", "--seeds", "1", "--json")[1])
    (one,) = content["truth"]
    assert one["beat_untrained"] == [True]
    assert one["values"][0] > one["untrained"][0] == pytest.approx(1 / 3)
    assert content["verdict"]["beat_untrained"] == 1


def test_the_reason_is_reported_where_every_trial_fails(run, tones, tmp_path, monkeypatch):
    count_trials(monkeypatch, fails=lambda *_: True)
    code, out, err = run(tones, "-m", "logmel", "-m", "mfcc", *QUICK, "--out", tmp_path / "o")
    assert code in (0, 1)
    assert "it is made to fail" in " ".join((out + err).split())


@pytest.mark.parametrize("strategy", ["probe", "layer"])
def test_models_are_fine_tuned_on_transcripts(run, spelled, tmp_path, saved, strategy):
    options = ["--unit", "char", "--strategy", strategy, "--layers", "-1" if strategy == "layer" else "0,-1"]
    models_ = ["-m", "logmel", "-m", saved("whisper"), "--whisper-window", "fit"]
    fit = ["--seeds", "1", "--epochs", "4", "--batch-size", "2", "--head-learning-rate", "0.1"]
    code, out, err = run(spelled, *models_, *options, *fit, "--out", tmp_path / "o")
    assert code == 0, err
    assert files_in(tmp_path / "o") == FILES
    content = content_of(tmp_path / "o")
    assert (content["task"], content["metric"], content["higher_is_better"]) == ("transcription", "cer", False)
    wanted = [("logmel", 0), (saved("whisper"), 0), (saved("whisper"), 3)]
    assert candidates_of(content) == (wanted if strategy == "probe" else wanted[2:])
    assert 0 <= min(one["values"][0] for one in content["truth"]) < 0.8  # some output, partly right
    assert max(len(line) for line in out.splitlines() if not line.startswith("Saved in")) <= 80
    assert content["options"]["sequence"]["aligner"]["aligner"] == "flat"


def test_transcripts_may_be_compared_by_word_error_rate(run, spelled):
    options = ["--unit", "char", "--metric", "wer", "--seeds", "1", "--epochs", "1", "--json"]
    content = json.loads(run(spelled, "-m", "logmel", *options)[1])
    assert content["metric"] == "wer"
    assert [one["name"] for one in content["judged"] if one["kind"] == "rival"] == [RIVAL]


def test_the_transducer_of_a_model_is_fine_tuned(run, spelled, tmp_path, saved, monkeypatch):
    ran = count_trials(monkeypatch)
    spelled.write_text("".join(spelled.read_text().splitlines(keepends=True)[:17]))
    options = ["--unit", "char", "--strategy", "layer", "--head", "transducer", "--head-at", "top", "--layers", "2"]
    code, _, err = run(
        spelled, "-m", saved("parakeet-rnnt"), *options, "--seeds", "1", "--epochs", "1", "--out", tmp_path / "o"
    )
    assert code == 0, err
    assert ran == [(2, 0), (2, 0)]
    (one,) = content_of(tmp_path / "o")["truth"]
    assert one["failures"] == []
    assert one["values"][0] >= 0


@pytest.mark.parametrize("strategy", ["layer", "full"])
def test_adapters_are_fine_tuned(run, tones, saved, strategy):
    options = ["--strategy", strategy, "--lora", "2", "--layers", "-1", "--seeds", "2", "--epochs", "1", "--json"]
    code, out, err = run(tones, "-m", saved("hubert-layer"), *options)
    assert code == 0, err
    (one,) = json.loads(out)["truth"]
    assert one["failures"] == []
    assert None not in one["values"]


def test_a_model_without_a_transducer_is_refused(run, spelled, saved):
    options = ["--unit", "char", "--head", "transducer", "--seeds", "1", "--epochs", "1", "--layers", "-1"]
    code, out, err = run(spelled, "-m", saved("wav2vec2-group"), *options)
    assert (code, out) == (2, "")
    assert "a wav2vec2 has no transducer" in err
    assert sum(line.startswith("voxrank: ") for line in err.splitlines()) == 1


WRONG = {
    "only joint layers": (
        ["--layers", "mean, concat"],
        "expected layers that a head can be trained on, got only joint ones (mean, concat); name all, or indices",
    ),
    "unknown strategy": (["--strategy", "half"], "expected --strategy to be one of probe, layer, full, got 'half'"),
    "adapters of a probe": (["--lora", "4"], "a probe tunes nothing but its head; take --strategy layer or full"),
    "a probe at the top": (["--head-at", "top"], "--head-at top is for --strategy layer"),
    "a transducer of labels": (["--head", "transducer"], "a transducer writes transcripts, and these are labels"),
    "characters of labels": (["--metric", "cer"], "expected the metric accuracy for labels, got 'cer'"),
    "unknown head": (["--head", "deep"], "expected --head to be one of linear, mlp, transducer, got 'deep'"),
    "no seeds": (["--seeds", "0"], "expected seeds to be a whole number of at least 1, got 0"),
    "unknown model": (["-m", "no-such-org/no-such-model"], "no-such-org/no-such-model"),
    "a slip in a model": (["-m", "logmell"], "did you mean logmel?"),
    "unknown score": (["--score", "logm"], "unknown score 'logm'; did you mean logme?"),
    "no such layer": (["--layers", "7"], "logmel has layers 0 to 0, not 7"),
    "nothing to tune": (["--strategy", "layer"], "none of the layers 'all' is made by a block that can be tuned"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_requests_are_one_line_and_exit_two(run, tones, arguments, message, monkeypatch):
    ran = count_trials(monkeypatch)
    code, out, err = run(tones, "-m", "logmel", *arguments)
    assert (code, out, ran) == (2, "", [])
    assert message in err.splitlines()[-1]
    assert sum(line.startswith("voxrank: ") for line in err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("wrong", ["unknown model", "unknown score", "a transducer of labels", "nothing to tune"])
def test_a_refused_request_writes_nothing(run, tones, tmp_path, wrong):
    assert run(tones, "-m", "logmel", *WRONG[wrong][0], "--out", tmp_path / "o")[0] == 2
    assert not (tmp_path / "o").exists()


def test_a_request_without_a_model_is_refused(run, tones):
    code, _, err = run(tones)
    assert code == 2
    assert "expected at least one model, got none; name one with --model" in err


def test_bad_utterances_are_skipped_and_listed(run, tones):
    with tones.open("a") as file:
        file.write("clips/none.wav,low,s1\n")
    options = ["-m", "logmel", "--window", "0.25", "--seeds", "1", "--epochs", "1", "--json"]
    content = json.loads(run(tones, *options)[1])
    whole = [one for one in content["skipped"] if one["model"] is None]
    assert [one["utterance"] for one in whole] == ["clips/none.wav"]
    long = {one["utterance"]: one["reason"] for one in content["skipped"] if one["model"] == "logmel"}
    assert len(long) == 36 // 7  # utterances of 0.26 s
    assert set(long.values()) == {"expected at most 0.25 s, the model's window, to train on, got 0.3 s"}


def test_an_interrupted_run_resumes(run, tones, tmp_path, monkeypatch):
    command = [tones, "-m", "logmel", "-m", "mfcc", *QUICK, "--out", tmp_path / "o"]
    real = vars(strategies)["train"]

    def interrupted(backbone, head, parts, answers, fit, device):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append((backbone.layer, fit.seed))
        return real(backbone, head, parts, answers, fit, device)

    ran = []
    monkeypatch.setattr(strategies, "train", interrupted)
    code, out, err = run(*command)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "voxrank: stopped; no finished trial is lost; run the same command again to go on"
    assert files_in(tmp_path / "o") == ["trials.sqlite"]
    monkeypatch.setattr(strategies, "train", real)
    more = count_trials(monkeypatch)
    assert run(*command)[0] == 0
    assert more == [(0, 0), (0, 0), (0, 1), (0, 0)]  # the rival of logmel, and all trials of mfcc


HELD = """
import sys, time
from voxrank.cli.main import exit_code
from voxrank.groundtruth import strategies
begun, train = [], strategies.train
def held(*arguments):
    begun.append(1)
    if len(begun) > 3:
        print("held", flush=True)
        time.sleep(600)
    return train(*arguments)
strategies.train = held
sys.exit(exit_code(sys.argv[1:]))
"""
"""Code that runs the command and holds it in its fourth trial."""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
def test_a_run_that_is_killed_loses_no_trial(run, start_python, tones, tmp_path, monkeypatch):
    out_dir = tmp_path / "o"
    command = ["validate", tones, "-m", "logmel", "--epochs", "1", "--out", out_dir]
    process = start_python("-c", HELD, *command, "--seeds", "500", stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    before = read_rows(out_dir / "trials.sqlite")
    assert len(before) == 3
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert not (out_dir / "validation.json").exists()
    there = read_rows(out_dir / "trials.sqlite")
    assert there[: len(before)] == before
    ran = count_trials(monkeypatch)
    code, _, err = run(*command[1:], "--seeds", len(there) + 1)
    assert code == 0, err
    assert ran == [(0, len(there)), (0, 0)]  # the missing trial, and that of the rival
    assert files_in(out_dir) == FILES
    assert content_of(out_dir)["truth"][0]["values"][: len(there)] == [metric for _, metric in there]


def read_rows(path):
    """Return (key, metric) in the order in which they were written."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path, timeout=30)
    try:
        return connection.execute("SELECT key, metric FROM trials ORDER BY rowid").fetchall()
    except sqlite3.OperationalError:  # there is no table yet
        return []
    finally:
        connection.close()


def constructed(names, values, *, metric="accuracy"):
    truth = tuple(
        Truth(name, 2, "block 2", 32, 1000, row, ("why",) * row.count(None), 1.0)
        for name, row in zip(names, values, strict=True)
    )
    numbers = [[float("nan") if value is None else value for value in row] for row in values]
    scores = [float(place) for place in range(len(names))]
    found = agreement(scores, numbers, truth_higher_is_better=metric == "accuracy")
    judged = (
        Judged("log$me<", "score", True, tuple(scores), 1.0, found),
        Judged(RIVAL, "rival", True, (None, *scores[1:]), 1.0, found),
        Judged("depth", "rule", True, tuple(scores), 0.0, found),
    )
    return Validation(
        "classification", "probe", metric, metric == "accuracy", Parts("speaker", 9, 9, 9, 9.0), truth, judged,
        Cost(1, 1, 0, 9, 9, 20, 100), (), (), {},
    )  # fmt: skip


def texts_of(path):
    """Return the text that a picture shows, from its comments."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    comments = [node.text for node in ET.parse(path, parser).iter() if node.tag is ET.Comment]
    return [html.unescape(" ".join(text.split())) for text in comments]


NAMES = ("a$b$<i>&c</i>", "tab\there\x1b[31m", "-->")


@pytest.mark.parametrize("metric", ["accuracy", "cer"])
def test_pictures_show_names_as_they_are(tmp_path, metric):
    written = save_plots(constructed(NAMES, [(0.1, 0.2), (0.3, None), (0.5, 0.4)], metric=metric), tmp_path)
    assert [path.name for path in written] == ["scatter.svg", "ranks.svg"]
    scatter, ranks = map(texts_of, written)
    assert "a$b$<i>&c</i>" in scatter
    assert "a$b$<i>&c</i> · 2" in ranks
    assert any("log$me<: ρ" in text for text in scatter)
    assert "tab\N{REPLACEMENT CHARACTER}here\N{REPLACEMENT CHARACTER}[31m" in scatter
    assert "- ->" in scatter  # this must not end a comment


def test_pictures_are_the_same_every_time(tmp_path):
    made = constructed(NAMES, [(0.1, 0.2), (0.3, None), (0.5, 0.4)])
    first = [path.read_bytes() for path in save_plots(made, tmp_path)]
    assert [path.read_bytes() for path in save_plots(made, tmp_path)] == first
    assert files_in(tmp_path) == ["ranks.svg", "scatter.svg"]


def test_pictures_are_drawn_where_every_trial_failed(tmp_path):
    save_plots(constructed(NAMES, [(None, None)] * 3), tmp_path)
    assert files_in(tmp_path) == ["ranks.svg", "scatter.svg"]


def test_pictures_are_drawn_for_many_models_with_non_latin_names(tmp_path):
    names = [f"модель-{number}/語" for number in range(25)]
    save_plots(constructed(names, [(number / 25,) for number in range(25)]), tmp_path)
    assert files_in(tmp_path) == ["ranks.svg", "scatter.svg"]


def test_validate_without_its_extra_is_refused_with_advice(tones, tmp_path, run_python):
    code = (
        "import importlib.util as u, sys; find = u.find_spec; "
        "[sys.modules.pop(name) for name in list(sys.modules) if name.split('.')[0] == 'voxrank']; "
        "u.find_spec = lambda name, *rest: None if name == 'peft' else find(name, *rest); "
        "from voxrank.cli.main import exit_code; sys.exit(exit_code(sys.argv[1:]))"
    )
    done = run_python("-c", code, "validate", tones, "--model", "logmel", "--out", tmp_path / "o")
    assert done.returncode == 2
    assert " ".join(done.stderr.split()) == (
        "voxrank: fine-tuning needs peft; install voxrank with the extra validate: pip install 'voxrank[validate]'"
    )
    assert not (tmp_path / "o").exists()


def test_blocks_are_ranked_for_fine_tuning(capsys, tones, saved):
    def run(*arguments):
        code = exit_code([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    spec = saved("hubert-group")
    code, out, err = run("rank", tones, "-m", spec, "--strategy", "layer", "--head-at", "top")
    assert code == 0
    assert "Fine-tune layer" in out
    assert "tuned" in out
    code, out, err = run("rank", tones, "-m", spec, "--head-at", "top")
    assert (code, out) == (2, "")
    assert "--head-at top is for --strategy layer" in err
    code, out, err = run("rank", tones, "-m", spec, "--score", "tuned")
    assert (code, out) == (2, "")
    assert "tuned is for blocks that will be tuned; add --strategy layer" in err
