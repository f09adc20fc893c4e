"""Untrusted input (names, labels, tables and checkpoints) is shown and read, and never run."""

import ast
import csv
import json
import logging
import os
import pickle
import shutil
import unicodedata
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers as tf
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import hf_models as models
import voxrank
from voxrank.cli.common import log_to
from voxrank.cli.main import exit_code
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError, RunError, UtteranceError, one_line
from voxrank.report.plots import escaped
from voxrank.report.progress import BarProgress, LineProgress
from voxrank.results.ranking import save_tables

EVIL = "\x1b]0;owned\x07\x1b[2J[bold red]\x9b31m\u202ea\\"
"""A text that sets a terminal's title, clears it, is markup to rich, and reverses the order of letters."""
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "a\r=1"]


def is_plain(text):
    """Return whether a text has no control characters except line ends."""
    return not any(unicodedata.category(c)[0] == "C" for c in text.replace("\n", ""))


def tensor_graph(path, name):
    """Write an ONNX graph of a waveform with one layer of this name."""
    weight = np.random.default_rng(0).normal(size=(4, 1, 320)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["audio", "w"], ["a"], strides=[160]),
        helper.make_node("Transpose", ["a"], [name], perm=[0, 2, 1]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("audio", TensorProto.FLOAT, ["b", 1, "s"])]
    outputs = [value(name, TensorProto.FLOAT, ["b", "t", 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return f"onnx:{path}"


@pytest.fixture
def hostile(tones):
    """Write the manifest of tones with hostile names of labels, speakers and files; one file is missing."""
    rows = list(csv.DictReader(tones.read_text().splitlines()))
    for row in rows:
        row["label"] += EVIL
        row["speaker"] += EVIL
    rows[0]["path"] = f"gone{EVIL}\n.wav"
    manifest = tones.with_name("hostile.csv")
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def test_hostile_names_are_plain_text_in_the_terminal_and_in_the_log(hostile, tmp_path, capsys):
    model = tensor_graph(tmp_path / "m.onnx", f"={EVIL}")
    command = [
        "rank",
        str(hostile),
        "--model",
        model,
        "--model",
        "logmel",
        "--no-cache",
        "--out",
        str(tmp_path / "out"),
    ]
    assert exit_code(command) == 0
    printed = capsys.readouterr()
    log = (tmp_path / "out" / "run.log").read_text()
    assert "gone" in printed.out
    assert "gone" in log
    assert all(is_plain(text) for text in (printed.out, printed.err, log))
    assert "[bold red]" in log
    table = (tmp_path / "out" / "layers.csv").read_text()
    assert is_plain(table)
    assert f"'={one_line(EVIL)}" in table
    stored = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert f"={EVIL}" in {layer["name"] for layer in stored["layers"]}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_names_are_plain_in_an_inspection(hostile, capsys, options):
    assert exit_code(["inspect", str(hostile), *options]) == 0
    printed = capsys.readouterr().out
    assert is_plain(printed)
    if options:
        assert f"low{EVIL}" in json.loads(printed)["classes"]


@pytest.mark.parametrize(
    "arguments", [["inspect", f"gone{EVIL}.csv"], ["models", f"./gone{EVIL}"], ["models", f"{EVIL}:x"]]
)
def test_hostile_names_are_plain_in_refusals(capsys, arguments):
    assert exit_code(arguments) == 2
    assert is_plain(capsys.readouterr().err)


@pytest.mark.parametrize("kind", [LineProgress, BarProgress])
def test_hostile_names_are_plain_in_progress(capsys, kind):
    with kind(Console(force_terminal=False, width=200)) as progress:
        progress.note(EVIL)
        progress.trial(EVIL, 1, 2)
        progress.load(EVIL, 1, 1)
        progress.start(EVIL, 1, 1, 2.0)
        progress.advance(2.0)
        progress.finish()
        progress.align(EVIL, 1.0)
    printed = capsys.readouterr().out
    assert is_plain(printed)
    assert "[bold red]" in printed


def test_messages_in_the_log_are_one_line_and_tracebacks_keep_theirs(tmp_path):
    with suppress(ZeroDivisionError), log_to(tmp_path):
        logging.getLogger("voxrank").warning("skipped %s", "a\n2026-01-01 00:00:00 INFO rank 1: forged\x1b[2J")
        raise ZeroDivisionError(EVIL)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert is_plain("\n".join(lines))
    assert sum("forged" in line and "skipped a\\n2026" in line for line in lines) == 1
    assert lines[2].startswith("Traceback")


@pytest.mark.parametrize("kind", [UtteranceError, ModelError, RunError])
def test_an_error_is_one_plain_line(kind):
    assert str(kind(f"a\nb{EVIL}")) == "a\\nb\\x1b]0;owned\\x07\\x1b[2J[bold red]\\x9b31m\\u202ea\\"


def test_names_in_pictures_are_plain_text():
    assert is_plain(escaped(f"$x$ <script>{EVIL}"))


@pytest.mark.parametrize("text", FORMULAS)
def test_text_in_a_table_is_never_a_formula_and_numbers_stay_as_they_are(tmp_path, text):
    table = [
        {"model": text, "layer": -1, "score": -0.5, text: 1},
        {"model": "a", "layer": "mean", "score": None, text: 2},
    ]
    save_tables(tmp_path, "x.json", "{}", "x.csv", table)
    header, first, second = csv.reader((tmp_path / "x.csv").read_text().splitlines())
    shown = f"'{text}" if text.isprintable() else one_line(text)
    assert header == ["model", "layer", "score", shown]
    assert first == [shown, "-1", "-0.5", "1"]
    assert second == ["a", "mean", "", "2"]


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


one_thread = models.one_thread


@pytest.fixture
def hubert(tmp_path):
    model, extractor = models.build("hubert-group")
    return Path(models.save(tmp_path / "hubert", model, extractor))


def trapped(folder, sprung):
    """Write pickles under every name that a program might read, beside the other files."""
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "vocab.pkl", "trainer.pickle"):
        (folder / name).write_bytes(pickle.dumps(Trap(sprung)))
    torch.save({"weight": Trap(sprung)}, folder / "adapter_model.bin")
    np.save(folder / "features.npy", np.array([Trap(sprung)], dtype=object), allow_pickle=True)


def test_pickles_beside_the_weights_of_a_model_are_not_opened(hubert, tmp_path):
    trapped(hubert, tmp_path / "sprung")
    load_encoder(str(hubert))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("write", [lambda p, x: p.write_bytes(pickle.dumps(x)), lambda p, x: torch.save({"w": x}, p)])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_pickles_in_place_of_the_weights_are_refused_unopened(hubert, tmp_path, write, name):
    (hubert / "model.safetensors").unlink()
    write(hubert / name, Trap(tmp_path / "sprung"))
    with pytest.raises(ModelError, match="cannot read its weights"):
        load_encoder(str(hubert))
    assert not (tmp_path / "sprung").exists()


def test_pickles_in_a_ct2_folder_are_refused_unopened(tmp_path):
    folder = tmp_path / "ct2"
    folder.mkdir()
    trapped(folder, tmp_path / "sprung")
    (folder / "model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ModelError, match=r"^ct2:"):
        load_encoder(f"ct2:{folder}")
    assert not (tmp_path / "sprung").exists()


def test_no_source_file_unpickles_data():
    readers = {"load", "load_all", "loads", "read_pickle", "Unpickler", "safe_load", "unsafe_load", "full_load"}
    found = []
    for path in sorted(Path(voxrank.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in readers:
                found.append((path, ast.unparse(node)))
    assert all("weights_only=True" in call for _, call in found if call.startswith("torch.load"))
    assert not [call for _, call in found if call.startswith(("np.load", "numpy.load", "pd.read_pickle"))]
    assert all(call.startswith("yaml.safe_load(") for _, call in found if call.startswith("yaml."))


CODE = """
from pathlib import Path
from transformers import HubertConfig, HubertModel
Path({marker!r}).touch()
class OwnConfig(HubertConfig):
    model_type = "own"
class OwnModel(HubertModel):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(hubert, tmp_path, monkeypatch):
    """Return a model with code that touches a file when it runs, and the file."""
    monkeypatch.setattr(tf.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    marker = tmp_path / "was-run"
    (hubert / "own.py").write_text(CODE.format(marker=str(marker)))
    path = hubert / "config.json"
    kinds = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoFeatureExtractor": "own.OwnExtractor"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "own", "auto_map": kinds}))
    return hubert, marker


def test_code_of_a_model_runs_only_if_the_command_names_the_model(own_code, tmp_path, capsys):
    folder, marker = own_code
    other = shutil.copytree(folder, tmp_path / "other")
    assert exit_code(["models", str(folder)]) == 2
    assert f"--trust-remote-code {folder}" in capsys.readouterr().err.replace("\n", "")
    assert exit_code(["models", str(folder), "--trust-remote-code", str(other)]) == 2
    assert not marker.exists()
    assert exit_code(["models", str(folder), "--trust-remote-code", str(folder)]) == 0
    assert marker.exists()


def test_code_beside_a_known_kind_of_model_is_not_run(own_code):
    folder, marker = own_code
    for name, key in (("config.json", "model_type"), ("preprocessor_config.json", "feature_extractor_type")):
        content = json.loads((folder / name).read_text())
        content |= {key: {"model_type": "hubert"}.get(key, "Wav2Vec2FeatureExtractor")}
        content |= {"auto_map": {"AutoConfig": "own.OwnConfig", "AutoFeatureExtractor": "own.OwnExtractor"}}
        (folder / name).write_text(json.dumps(content))
    load_encoder(str(folder))
    assert not marker.exists()


@pytest.mark.parametrize("value", ["someone/kernel", "kernels-community/flash-attn", {"": "someone/kernel"}])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_that_is_code_from_the_hub_is_refused(hubert, key, value):
    path = hubert / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ModelError, match=r"asks for _?attn_implementation = .* which is code from elsewhere"):
        load_encoder(str(hubert))


def test_adapters_do_not_lead_to_another_model(hubert):
    (hubert / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else", "peft_type": "LORA"}')
    with pytest.raises(
        ModelError, match=r"holds LORA adapters \(PEFT\) of someone/else, not a model; merge them into it"
    ):
        load_encoder(str(hubert))
