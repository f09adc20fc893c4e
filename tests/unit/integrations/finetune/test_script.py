"""The scripts run, tune only what they declare, and read layers as the ranking did."""

import csv
import functools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file

import voxrank.integrations.finetune.winner
from voxrank.cli.main import exit_code
from voxrank.config import EncoderOptions, SequenceOptions, TuningOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_dataset
from voxrank.data.shards import Item
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError, OptionError
from voxrank.groundtruth import heads, splits, strategies, training
from voxrank.groundtruth.answers import find_answers
from voxrank.integrations.finetune import check_tunable, script, winner
from voxrank.integrations.finetune.winner import counterpart

FAMILIES = [
    *("hubert-group", "hubert-layer", "wav2vec2-group", "wav2vec2-layer", "wavlm-group", "wavlm-layer", "data2vec"),
    *("unispeech-sat", "conformer-relative", "conformer-rotary", "wav2vec2-bert", "moonshine", "whisper"),
    *("whisper-encoder-only", "parakeet-rnnt", "parakeet-tdt"),
]
BLOCKS = 3


def quicker(text):
    """Return a script with fewer epochs, as a user would edit it."""
    assert "EPOCHS = 30" in text
    return text.replace("EPOCHS = 30", "EPOCHS = 1")


def changed(module, folder):
    """Return the names of the tensors that training changed, and those of all matrices."""
    legend = json.loads((folder / "legend.json").read_text())
    before = module.TunedModel(module.width(legend)).state_dict()
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}, {
        name for name, value in after.items() if value.ndim > 1
    }


@pytest.fixture
def inspected_once(monkeypatch):
    """Read the facts about a checkpoint for one layer only; they are the same for all its layers."""
    inspected = winner._inspect
    first = functools.cache(lambda spec, trusted: inspected(spec, 0, trusted))
    monkeypatch.setattr(winner, "_inspect", lambda spec, layer, trusted: replace(first(spec, trusted), layer=layer))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("inspected_once")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_script_computes_the_frames_that_were_ranked(checkpoint, loaded, tones, family):
    place = checkpoint(family)
    encoder = load_encoder(place, EncoderOptions(device="cpu", whisper_window="full"))
    utterances = read_dataset(tones).utterances[:5]
    waves = [decode(utterance, 16_000) for utterance in utterances]
    expected = [{piece.layer: piece.frames for piece in encoder.encode([wave])} for wave in waves]
    assert len({len(wave) for wave in waves}) > 1
    for layer in range(BLOCKS + 1):
        module = loaded(place, tones, layer=layer)
        extractor = module.AutoFeatureExtractor.from_pretrained(place)
        model = module.TunedModel(3).eval()
        with torch.no_grad():
            hidden, lengths = model.frames(**module.prepare(waves, extractor))
        for row, length, alone in zip(hidden, lengths.tolist(), expected, strict=True):
            assert length == len(alone[layer])
            assert torch.allclose(row[:length], alone[layer], atol=2e-5, rtol=1e-4)


def test_only_the_chosen_block_and_the_head_are_tuned(checkpoint, loaded, executed, tones, tmp_path):
    module = loaded(checkpoint("hubert-group"), tones, strategy="layer", edit=quicker)
    output = executed(module.path, tmp_path)
    assert "train: 27 utterances, validation: 9 utterances, test: 0 utterances" in output
    block = sum(p.numel() for p in module.TunedModel(3).encoder.encoder.layers[1].parameters())
    assert f"block 2 and the head learn; {block + 32 * 3 + 3:,} parameters are trained" in output
    names, matrices = changed(module, tmp_path / "finetuned")
    tuned = {name for name in names if name.startswith("encoder.encoder.layers.1.")}
    assert names - tuned == {"mean", "spread", "head.linear.weight", "head.linear.bias"}
    assert {name for name in matrices if name.startswith("encoder.encoder.layers.1.")} <= tuned
    assert "validation: accuracy " in output


def test_transcripts_are_learnt_by_ctc_with_all_of_the_model(checkpoint, loaded, executed, spelled, tmp_path):
    place = checkpoint("wav2vec2-layer")
    module = loaded(place, spelled, task="transcription", target="text", strategy="full", edit=quicker)
    output = executed(module.path, tmp_path)
    assert "the whole model and the head learn" in output
    assert "validation: error_rate " in output
    names, matrices = changed(module, tmp_path / "finetuned")
    assert matrices <= names
    assert "encoder.feature_extractor.conv_layers.0.conv.weight" in names
    assert json.loads((tmp_path / "finetuned" / "legend.json").read_text()) == ["", " ", "a", "b", "c", "d", "e"]


@pytest.mark.filterwarnings("ignore")
def test_a_probe_of_whisper_tunes_its_head_alone_and_reads_back(checkpoint, loaded, tones, capsys):
    module = loaded(checkpoint("whisper"), tones, edit=quicker)
    module.main()
    assert "the head learn; 99 parameters are trained" in capsys.readouterr().out
    names, _ = changed(module, module.OUT)
    assert names == {"mean", "spread", "head.linear.weight", "head.linear.bias"}
    model, extractor, legend = module.load(module.OUT)
    utterance = module.read_utterances()[0]
    made = model(**module.prepare([module.load_audio(utterance, 16_000)], extractor))
    assert module.tell(made["predictions"][0], legend) in {"low", "middle", "high"}


@pytest.mark.filterwarnings("ignore")
def test_a_block_is_tuned_with_the_head_on_the_top(checkpoint, loaded, tones):
    module = loaded(checkpoint("hubert-group"), tones, strategy="layer", head_at="top", edit=quicker)
    module.main()
    names, _ = changed(module, module.OUT)
    assert {name.split(".")[3] for name in names if ".layers." in name} == {"1"}
    assert len(module.TunedModel(3).encoder.encoder.layers) == BLOCKS
    below = loaded(checkpoint("hubert-group"), tones, strategy="layer", layer=1)
    assert len(below.TunedModel(3).encoder.encoder.layers) == 2  # and the block that takes the layer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("task", "target"), [("regression", "value"), ("multilabel", "labels")])
def test_scripts_learn_values_and_several_labels(checkpoint, loaded, tones, task, target, capsys):
    rows = [line.split(",") for line in tones.read_text().splitlines()]
    cells = {"value": lambda i: 100 + 5 * (i % 3), "labels": lambda i: "a;b" if i % 3 == 1 else "b" if i % 3 else "a"}
    lines = [f"path,{target},speaker"]
    lines += [f"{path},{cells[target](i)},{speaker}" for i, (path, _, speaker) in enumerate(rows[1:])]
    tones.write_text("\n".join(lines))
    faster = lambda text: text.replace("EPOCHS = 30", "EPOCHS = 40").replace("E = 3e-3", "E = 3e-2")  # noqa: E731
    module = loaded(checkpoint("hubert-layer"), tones, task=task, target=target, edit=faster)
    module.main()
    output = capsys.readouterr().out
    assert float(output.partition(f"validation: {module.METRIC} ")[2].split()[0]) > 0.5
    model, extractor, legend = module.load(module.OUT)
    utterance = module.read_utterances()[0]
    made = model(**module.prepare([module.load_audio(utterance, 16_000)], extractor))
    prediction = module.tell(made["predictions"][0].detach(), legend)
    assert set(prediction) <= {"a", "b"} if task == "multilabel" else 90 < prediction < 120


def test_parts_follow_the_manifest_or_hold_whole_speakers(checkpoint, loaded, tones):
    module = loaded(checkpoint("hubert-group"), tones)
    parts = module.divide(module.read_utterances())
    speakers = {part: {u.speaker for u in own} for part, own in parts.items()}
    assert not speakers["train"] & speakers["validation"]
    assert not parts["test"]
    lines = tones.read_text().splitlines()
    named = ["Train", "dev", "TEST", "other"]
    tones.write_text("\n".join([f"{lines[0]},split", *(f"{x},{named[i % 4]}" for i, x in enumerate(lines[1:]))]))
    parts = module.divide(module.read_utterances())
    assert {part: len(own) for part, own in parts.items()} == {"train": 9, "validation": 9, "test": 9}


def test_parts_of_a_file_are_read_as_voxrank_reads_them(checkpoint, loaded, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", 0.1 * rng.normal(size=(22_050, 2)), 11_025)
    rows = [
        {"audio_filepath": "long.wav", "offset": 0, "duration": 0.5, "label": "a"},
        {"audio_filepath": "long.wav", "offset": 0.5, "duration": 0.75, "label": 7},
        {"audio_filepath": "long.wav", "start": 1.5, "label": "a"},
        {"audio_filepath": "long.wav", "duration": 2.0, "label": "b"},
        {"audio_filepath": "gone.wav", "label": "b"},
        {"audio_filepath": "long.wav", "start": 1.95, "label": "b"},
        {"audio_filepath": "long.wav", "label": ""},
    ]
    manifest = tmp_path / "data.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    module = loaded(checkpoint("hubert-group"), manifest)
    utterances = module.read_utterances()
    expected = read_dataset(manifest).utterances
    assert len(utterances) == 4
    assert module.learn_legend(utterances) == ["7", "a", "b"]
    for one, other in zip(utterances, expected, strict=False):
        assert np.allclose(module.load_audio(one, 16_000), decode(other, 16_000), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_other_data_are_read_by_voxrank(checkpoint, loaded, tones, tmp_path):
    folder = tmp_path / "classes"
    for path in (tmp_path / "clips").glob("*.wav"):
        (folder / path.stem.split("-")[0]).mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.stem.split("-")[0] / path.name)
    module = loaded(checkpoint("hubert-group"), folder, edit=quicker)
    assert len(module.read_utterances()) == 36
    module.main()
    assert (module.OUT / "model.safetensors").exists()


TEXTS = [
    "It's  MINE!",
    "naïve cafe\u0301",
    "１２ o'clock, rock'n'roll",
    "Straße -- ok",
    "नमस्ते दुनिया",
    "'quoted' \u2019tis",
    "[noise] Yes <unk> {breath} no (laughs), ((or so)) <b>indeed</b> (and I quote)",
]


def test_transcripts_are_spelled_as_voxrank_spells_them(checkpoint, loaded, tmp_path):
    module = loaded(checkpoint("hubert-group"), task="transcription", target="text")
    manifest = tmp_path / "texts.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "text"), *((f"{i}.wav", text) for i, text in enumerate(TEXTS))])
    dataset = read_dataset(manifest)
    items = [Item(utterance, 1.0, 50) for utterance in dataset.utterances]
    answers = find_answers(items, dataset, SequenceOptions(), TuningOptions())
    for utterance in dataset.utterances:
        units = [answers.names[number - 1] for number in answers.by_utterance[utterance.id]]
        assert module.spell(utterance.text) == units


def test_edits_are_counted_and_ctc_paths_are_collapsed(checkpoint, loaded):
    module = loaded(checkpoint("hubert-group"), task="transcription", target="text")
    assert module.edits("kitten", "sitting") == 3
    assert module.edits([], [1, 2]) == module.edits([1, 2], []) == 2
    assert module.collapse([0, 1, 1, 0, 1, 2, -100]) == [1, 1, 2]


def test_phones_are_spelled_by_voxrank(checkpoint, loaded):
    pytest.importorskip("espeakng_loader", reason="the extra phone")
    given = {"task": "transcription", "target": "text", "unit": "phone", "language": "de"}
    module = loaded(checkpoint("hubert-group"), **given)
    assert module.spell("Guten Tag") == ["ɡ", "uː", "t", "ə", "n", "t", "ɑː", "k"]


@pytest.mark.parametrize("strategy", ["probe", "layer", "full"])
@pytest.mark.parametrize("task", ["classification", "multilabel", "regression", "transcription"])
def test_scripts_pass_the_linter_and_the_formatter(checkpoint, ranking, tmp_path, strategy, task):
    for number, (family, data) in enumerate((("hubert-group", "d.csv"), ("whisper", "d.tsv"), ("moonshine", "d"))):
        path = tmp_path / f"s{number}.py"
        path.write_text(script(ranking(checkpoint(family), data, task, "x", strategy=strategy)))
    kept = ["--isolated", "--no-cache", "--line-length", "120", str(tmp_path)]
    rules = "E,F,W,I,B,UP,SIM,C4,RET,PIE,PLE,C90"
    for command in (["check", "--select", rules, *kept], ["format", "--diff", *kept]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


HOSTILE = ['"""\nimport os', "'''", "a\\", "$model ${data}", "x'y\"z", "\u202e\x00", "{MODEL}", "a\nb"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_appear_in_scripts_as_strings_only(ranking, monkeypatch, name):
    import ast

    monkeypatch.setattr(
        voxrank.integrations.finetune.winner, "_inspect", lambda spec, layer, trusted: _winner(spec, layer)
    )
    options = {"task": "transcription", "target": name, "unit": f"tokens:{name}", "language": name}
    tree = ast.parse(script(ranking(name, f"{name}.csv", **options), name))
    plain = ast.parse(
        script(ranking("m", "m.csv", **options | {"target": "t", "unit": "tokens:t", "language": "en"}), "m")
    )
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert {name, f"{name}.csv", f"tokens:{name}"} <= set(strings)
    assert len(list(ast.walk(tree))) == len(list(ast.walk(plain)))


def _winner(spec, layer):
    from voxrank.integrations.finetune.winner import Winner

    return Winner(spec, spec, layer, "masked", {}, "encoder.layers", "input_values", None, decoder=False)


def test_scripts_train_with_the_settings_of_validate(checkpoint, loaded):
    module = loaded(checkpoint("hubert-group"), task="transcription", target="text")
    options = TuningOptions()
    assert (options.epochs, options.patience, options.batch) == (module.EPOCHS, module.PATIENCE, module.BATCH)
    assert (options.head_learning_rate, options.validation) == (module.HEAD_LEARNING_RATE, module.VALIDATION)
    assert (module.WARM_UP, module.WEIGHT_DECAY) == (training.WARM_UP, training.WEIGHT_DECAY)
    assert module.BLANK_BIAS == heads.BLANK_BIAS
    for strategy in ("layer", "full"):
        made = loaded(checkpoint("hubert-group"), strategy=strategy)
        assert strategies.LEARNING_RATES[strategy] == made.LEARNING_RATE
    known = {name: part for part in ("train", "validation", "test") for name in getattr(splits, part.upper())}
    assert known == module.PARTS
    assert module.make_arguments(1).max_grad_norm == training.GRADIENT_NORM


CODE = """
from pathlib import Path
from transformers import HubertConfig, HubertModel
Path({marker!r}).touch()
class OwnConfig(HubertConfig):
    model_type = "own"
class OwnModel(HubertModel):
    config_class = OwnConfig
"""


def test_trust_in_remote_code_is_not_read_from_a_saved_ranking(checkpoint, ranking, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    place, marker = Path(shutil.copytree(checkpoint("hubert-group"), tmp_path / "own")), tmp_path / "was-run"
    (place / "own.py").write_text(CODE.format(marker=str(marker)))
    kinds = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    config = json.loads((place / "config.json").read_text()) | {"model_type": "own", "auto_map": kinds}
    (place / "config.json").write_text(json.dumps(config))
    strangers = ranking(str(place), trust_remote_code=[str(place)])
    strangers.save(tmp_path / "ranked")
    for trust in ((), ("another/model",)):
        with pytest.raises(ModelError, match=f"runs its own code: .*--trust-remote-code {place}"):
            script(strangers, trust=trust)
    command = ["export", str(tmp_path / "ranked"), "--to", "finetune"]
    assert exit_code(command) == 2
    assert "runs its own code" in " ".join(capsys.readouterr().err.split())
    assert not marker.exists()
    assert exit_code([*command, "--trust-remote-code", str(place)]) == 0
    assert marker.exists()
    assert "trust_remote_code=True" in capsys.readouterr().out


def test_whispers_of_other_formats_have_a_checkpoint_on_the_hub():
    assert counterpart("pack:whisper-tiny.en") == "openai/whisper-tiny.en"
    assert counterpart("ct2:hub/models--Systran--faster-whisper-large-v3/snapshots/0a") == "openai/whisper-large-v3"
    assert counterpart("facebook/hubert-base-ls960") == "facebook/hubert-base-ls960"
    for spec in ("logmel", "pack:ge2e", "ct2:mine", "onnx:whisper-base", "py:a:b", "ct2:my-whisper-base"):
        assert counterpart(spec) is None


def test_a_ranked_whisper_of_the_pack_is_tuned_as_that_of_the_hub(ranking):
    text = script(ranking("pack:whisper-base", layer=4, whisper_window="fit"))
    assert 'MODEL = "openai/whisper-base"' in text
    assert "the checkpoint that transformers loads is tuned here" in text
    assert "Whisper's whole window is used here" in text
    assert "max_length=30 * extractor.sampling_rate" in text


def test_a_script_says_that_the_ranking_computed_part_of_the_silence(ranking):
    text = script(ranking("pack:whisper-base", layer=4, whisper_window="auto"))
    assert "It was ranked with part of the silence in Whisper's window; the whole window is used here." in text


def test_the_best_single_layer_is_taken_where_several_came_first(checkpoint, ranking):
    made = ranking(checkpoint("hubert-group"))
    joint = replace(made.layers[0], layer="mean")
    first = replace(made.models[0], layer="mean")
    text = script(replace(made, layers=(joint, *made.layers), models=(first, *made.models[1:])))
    assert "LAYER = 2  #" in text
    assert "the best single layer is tuned here" in text


def test_models_that_cannot_be_tuned_are_refused_in_one_line(checkpoint, ranking):
    with pytest.raises(
        OptionError,
        match=r"onnx:x came first, and .* cannot tune a model of its kind; for a script, rank a hub id or a directory$",
    ):
        script(ranking("onnx:x"))
    for family, kind in (("ast", "audio-spectrogram-transformer"), ("sew", "sew"), ("parakeet-ctc", "parakeet_ctc")):
        with pytest.raises(OptionError, match=f"there is no script for a {kind}; see voxrank validate"):
            script(ranking(checkpoint(family)))
    with pytest.raises(OptionError, match="for labels, values and transcripts, and this ranking is of segmentation"):
        script(ranking(checkpoint("hubert-group"), task="segmentation"))
    with pytest.raises(OptionError, match=r"expected a model that transformers can tune.*got logmel, onnx:x"):
        check_tunable(["logmel", "onnx:x"])
    check_tunable(["logmel", "some/model"])
    with pytest.raises(OptionError, match=r"expected a model that transformers can tune.*leave --then out"):
        check_tunable([checkpoint("ast"), checkpoint("parakeet-ctc"), "logmel"])
    check_tunable([checkpoint("ast"), checkpoint("hubert-group")])


@pytest.mark.parametrize(
    "kind",
    ["Qwen2AudioEncoder", "GlmAsrEncoder", "VoxtralRealtimeEncoder", "SpeechT5Model", "MimiModel", "UnivNetModel"],
)
def test_kinds_of_model_without_a_tested_script_are_refused_in_one_line(ranking, tmp_path, kind):
    """They take other input or no mask, so that a script for them would end in a traceback."""
    model_type = getattr(transformers, kind).config_class.model_type
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": [kind]}))
    with pytest.raises(OptionError, match=f"first, and there is no script for a {model_type}; see voxrank validate$"):
        script(ranking(str(tmp_path)))


SMALL = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "hidden_size": 32, "vocab_size": 12}
CONFORMER = SMALL | {"num_key_value_heads": 4, "head_dim": 8, "subsampling_conv_channels": 8}
OTHERS: dict[str, Any] = {
    "UniSpeech": ("Wav2Vec2", SMALL | {"conv_dim": (12,) * 7, "num_conv_pos_embedding_groups": 4}),
    "Speech2Text": (
        "Speech2Text",
        {"d_model": 32, "encoder_layers": 3, "encoder_ffn_dim": 48, "decoder_layers": 1, "decoder_ffn_dim": 48},
    ),
    "ParakeetEncoder": ("Parakeet", CONFORMER),
    "LasrEncoder": ("Lasr", CONFORMER),
    "NemotronAsrStreamingEncoder": ("NemotronAsrStreaming", CONFORMER),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OTHERS)
def test_scripts_for_other_kinds_compute_the_frames_that_were_ranked(loaded, tmp_path, kind):
    extractor, settings = OTHERS[kind]
    config = getattr(transformers, f"{kind}Config")()
    config.update({name: value for name, value in settings.items() if hasattr(config, name)})
    torch.manual_seed(0)
    model = getattr(transformers, kind if kind.endswith("Encoder") else f"{kind}Model")(config)
    model.save_pretrained(tmp_path / "model")
    getattr(transformers, f"{extractor}FeatureExtractor")().save_pretrained(tmp_path / "model")
    encoder = load_encoder(str(tmp_path / "model"), EncoderOptions(device="cpu"))
    module = loaded(str(tmp_path / "model"), "data.csv")
    waves = [np.random.default_rng(n).normal(0, 0.1, size).astype(np.float32) for n, size in enumerate((16_000, 9_000))]
    with torch.no_grad():
        prepared = module.prepare(waves, module.AutoFeatureExtractor.from_pretrained(tmp_path / "model"))
        hidden, lengths = module.TunedModel(3).eval().frames(**prepared)
    for row, length, wave in zip(hidden, lengths.tolist(), waves, strict=True):
        [expected] = [piece.frames for piece in encoder.encode([wave]) if piece.layer == 2]
        assert length == len(expected)
        assert torch.allclose(row[:length], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["hubert-group", "whisper"])
def test_outputs_have_names_even_if_the_checkpoint_returns_tuples(checkpoint, ranking, tmp_path, family):
    place = Path(shutil.copytree(checkpoint(family), tmp_path / "model"))
    config = json.loads((place / "config.json").read_text()) | {"return_dict": False}
    (place / "config.json").write_text(json.dumps(config))
    assert "return_dict=True" in script(ranking(str(place)))
    assert "return_dict" not in script(ranking(checkpoint(family)))


def test_a_ranking_of_joint_layers_alone_has_no_script(checkpoint, ranking):
    made = ranking(checkpoint("hubert-group"))
    joint = replace(made.layers[0], layer="mean")
    alone = replace(made, layers=(joint,), models=(replace(made.models[0], layer="mean"),))
    with pytest.raises(OptionError, match=r"came first with several layers together.*such as all,mean$"):
        script(alone)


def test_the_next_best_that_can_be_tuned_is_named(checkpoint, ranking):
    made = ranking("onnx:x")
    other = replace(made.models[1], model="some/model")
    with pytest.raises(
        OptionError, match=r"the best model that it can tune is some/model: rank without onnx:x for its script$"
    ):
        script(replace(made, models=(made.models[0], other)))
