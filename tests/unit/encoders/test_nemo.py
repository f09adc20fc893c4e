"""NeMo checkpoints give the frames that NeMo computed, and all that cannot be loaded is refused by name.

`scripts/nemo_references.py` made the checkpoints and the frames in `tests/data/nemo`.
"""

import gzip
import pickle
import tarfile
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hf_models as models
import nemo_files as files
from voxrank.config import EncoderOptions
from voxrank.encoders.nemo import load
from voxrank.encoders.nemo_conformer import nearby
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError
from voxrank.testing.encoders import check_encoder

one_thread = models.one_thread

FRAMES_PER_S = {
    "fastconformer_ctc": 12.5,
    "fastconformer_hybrid": 12.5,
    "fastconformer_tdt": 12.5,
    "fastconformer_ssl": 12.5,
    "fastconformer_streaming": 12.5,
    "fastconformer_local": 12.5,
    "conformer_rnnt": 25.0,
    "conformer_ssl": 25.0,
    "conformer_limited": 25.0,
}
BLOCKS = 3
TOLERANCE = 1e-4
"""Maximum difference from NeMo's frames, relative to the largest value of the feature."""


@pytest.fixture(scope="module")
def encoder():
    kept = {}

    def load_once(name):
        if name not in kept:
            kept[name] = load_encoder(str(files.stored(name)), EncoderOptions(device="cpu"))
        return kept[name]

    return load_once


@pytest.fixture(scope="module")
def waveforms():
    stored = load_file(files.FOLDER / "audio.safetensors")
    return [stored[str(row)].numpy() / np.float32(32_768) for row in range(len(stored))]


def frames_by_row(encoder, waveforms):
    """Return (row, layer) → frames."""
    return {
        (row, piece.layer): part
        for piece in encoder.encode(waveforms)
        for row, part in enumerate(piece.frames.split(piece.lengths))
    }


@pytest.mark.parametrize("name", FRAMES_PER_S)
def test_every_layer_has_the_frames_of_nemo_for_each_waveform_alone(encoder, waveforms, name):
    expected = load_file(files.stored(name).with_suffix(".safetensors"))
    for row, waveform in enumerate(waveforms):
        frames = frames_by_row(encoder(name), [waveform])
        for layer in range(BLOCKS + 1):
            check_close(frames[0, layer], expected[f"alone.{row}.{layer}"])


@pytest.mark.parametrize("name", FRAMES_PER_S)
def test_every_layer_has_the_frames_of_nemo_in_a_padded_batch(encoder, waveforms, name):
    expected = load_file(files.stored(name).with_suffix(".safetensors"))
    assert encoder(name).pads
    for (row, layer), frames in frames_by_row(encoder(name), waveforms).items():
        check_close(frames, expected[f"batch.{row}.{layer}"])


def check_close(frames, expected):
    assert frames.shape == expected.shape
    scale = expected.abs().amax(0)
    assert (scale > 0.01).all()
    assert ((frames - expected).abs().amax(0) / scale).max() < TOLERANCE


@pytest.mark.parametrize("name", FRAMES_PER_S)
def test_a_model_has_a_layer_for_each_block_and_the_input_of_the_first(encoder, name):
    assert [(layer.dim, layer.frame_rate) for layer in encoder(name).layers] == [(16, FRAMES_PER_S[name])] * (
        BLOCKS + 1
    )
    assert encoder(name).sample_rate == 16_000


@pytest.mark.parametrize("name", ["fastconformer_ctc", "conformer_rnnt", "fastconformer_streaming"])
def test_a_model_passes_the_battery_for_encoders(name):
    check_encoder(lambda: load(str(files.stored(name)), EncoderOptions(device="cpu")))


def test_a_file_has_the_same_frames_by_scheme_and_by_path(encoder, waveforms):
    by_scheme = load_encoder(f"nemo:{files.stored('conformer_rnnt')}", EncoderOptions(device="cpu"))
    assert by_scheme.settings() == encoder("conformer_rnnt").settings()
    for key, frames in frames_by_row(by_scheme, waveforms).items():
        torch.testing.assert_close(frames, frames_by_row(encoder("conformer_rnnt"), waveforms)[key], rtol=0, atol=0)


def test_settings_tell_models_of_other_features_apart(encoder):
    texts = {name: encoder(name).settings()["extractor"] for name in FRAMES_PER_S}
    assert texts["fastconformer_ctc"] == texts["fastconformer_local"]
    assert len(set(texts.values())) == 5


@pytest.mark.parametrize("name", ["fastconformer_tdt", "conformer_ssl"])
def test_every_weight_of_the_encoder_is_used_and_can_be_tuned(name, waveforms):
    tuned = load_encoder(str(files.stored(name)), EncoderOptions(device="cpu"))
    _, weights = files.read(name)
    own = {key for key in weights if key.startswith("encoder.") and weights[key].is_floating_point()}
    assert len(own) == len([w for w in tuned.network().state_dict().values() if w.is_floating_point()])
    last = [piece.frames for piece in tuned._forward(waveforms)][-1]
    last.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in tuned.stack()[BLOCKS].parameters())


def test_blocks_run_alone_as_inside_the_model(encoder, waveforms):
    model = encoder("fastconformer_streaming")
    calls = {}

    def record(layer):
        return lambda block, inputs, named, output: calls.update({layer: (inputs, named, output)})

    hooks = [block.register_forward_hook(record(n), with_kwargs=True) for n, block in model.stack().items()]
    frames_by_row(model, waveforms)
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == [1, 2, 3] == sorted(model.blocks())
    for layer, (inputs, named, output) in calls.items():
        with torch.no_grad(), model.running([16, 10]):
            torch.testing.assert_close(model.stack()[layer](*inputs, **named), output)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_runs_in_half_precision(waveforms, encoder, dtype):
    half = load_encoder(str(files.stored("fastconformer_ctc")), EncoderOptions(device="cpu", dtype=dtype))
    exact = frames_by_row(encoder("fastconformer_ctc"), waveforms)
    for key, frames in frames_by_row(half, waveforms).items():
        assert (frames - exact[key]).norm() < 0.1 * exact[key].norm()


def test_weights_in_half_precision_are_read_as_float32(tmp_path, encoder):
    config, weights = files.read("fastconformer_ctc")
    halved = {
        name: w.half() if w.is_floating_point() and "featurizer" not in name else w for name, w in weights.items()
    }
    loaded = load_encoder(str(files.save(tmp_path / "half.nemo", config, halved)), EncoderOptions(device="cpu"))
    for name, weight in encoder("fastconformer_ctc").weights().items():
        torch.testing.assert_close(
            loaded.weights()[name].float(), weight.half().float() if weight.ndim else weight.float()
        )


def test_old_tables_of_positions_are_skipped(tmp_path):
    config, weights = files.read("conformer_rnnt")
    weights["encoder.pos_enc.pe"] = torch.zeros(1, 9, 16)
    assert len(load_encoder(str(files.save(tmp_path / "old.nemo", config, weights))).layers) == BLOCKS + 1


def test_chunks_attend_to_themselves_and_to_the_chunks_before():
    mask = nearby(6, [2, 1], "chunked_limited")
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
    ]
    assert nearby(4, [-1, 0], "regular").equal(torch.ones(4, 4).tril().bool())
    assert nearby(4, [1, -1], "chunked_limited").equal(torch.ones(4, 4).triu(-1).bool())
    assert nearby(4, [-1, 0], "chunked_limited").equal(torch.ones(4, 4).tril().bool())
    assert nearby(4, [-1, -1], "regular") is None


@pytest.mark.parametrize("kind", ["ConvASREncoder", "SqueezeformerEncoder"])
def test_another_encoder_is_refused_by_name(tmp_path, kind):
    config, weights = files.read("fastconformer_ctc")
    config["encoder"] = {"_target_": f"nemo.collections.asr.modules.{kind}", "feat_in": 80}
    place = files.save(tmp_path / "other.nemo", config, weights)
    refused = (
        f"^{place}: its encoder is of the class {kind}, expected ConformerEncoder; name a Conformer or .* onnx:FILE"
    )
    with pytest.raises(ModelError, match=refused):
        load_encoder(str(place))


INTERPOLATED = "${model.sample_rate}"
CHANGES = {
    "absolute positions": (
        "encoder",
        {"self_attention_model": "abs_pos"},
        r"self_attention_model = 'abs_pos', exp.*ONNX",
    ),
    "vgg": (
        "encoder",
        {"subsampling": "vggnet"},
        r"encoder.subsampling = 'vggnet', expected striding, dw_striding; name",
    ),
    "stacking": ("encoder", {"subsampling": "stacking"}, r"encoder.subsampling = 'stacking', expected striding"),
    "factor": ("encoder", {"subsampling_factor": 6}, "subsampling_factor = 6, expected a power of 2"),
    "norm": (
        "encoder",
        {"conv_norm_type": "group_norm8"},
        "conv_norm_type = 'group_norm8', expected batch_norm, layer",
    ),
    "reduction": (
        "encoder",
        {"reduction": "pooling", "reduction_factor": 2},
        "reduces the frame rate between its blocks",
    ),
    "global": (
        "encoder",
        {"self_attention_model": "rel_pos_local_attn", "att_context_size": [9, 9], "global_tokens": 1},
        "attends to global tokens",
    ),
    "layers": ("encoder", {"n_layers": 10**6}, r"encoder.n_layers = 1000000, expected a whole number from 1 to 512"),
    "no layers": ("encoder", {"n_layers": None}, r"encoder.n_layers = None, expected a whole number"),
    "width": ("encoder", {"d_model": 15}, "d_model = 15, n_heads = 2"),
    "huge": ("encoder", {"d_model": 10**400}, r"encoder.d_model = a value of type int, expected"),
    "list": ("encoder", {"d_model": [[1] * 999]}, r"encoder.d_model = a value of type list, expected"),
    "truth": ("encoder", {"xscaling": "maybe"}, r"encoder.xscaling = 'maybe', expected true or false"),
    "context": ("encoder", {"att_context_size": [1, "x"]}, "invalid encoder.att_context_size"),
    "convolution": ("encoder", {"conv_context_size": [1, 1]}, "invalid encoder.conv_context_size, .* whose sum is 8"),
    "kernel": ("encoder", {"conv_kernel_size": 5}, "have another shape than model_config.yaml says for 3 of"),
    "more layers": ("encoder", {"n_layers": 4}, r"lack \d+ of the encoder's tensors \(layers\.3\."),
    "fewer layers": ("encoder", {"n_layers": 2}, r"hold \d+ tensors of parts that .* does not name, such as adapters"),
    "features": (
        "preprocessor",
        {"_target_": "a.AudioToMFCCPreprocessor"},
        "preprocessor is of the class AudioToMFCCPreprocessor",
    ),
    "splicing": ("preprocessor", {"frame_splicing": 3}, "stacks frames of its spectrogram"),
    "bands": ("preprocessor", {"features": 64}, r"stored filter bank has shape \(80, 257\), expected \(64, 257\)"),
    "window": ("preprocessor", {"window_size": 0.02}, r"stored window has shape \(400,\), expected \(320,\)"),
    "transform": ("preprocessor", {"n_fft": 256}, "a window of 400, a hop of 160 and n_fft = 256 samples"),
    "hop": ("preprocessor", {"window_stride": 0.0001}, "a hop of 1 and n_fft"),
    "length": ("preprocessor", {"window_stride": 1e9}, r"window_stride = 1e\+09 s"),
    "rate": (
        "preprocessor",
        {"sample_rate": INTERPOLATED},
        r"sample_rate = '\$\{model\.sample_rate\}', expected a whole",
    ),
    "number": ("preprocessor", {"preemph": "much"}, r"preprocessor.preemph = 'much', expected a number"),
    "infinite": ("preprocessor", {"mag_power": float("inf")}, r"preprocessor.mag_power = inf, expected a number"),
    "other input": ("encoder", {"feat_in": 64}, "preprocessor makes 80 bands, and its encoder takes 64"),
    "fixed": ("preprocessor", {"normalize": {"fixed_mean": [0.0]}}, "no 80 fixed means and deviations"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_cannot_be_used_are_named(tmp_path, change):
    section, values, message = CHANGES[change]
    config, weights = files.read("fastconformer_ctc")
    config[section] |= values
    place = files.save(tmp_path / "changed.nemo", config, weights)
    with pytest.raises(ModelError, match=f"^{place}: .*{message}") as raised:
        load_encoder(str(place))
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("name", ["fastconformer_tdt", "conformer_limited"])
def test_a_missing_window_and_filter_bank_are_computed(tmp_path, encoder, waveforms, name):
    config, weights = files.read(name)
    weights = {key: weight for key, weight in weights.items() if key.startswith("encoder.")}
    computed = load_encoder(str(files.save(tmp_path / "bare.nemo", config, weights)), EncoderOptions(device="cpu"))
    stored = frames_by_row(encoder(name), waveforms)
    for key, frames in frames_by_row(computed, waveforms).items():
        check_close(frames, stored[key])


def features_of(tmp_path, waveform, **settings):
    """Return the features that a model with changed settings of its preprocessor takes."""
    config, weights = files.read("fastconformer_ctc")
    config["preprocessor"] |= settings
    model: Any = load_encoder(str(files.save(tmp_path / "x.nemo", config, weights)), EncoderOptions(device="cpu"))
    return model._extractor(waveform, 16_000)["input_features"][0]


def test_features_are_normalised_by_fixed_numbers(tmp_path, waveforms):
    mean, deviation = list(range(80)), [2.0] * 80
    plain = features_of(tmp_path, waveforms[0], normalize="NA")
    fixed = features_of(tmp_path, waveforms[0], normalize={"fixed_mean": mean, "fixed_std": deviation})
    torch.testing.assert_close(fixed, (plain - torch.arange(80)) / 2)
    assert plain.shape == (125, 80)


def test_features_without_a_logarithm_are_powers_of_the_magnitudes(tmp_path, waveforms):
    logarithms = features_of(tmp_path, waveforms[0], normalize=None, log_zero_guard_value="1e-10")
    powers = features_of(tmp_path, waveforms[0], normalize=None, log=False)
    torch.testing.assert_close((powers + 1e-10).log(), logarithms)


def test_features_refuse_audio_at_another_rate(encoder, waveforms):
    with pytest.raises(ValueError, match="expected audio at 16000 Hz, got 8000 Hz"):
        encoder("fastconformer_ctc")._extractor(waveforms[0], 8_000)


def test_a_model_without_an_encoder_is_refused_by_its_class(tmp_path):
    place = files.save(tmp_path / "tts.nemo", {"target": "nemo.collections.tts.models.FastPitchModel"}, {})
    with pytest.raises(ModelError, match="it holds a FastPitchModel without a section 'encoder'"):
        load_encoder(str(place))


def test_settings_may_be_written_in_other_forms(tmp_path, encoder):
    config, weights = files.read("fastconformer_ctc")
    config["encoder"] |= {"n_layers": 3.0, "conv_context_size": [4, 4], "att_context_size": None}
    config["preprocessor"] |= {"window_size": None, "n_window_size": 400, "preemph": "0.97"}
    loaded = load_encoder(str(files.save(tmp_path / "x.nemo", config, weights)), EncoderOptions(device="cpu"))
    assert loaded.settings() == encoder("fastconformer_ctc").settings()


def test_a_configuration_of_many_megabytes_is_refused(tmp_path):
    place = files.write(tmp_path / "x.nemo", {files.CONFIG: b"# " * 3_000_000, files.WEIGHTS: b""})
    with pytest.raises(ModelError, match=r"its model_config\.yaml has 6,000,000 bytes, and no model needs so many"):
        load_encoder(str(place))


def test_a_configuration_may_lie_below_the_key_model(tmp_path):
    config, weights = files.read("fastconformer_ctc")
    place = files.save(tmp_path / "inner.nemo", {"model": config}, weights)
    assert len(load_encoder(str(place)).layers) == BLOCKS + 1


@pytest.fixture
def whole():
    return files.stored("fastconformer_ctc").read_bytes()


@pytest.mark.parametrize("kept", [0, 100, 700, 30_000, 200_000])
def test_a_truncated_archive_is_refused(tmp_path, whole, kept):
    place = tmp_path / "cut.nemo"
    place.write_bytes(whole[:kept])
    with pytest.raises(ModelError, match=f"^{place}: .*(damaged: get it again|get the model again)$"):
        load_encoder(str(place))


def test_a_truncated_compressed_archive_is_refused(tmp_path, whole):
    place = tmp_path / "cut.nemo"
    place.write_bytes(gzip.compress(whole)[:50_000])
    with pytest.raises(ModelError, match=r"cannot read its model_weights\.ckpt"):
        load_encoder(str(place))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    place = tmp_path / "text.nemo"
    place.write_text("version https://git-lfs.github.com/spec/v1\n" * 99)
    with pytest.raises(ModelError, match=r"cannot read its archive \(ReadError: .*\); the file is damaged"):
        load_encoder(str(place))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.nemo: there is no such file; check the path"):
        load_encoder(f"nemo:{tmp_path}/gone.nemo")


def test_missing_members_are_named(tmp_path):
    config, weights = files.read("fastconformer_ctc")
    del config["tokenizer" if "tokenizer" in config else "target"]
    nothing = files.write(tmp_path / "nothing.nemo", {"README": b""})
    only_config = files.write(tmp_path / "config.nemo", {files.CONFIG: str(config).encode()})
    only_weights = files.write(tmp_path / "weights.nemo", {files.WEIGHTS: files.weight_bytes(weights)})
    for place, missing in ((nothing, files.CONFIG), (only_config, files.WEIGHTS), (only_weights, files.CONFIG)):
        with pytest.raises(ModelError, match=f"it has no {missing}, so that it is no complete NeMo checkpoint"):
            load_encoder(str(place))


YAMLS = {
    "code": (
        b"!!python/object/apply:os.system ['touch sprung']",
        "cannot read its model_config.yaml .ConstructorError",
    ),
    "broken": (b"encoder: [", "cannot read its model_config.yaml .ParserError"),
    "list": (b"- 1\n- 2", "its model_config.yaml holds no settings"),
    "binary": (b"\x00\xff", "cannot read its model_config.yaml"),
    "nested": (b"[" * 1_000, "cannot read its model_config.yaml"),
    "text": (b"encoder: none", "without a section 'encoder'"),
}


@pytest.mark.parametrize("kind", YAMLS)
def test_a_configuration_that_is_not_plain_is_refused(tmp_path, monkeypatch, kind):
    content, message = YAMLS[kind]
    monkeypatch.chdir(tmp_path)
    place = files.write(tmp_path / "x.nemo", {files.CONFIG: content, files.WEIGHTS: files.weight_bytes({})})
    with pytest.raises(ModelError, match=message):
        load_encoder(str(place))
    assert not (tmp_path / "sprung").exists()


def test_aliases_that_repeat_without_limit_are_not_written_out(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    content = "\n".join([*lines, "encoder: {_target_: a.ConformerEncoder, d_model: *a59}"]).encode()
    place = files.write(tmp_path / "x.nemo", {files.CONFIG: content, files.WEIGHTS: files.weight_bytes({})})
    with pytest.raises(ModelError, match=r"encoder\.d_model = a value of type list, expected a whole number"):
        load_encoder(str(place))


class Trap:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def hostile(place, config, weights):
    """Write a checkpoint whose weights are these bytes."""
    return files.write(place, {files.CONFIG: str(config).encode(), files.WEIGHTS: weights})


@pytest.mark.parametrize("pack", [lambda x: files.weight_bytes({"encoder.w": x}), pickle.dumps])
def test_weights_that_hold_code_are_refused_unopened(tmp_path, pack):
    config, _ = files.read("fastconformer_ctc")
    place = hostile(tmp_path / "x.nemo", config, pack(Trap(tmp_path / "sprung")))
    with pytest.raises(ModelError, match=r"cannot read its model_weights\.ckpt"):
        load_encoder(str(place))
    assert not (tmp_path / "sprung").exists()


def test_weights_that_were_compressed_are_refused(tmp_path):
    config, _ = files.read("fastconformer_ctc")
    inner = tmp_path / "weights.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    place = hostile(tmp_path / "x.nemo", config, inner.read_bytes())
    with pytest.raises(ModelError, match="its parts are compressed"):
        load_encoder(str(place))


WRONG = {
    "repeated": ({"encoder.x": torch.zeros(1).expand(10**6, 10**6)}, "tensors that are larger than the file"),
    "text": ({"encoder.x": "text"}, "values that are not plain tensors"),
    "sparse": ({"encoder.x": torch.eye(3).to_sparse()}, "values that are not plain tensors"),
    "elsewhere": ({"encoder.x": torch.empty(10**9, device="meta")}, "values that are not plain tensors"),
    "list": ([1, 2], "holds no table of tensors"),
    "numbers": ({1: torch.zeros(1)}, "lack .* of the encoder's tensors"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_weights_that_are_no_table_of_tensors_are_refused(tmp_path, kind):
    config, _ = files.read("fastconformer_ctc")
    weights, message = WRONG[kind]
    with pytest.raises(ModelError, match=message):
        load_encoder(str(files.save(tmp_path / "x.nemo", config, weights)))


CHANGED = {
    "missing": (
        {"encoder.layers.1.norm_out.weight": None},
        r"lack 1 of the encoder's tensors \(layers\.1\.norm_out\.weig",
    ),
    "adapter": ({"encoder.layers.1.adapter_layer.a.weight": torch.zeros(2)}, r"hold 1 tensors of parts .* as adapters"),
    "shape": (
        {"encoder.layers.0.norm_out.weight": torch.zeros(17)},
        "have another shape than .* for 1 of the encoder's",
    ),
    "nan": (
        {"encoder.layers.0.norm_out.weight": torch.full((16,), torch.nan)},
        r"NaN or infinite in layers\.0\.norm_out",
    ),
    "window": (
        {"preprocessor.featurizer.window": torch.full((400,), torch.inf)},
        "window or filter bank is NaN or inf",
    ),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_weights_that_do_not_fit_are_named(tmp_path, kind):
    config, weights = files.read("fastconformer_ctc")
    change, message = CHANGED[kind]
    weights = {name: w for name, w in (weights | change).items() if w is not None}
    with pytest.raises(ModelError, match=message):
        load_encoder(str(files.save(tmp_path / "x.nemo", config, weights)))


def test_members_that_point_elsewhere_are_not_read(tmp_path):
    _, weights = files.read("fastconformer_ctc")
    link = tarfile.TarInfo(files.CONFIG)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = {"../outside": b"x", "/absolute": b"x", files.CONFIG: link, files.WEIGHTS: files.weight_bytes(weights)}
    with pytest.raises(ModelError, match=r"it has no model_config\.yaml"):
        load_encoder(str(files.write(tmp_path / "x.nemo", members)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.nemo"]


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_member_that_claims_more_than_the_file_can_hold_is_refused(tmp_path, packed):
    large = tarfile.TarInfo("large")
    large.size = 10**12
    place = tmp_path / "x.nemo"
    place.write_bytes(packed(large.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)))
    with pytest.raises(ModelError, match="more members, or larger members, than any model has"):
        load_encoder(str(place))


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 10**11
    place = tmp_path / "x.nemo"
    place.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)))
    with pytest.raises(ModelError, match="larger than that of any model"):
        load_encoder(str(place))
