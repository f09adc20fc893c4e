"""The benchmark of MAEB's tasks on stand-ins: tones in the formats of the hub, and tiny models with random weights."""

import io
import json

import datasets
import numpy as np
import pytest
import soundfile
import torch
import transformers

import maeb
import maeb_tasks
from voxrank.errors import DataError

RATE = 16_000
PITCHES_HZ = {"low": 200.0, "middle": 500.0, "high": 1400.0}
EXAMPLES = 8
"""Number of recordings of each label."""


def wav(pitch, seed):
    """Return the bytes of a short noisy tone."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE // 4) / RATE
    samples = 0.3 * np.sin(2 * np.pi * pitch * time_s) + 0.02 * rng.normal(size=len(time_s))
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format="wav")
    return out.getvalue()


def tones(column, labels=tuple(PITCHES_HZ)):
    """Return a data set with the columns of a task."""
    names = [name for name in labels for _ in range(EXAMPLES)]
    audio = [{"bytes": wav(PITCHES_HZ.get(name, 900.0), seed), "path": None} for seed, name in enumerate(names)]
    return datasets.Dataset.from_dict({"audio": audio, column: names}).cast_column("audio", datasets.Audio())


def save_hubert(folder, seed):
    """Save a tiny HuBERT with random weights."""
    torch.manual_seed(seed)
    config = transformers.HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)


@pytest.fixture(scope="module")
def standins(tmp_path_factory):
    """Return a folder with two tasks, and a file of published results of three models."""
    root = tmp_path_factory.mktemp("maeb")
    datasets.DatasetDict({"train": tones("label"), "test": tones("label")}).save_to_disk(root / "data" / "FSDD")
    labels = (*PITCHES_HZ, "Disagreement")
    parquet = root / "data" / "VoxCelebSA" / "data" / "test-00000-of-00001.parquet"
    parquet.parent.mkdir(parents=True)
    tones("label", labels).to_parquet(parquet)
    models = []
    for number, name in enumerate(("tiny/one", "tiny/two")):
        save_hubert(root / name, number)
        models.append(
            {"id": name, "path": str(root / name), "parameters": 1000 * (number + 1), "released": "2021-06-14"}
        )
    models.append({"id": "logmel", "parameters": None, "released": "2020"})
    for number, model in enumerate(models):
        model["tasks"] = {"FSDD": {"score": 0.5 + 0.1 * number}, "VoxCelebSA": {"score": 0.4 + 0.1 * number}}
    truth = root / "truth.json"
    truth.write_text(json.dumps({"source": "made up", "tasks": ["FSDD", "VoxCelebSA"], "models": models}))
    return root


def arguments(root, *more):
    """Return the options of a run on the stand-ins."""
    paths = {
        "--data": root / "data",
        "--truth": root / "truth.json",
        "--made": root / "made",
        "--out": root / "out.json",
    }
    return [str(word) for pair in paths.items() for word in pair] + ["--device", "cpu", *more]


@pytest.fixture(scope="module")
def first_run(standins):
    """Return the exit code of a run over both tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maeb, "PARQUET", standins / "parquet")
        return maeb.main(arguments(standins, "--tasks", "FSDD", "VoxCelebSA"))


def test_every_predictor_of_both_tasks_is_compared_with_the_published_accuracies(standins, first_run):
    content = json.loads((standins / "out.json").read_text())
    assert first_run == 0
    assert content["left_out"] == []
    assert [one["task"] for one in content["tasks"]] == ["FSDD", "VoxCelebSA"]
    for one in content["tasks"]:
        by_name = {row["predictor"]: row for row in one["predictors"]}
        assert set(by_name) == set(maeb.PREDICTORS) - {"largest"}  # two models have a size: too few
        assert by_name["published rank"]["spearman"] == 1.0
        assert by_name["published rank"]["regret"] == 0.0
        assert by_name["last layer"]["n"] == 3
    assert {"date", "commit", "processor", "cores", "torch"} <= set(content["made"])
    assert {row["predictor"]: row["spearman"] for row in content["means"]}["published rank"] == 1.0


def test_stored_results_name_the_last_and_the_best_layer(standins, first_run):
    stored = json.loads((standins / "made" / "all" / "FSDD" / "whole" / "tiny--one.json").read_text())
    assert stored["last"] == 2
    assert set(stored["layers"]) == {"0", "1", "2"}
    assert stored["best"] in (0, 1, 2)
    assert (stored["utterances"], stored["classes"]) == (24, 3)


def test_labels_that_maeb_drops_are_left_out(standins, first_run):
    stored = json.loads((standins / "made" / "all" / "VoxCelebSA" / "whole" / "logmel.json").read_text())
    assert (stored["utterances"], stored["classes"]) == (24, 3)


def test_a_second_run_computes_only_what_is_missing(standins, first_run, capsys, monkeypatch):
    computed = []
    measure = maeb.measure
    monkeypatch.setattr(maeb, "measure", lambda *given: computed.append(given[1]) or measure(*given))
    (standins / "made" / "all" / "FSDD" / "whole" / "logmel.json").unlink()

    assert maeb.main(arguments(standins, "--tasks", "FSDD", "VoxCelebSA")) == 0
    assert computed == ["logmel"]
    shown = capsys.readouterr().out
    assert "FSDD, logmel: " in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith(("FSDD ", "VoxCelebSA "))] == [
        ["FSDD", "3"],
        ["VoxCelebSA", "3"],
    ]


def test_a_task_without_data_is_left_out_and_the_others_are_compared(standins, first_run, capsys):
    assert maeb.main(arguments(standins, "--tasks", "FSDD", "CREMA_D")) == 0
    assert "CREMA_D: left out: expected the data of a task in" in capsys.readouterr().out
    assert len(json.loads((standins / "out.json").read_text())["left_out"]) == 1


def test_an_unknown_task_is_refused_with_the_nearest_name(standins, capsys):
    assert maeb.main(arguments(standins, "--tasks", "FSSD")) == 2
    assert "unknown task 'FSSD'; did you mean" in capsys.readouterr().err


def test_too_few_models_are_not_compared(standins, first_run, capsys):
    assert maeb.main(arguments(standins, "--tasks", "FSDD", "--models", "logmel")) == 1
    assert "no task has results of 3 models or more" in capsys.readouterr().err


def test_the_list_names_every_task_with_its_data(capsys):
    assert maeb.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(task.name in shown and task.path in shown for task in maeb_tasks.TASKS)


def test_the_catalogue_has_results_for_every_task():
    truth = maeb.Truth.of_catalogue()
    assert {task.name for task in maeb_tasks.TASKS} == set(truth.accuracies)
    assert set(truth.models) >= {name for values in truth.accuracies.values() for name in values}


def test_audio_files_with_a_table_of_labels_are_read(tmp_path):
    folder = tmp_path / "VocalSound" / "val"
    folder.mkdir(parents=True)
    rows = [f"{number}.wav,{name}" for number, name in enumerate(["low", "high"] * 4)]
    for row in rows:
        name, label = row.split(",")
        (folder / name).write_bytes(wav(PITCHES_HZ[label], int(name[0])))
    (folder / "metadata.csv").write_text("\n".join(["file_name,answer", *rows]) + "\n")
    task = next(task for task in maeb_tasks.TASKS if task.name == "VocalSound")

    dataset = maeb.read_task(task, "", tmp_path, per_label=3)

    assert sorted(one.label for one in dataset.utterances) == ["high"] * 3 + ["low"] * 3


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"expected the data of a task in .*FSDD, found no such folder; put a copy there"
    ):
        maeb.local_source(tmp_path / "FSDD")
