"""fairseq checkpoints give the frames of fairseq and of the converted model, and run nothing that they name."""

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from typer.testing import CliRunner

import fairseq_files as files
import hf_models as models
from voxrank.cli.main import app
from voxrank.config import EncoderOptions
from voxrank.encoders.checkpoints import Checkpoint
from voxrank.encoders.fairseq import build_encoder
from voxrank.encoders.fairseq_files import Inert, fields, plain
from voxrank.encoders.fairseq_settings import read_convolutions
from voxrank.encoders.hidden_states import HiddenStates
from voxrank.encoders.registry import load_encoder, split_spec
from voxrank.errors import ModelError

one_thread = models.one_thread

REFERENCES = Path(__file__).parents[2] / "data" / "fairseq"
WAVEFORMS = [models.speech_like(9_000), models.speech_like(5_001, seed=1)]


def frames_of(encoder):
    return [piece.frames for piece in encoder.encode(WAVEFORMS)]


@pytest.fixture
def make(tmp_path):
    """Return a function that saves a checkpoint, after `change` of its content, and returns its path."""

    def make_file(kind="hubert", change=None, *, zipped=True, **options):
        content = files.content_of(kind, files.build(kind), **options)
        if change is not None:
            change(content)
        return files.save(tmp_path / "model.pt", content, zipped=zipped)

    return make_file


def refused(path, message):
    with pytest.raises(ModelError, match=message) as raised:
        load_encoder(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


# Parity


@pytest.mark.parametrize("file", sorted(path.stem for path in REFERENCES.glob("*.pt")))
def test_frames_of_a_file_of_fairseq_are_those_that_fairseq_computes(file):
    with np.load(REFERENCES / "frames.npz", allow_pickle=False) as expected:
        encoder = load_encoder(str(REFERENCES / f"{file}.pt"))
        pieces = list(encoder.encode([expected["waveform"]]))
        assert len(pieces) == len([name for name in expected if name.startswith(f"{file}.")]) == 3
        for piece in pieces:
            np.testing.assert_allclose(piece.frames, expected[f"{file}.layer{piece.layer}"], rtol=0, atol=1e-4)


CASES = [
    *((kind, None, form, zipped) for kind in files.KINDS for form, zipped in (("cfg", True), ("args", False))),
    ("wav2vec2-layer", "wav2vec_ctc", "cfg", True),
    ("wav2vec2", "wav2vec_ctc", "args", False),
    ("wav2vec2", "wav2vec_seq2seq", "cfg", True),
    ("hubert-layer", "hubert_ctc", "cfg", True),
    ("hubert", "hubert_ctc", "args", True),
    ("data2vec_audio", "wav2vec_ctc", "cfg", True),
]


@pytest.mark.parametrize(("kind", "tuned", "form", "zipped"), CASES)
def test_frames_equal_those_of_the_converted_model(tmp_path, kind, tuned, form, zipped):
    model = files.build(kind)
    normalize = kind.endswith("layer")
    content = files.content_of(kind, model, form=form, tuned=tuned, normalize=normalize)
    encoder = load_encoder(f"fairseq:{files.save(tmp_path / 'any', content, zipped=zipped)}")
    extractor = tf.Wav2Vec2FeatureExtractor(
        do_normalize=normalize, return_attention_mask=kind not in ("wav2vec2", "hubert")
    )
    options = EncoderOptions()
    converted = HiddenStates(Checkpoint("model", "model", offline=True, trusted=False), model, extractor, options)
    assert type(encoder.network()) is type(model)
    assert encoder.layers == converted.layers
    assert encoder.pads == converted.pads
    assert encoder.parameters == converted.parameters
    assert encoder.settings() == converted.settings()
    assert all(torch.equal(a, b) for a, b in zip(frames_of(encoder), frames_of(converted), strict=True))


def test_half_precision_weights_are_read_exactly(make):
    model = files.build("hubert").half()
    path = make("hubert", lambda content: content["model"].update(files.state_of(model)))
    read = build_encoder(Path(path))[0].state_dict()
    assert all(weight.dtype == torch.float32 for weight in read.values())
    assert all(torch.equal(read[name], weight.float()) for name, weight in model.state_dict().items())


def test_weight_norm_in_the_names_of_newer_versions_of_torch_is_read(make):
    def rename(content):
        state = content["model"]
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            state[f"encoder.pos_conv.0.parametrizations.weight.{new}"] = state.pop(f"encoder.pos_conv.0.{old}")

    expected = frames_of(load_encoder(make("wav2vec2")))
    renamed = frames_of(load_encoder(make("wav2vec2", rename)))
    assert all(torch.equal(a, b) for a, b in zip(expected, renamed, strict=True))


def test_a_model_without_a_mask_embedding_is_read(make):
    encoder = load_encoder(make("wav2vec2", lambda content: content["model"].pop("mask_emb")))
    assert encoder.parameters == files.build("wav2vec2").num_parameters() - 16


def test_settings_of_a_tuned_model_come_from_the_pretrained_file_beside_it(tmp_path):
    model = files.build("hubert-layer")
    tuned = files.content_of("hubert-layer", model, tuned="hubert_ctc", normalize=True)
    tuned["cfg"]["model"] |= {"w2v_args": None, "w2v_path": "/home/other/pretrained.pt"}
    path = files.save(tmp_path / "tuned.pt", tuned)
    refused(path, r"is a hubert_ctc without w2v_args.*put the pre-trained checkpoint pretrained\.pt into its folder")
    (tmp_path / "pretrained.pt").write_bytes(b"PK")
    refused(path, r"its pre-trained checkpoint pretrained\.pt cannot be read")
    files.save(tmp_path / "pretrained.pt", files.content_of("hubert-layer", model, normalize=True))
    assert load_encoder(path).parameters == model.num_parameters()


def test_an_encoder_keeps_the_contract_of_all_encoders(make, check_encoder):
    check_encoder(load_encoder(make("wav2vec2-layer", normalize=True)), WAVEFORMS)


def test_defaults_of_fairseq_apply_where_the_configuration_has_no_field(make):
    path = make("hubert", lambda content: [content["cfg"]["model"].pop(name) for name in ("layer_type", "conv_bias")])
    assert load_encoder(path).parameters == files.build("hubert").num_parameters()


def test_the_sample_rate_of_the_task_is_used(make):
    encoder = load_encoder(make(change=lambda content: content["cfg"]["task"].update(sample_rate=8_000)))
    assert encoder.sample_rate == 8_000
    assert encoder.layers[0].frame_rate == 25
    refused(make(change=lambda content: content["cfg"]["task"].update(sample_rate=0)), "expected a sample rate of")


def test_only_the_encoder_of_a_file_takes_memory(make):
    model, _ = build_encoder(Path(make("wav2vec2")))
    for weight in model.state_dict().values():
        assert weight.untyped_storage().nbytes() == weight.numel() * 4


# Specs and the command line


def test_a_path_that_ends_in_pt_is_a_fairseq_spec(tmp_path):
    assert split_spec("a/model.pt") == ("fairseq", "a/model.pt")
    assert split_spec("fairseq:a/model") == ("fairseq", "a/model")
    assert split_spec("./model.pth") == ("hf", "./model.pth")
    (tmp_path / "folder.pt").mkdir()
    assert split_spec(str(tmp_path / "folder.pt"))[0] == "hf"


def test_models_lists_the_layers_of_a_checkpoint(make):
    done = CliRunner().invoke(app, ["models", make("hubert")])
    assert done.exit_code == 0
    assert "block 2" in done.output


def test_a_spec_without_a_path_is_refused():
    with pytest.raises(ModelError, match=r"^fairseq: is no regular file; give the \.pt file"):
        load_encoder("fairseq:")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    refused(str(tmp_path / "none.pt"), "there is no such file; give the .pt file of a fairseq checkpoint$")
    with pytest.raises(ModelError, match="is no regular file"):
        load_encoder(f"fairseq:{tmp_path}")
    os.mkfifo(tmp_path / "pipe.pt")
    refused(str(tmp_path / "pipe.pt"), "is no regular file")


# Hostile and foreign files


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, r"posix\.system"), (eval, r"builtins\.eval"), (bytearray, r"builtins\.bytearray")],
)
def test_a_file_that_calls_a_function_is_refused_by_its_name(tmp_path, make, function, name, zipped):
    trap = tmp_path / "ran"
    call = Calls(function, 10) if function is bytearray else Calls(function, f"open({str(trap)!r}, 'w')")
    path = make(change=lambda content: content.update(extra_state=call), zipped=zipped)
    refused(path, rf"not loaded, because loading them could run code: {name}; load the model in a function")
    assert not trap.exists()


def test_names_of_fairseq_are_never_imported(tmp_path, make, monkeypatch):
    (tmp_path / "fairseq_trap.py").write_text("raise SystemExit('imported')\n\ndef make(*arguments): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = Path(make(change=lambda content: content.update(extra_state=Calls(os.getpid, 1, 2))))
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data.replace(b"cposix\ngetpid\n", b"cfairseq_trap\nmake\n"))
    assert load_encoder(str(path)).parameters == files.build("hubert").num_parameters()
    assert "fairseq_trap" not in sys.modules


def test_a_pickle_of_another_protocol_is_refused(make, tmp_path):
    content = files.content_of("hubert", files.build("hubert"))
    torch.save(content, tmp_path / "other.pt", pickle_protocol=4)
    refused(str(tmp_path / "other.pt"), r"is a pickle that torch.save did not write \(STACK_GLOBAL\)")


def test_a_truncated_file_is_refused(make):
    for zipped in (True, False):
        path = Path(make(zipped=zipped))
        whole = path.read_bytes()
        for size in (0, 1, 3, 50, len(whole) // 3, len(whole) - 40):
            path.write_bytes(whole[:size])
            refused(str(path), r"cannot be read \(\w+.*\); the file is damaged or of another kind$")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("a text\n")
    refused(str(path), "cannot be read .*the file is damaged or of another kind")
    path.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    refused(str(path), "cannot be read")


def test_compressed_archives_and_those_of_others_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    for name, kind in (("a/data.pkl", zipfile.ZIP_DEFLATED), ("a/other", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr(name, bytes(1 << 20))
        refused(str(path), "is a zip file, but none that torch.save writes")


def test_a_pickle_that_is_too_large_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("a/data.pkl", bytes((3 << 20) + 1))
    refused(str(tmp_path / "model.pt"), "describes its tensors in 3,145,729 bytes; at most 3,145,728")


FOREIGN = {
    "tensor": (torch.zeros(2), "holds a Tensor, not the model and cfg or args of fairseq"),
    "dictionary": ({"weights": {}, "epoch": 3}, "holds a dictionary of epoch, weights, not the model"),
    "state": ({"layer.weight": torch.zeros(2)}, "holds weights without a configuration"),
    "no configuration": ({"model": {"w": torch.zeros(1)}}, "holds a dictionary of model, not the model and cfg"),
    "whisper": ({"dims": {}, "model_state_dict": {}}, "is a Whisper checkpoint of OpenAI; name the hub id"),
    "wavlm": ({"cfg": {"gru_rel_pos": True}, "model": {}}, "holds a model 'wavlm', .*microsoft/wavlm-base$"),
    "beats": ({"cfg": {"input_patch_size": 16}, "model": {}}, "holds a model 'BEATs', which cannot be read: expected"),
    "nameless": ({"cfg": {"model": {"dim": 1}}, "model": {}}, "its configuration names no model of fairseq; load"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_another_kind_is_refused_by_its_name(tmp_path, kind):
    content, message = FOREIGN[kind]
    refused(files.save(tmp_path / "model.pt", content), message)


def test_a_pickled_module_and_a_script_are_refused(tmp_path):
    path = files.save(tmp_path / "model.pt", torch.nn.Linear(2, 2))
    refused(path, r"holds objects that are not loaded, .*torch\.nn\.modules\.linear\.Linear")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/constants.pkl", b"")
    Path(path).write_bytes(buffer.getvalue())
    refused(path, "is a TorchScript archive, not a checkpoint of fairseq; load the model in a function of your own")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wav2vec", "wav2vec 1.0 and vq-wav2vec have no transformer blocks"),
        ("data2vec_multi", "data2vec 2.0 has blocks of its own"),
        ("data2vec_text", "expected wav2vec2, hubert, data2vec_audio, wav2vec_ctc"),
        ("av_hubert_ctc", "it takes video"),
        ("x" * 100, "holds a model 'xxxx.*…', which cannot be read"),
    ],
)
def test_models_of_fairseq_of_other_kinds_are_refused_by_name(make, name, message):
    refused(make(change=lambda content: content["cfg"]["model"].update(_name=name)), message)


# Settings and weights that do not fit


def changed(**settings):
    return lambda content: content["cfg"]["model"].update(settings)


def changed_weights(**weights):
    return lambda content: content["model"].update({name.replace("__", "."): new for name, new in weights.items()})


UNFIT = {
    "conformer": (changed(layer_type="conformer"), "has layer_type = 'conformer', and transformers has no such"),
    "adapters": (changed(layer_type="trf_adp", adp_num=1), "has layer_type = 'trf_adp'"),
    "quantised input": (changed(quantize_input=True), "its hubert has quantize_input = True"),
    "batch norm": (changed(conv_pos_batch_norm=True), "has conv_pos_batch_norm = True"),
    "heads": (changed(encoder_attention_heads=3), "width 16 is no multiple of encoder_attention_heads = 3"),
    "groups": (changed(conv_pos_groups=5), "width 16 is no multiple of conv_pos_groups = 5"),
    "many blocks": (changed(encoder_layers=10**6), "encoder_layers = 1000000, expected a whole number of 1 to 512"),
    "width": (changed(encoder_embed_dim="16"), "encoder_embed_dim = '16', expected a whole number of 1 to 100,000"),
    "mode": (changed(extractor_mode="other"), "extractor_mode = 'other', expected default or layer_norm"),
    "mode type": (changed(extractor_mode=3), "extractor_mode = 3, expected a text"),
    "norm": (changed(layer_norm_first=1), "layer_norm_first = 1, expected true or false"),
    "activation": (changed(activation_fn="linear"), "activation_fn = 'linear', expected gelu or"),
    "code": (changed(conv_feature_layers="__import__('os').abort()"), "its conv_feature_layers are .__import__"),
    "depth": (changed(pos_conv_depth=2), "pos_conv_depth = 2, which transformers has only with"),
    "fewer blocks": (changed(encoder_layers=1), r"holds other than the tensors .*encoder\.layers\.1\."),
    "more blocks": (changed(encoder_layers=3), r"lacks the tensors .*: encoder\.layers\.2\..* and 13 more"),
    "other size": (
        changed(encoder_ffn_embed_dim=20),
        r"intermediate_dense.weight has shape \(24, 16\), and its config",
    ),
    "missing": (lambda content: content["model"].pop("post_extract_proj.bias"), "lacks the tensors .*projection.bias"),
    "unknown": (changed_weights(adapter__w=torch.ones(1)), "holds 1 tensors that its kind .* not have: adapter.w;"),
    "no tensor": (changed_weights(layer_norm__bias=3), "holds 1 tensors .* not have: layer_norm.bias"),
    "integers": (changed_weights(layer_norm__bias=torch.ones(12).long()), "holds torch.int64, expected floating"),
    "not finite": (changed_weights(layer_norm__bias=torch.full((12,), torch.nan)), "weights are NaN or infinite"),
    "overlap": (
        lambda content: content["model"].update(
            {
                name: torch.ones(1).expand(weight.shape)
                for name, weight in content["model"].items()
                if "encoder.layers" in name
            }
        ),
        "its tensors overlap: together they are larger than the file",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_settings_and_weights_that_do_not_fit_are_refused(make, fault):
    change, message = UNFIT[fault]
    wide = {"overlap": {"encoder_ffn_embed_dim": 10_000}}.get(fault, {})

    def apply(content):
        change(content)
        content.pop("last_optimizer_state")
        for name, weight in content["model"].items():
            if wide and "fc" in name and name.endswith("weight"):
                content["model"][name] = torch.ones(1).expand([10_000 if size == 24 else size for size in weight.shape])
            elif wide and name.endswith("fc1.bias"):
                content["model"][name] = torch.ones(1).expand(10_000)

    refused(make("hubert", apply, **wide), message)


def test_a_layer_norm_after_each_convolution_is_not_mistaken_for_a_group_norm(make):
    refused(make("hubert-layer", changed(extractor_mode="default")), r"holds other than .*conv_layers\.1\.layer_norm")
    refused(make("hubert", changed(extractor_mode="layer_norm")), r"lacks the tensors .*conv_layers\.1\.layer_norm")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[(8, 10, 5)]", [(8, 10, 5)]),
        (" [(8,10,5)] + 2 * [(4, 3, 2)] ", [(8, 10, 5), (4, 3, 2), (4, 3, 2)]),
        ("[[8, 10, 5], [8, 3, 2]] * 2", [(8, 10, 5), (8, 3, 2)] * 2),
    ],
)
def test_convolutions_are_read_from_their_text(text, expected):
    assert read_convolutions(text) == tuple(expected)


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "8", "[(8, 10)]", "[(8, 10, 0)]", "[(8, 10, -1)]", "[(8, 10, 2.5)]", "[(True, 1, 1)]", "[]", "()",
        "[(8, 10, 5)] * 65", "[(8, 10, 5)] * 99999999999", "[(8, 10, 5)] * [(8, 10, 5)]", "f()", "[(x, 1, 1)]",
        "[(8, 10, 5)] - [(8, 10, 5)]", "[(1, 1, 1)] * 8 * 9", "(" * 300 + ")" * 300, "[(8, 10, 5)]" + " " * 3000,
        "[(10**9, 1, 1)]", "[i for i in range(3)]", "\0",
    ],
)  # fmt: skip
def test_any_other_text_for_convolutions_is_refused(text):
    with pytest.raises(ModelError, match=r"conv_feature_layers are .*expected 1 to 64 tuples of channels, kernel"):
        read_convolutions(text)


def test_inert_objects_show_their_fields_and_values():
    node, container, member = Inert(), Inert(), Inert("layer_norm")
    node.__setstate__({"_val": 12, "_metadata": None})
    container.__setstate__({"_content": {"layers": node}, "_parent": None})
    assert plain(fields(container)["layers"]) == 12
    assert plain(member) == "layer_norm"
    assert fields(Inert()) == fields(3) == fields(None) == {}
