"""A model computes in half precision only if its features differ by rounding alone. Kernels are broken on purpose."""

import logging

import pytest
import torch
from torch import nn

import hf_models as models
import voxrank.encoders.pool
from voxrank._support.progress import Progress
from voxrank.config import EncoderOptions
from voxrank.encoders import registry
from voxrank.encoders.pool import ModelPool
from voxrank.encoders.precision import compare_features, rounding_bound
from voxrank.encoders.registry import load_encoder
from voxrank.testing.encoders import FakeEncoder

one_thread = models.one_thread

HALVES = ["bfloat16", "float16"]
TRIED = [
    ("wav2vec2-group", "bfloat16", "wrong"),
    ("wav2vec2-group", "float16", "missing"),
    ("parakeet-ctc", "float16", "not finite"),
    ("whisper", "bfloat16", "missing"),
    ("whisper", "float16", "wrong"),
    ("ast", "bfloat16", "not finite"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    kept = {}

    def save(family):
        if family not in kept:
            kept[family] = models.save(tmp_path_factory.mktemp(family), *models.build(family))
        return kept[family]

    return save


def features(encoder):
    return [piece.frames for piece in encoder.encode([models.speech_like(16_000), models.speech_like(9_000, seed=1)])]


def damage(monkeypatch, name, broken):
    """Make a function of torch return something else in half precision."""
    original = getattr(nn.functional, name)

    def damaged(values, *args, **options):
        made = original(values, *args, **options)
        return made if values.dtype == torch.float32 else broken(made)

    monkeypatch.setattr(nn.functional, name, damaged)


def emulate(monkeypatch, name):
    """Make a function of torch compute half precision in float32, and round."""
    original = getattr(nn.functional, name)

    def emulated(values, weight, bias=None, *args):
        whole = None if bias is None else bias.float()
        return original(values.float(), weight.float(), whole, *args).to(values.dtype)

    monkeypatch.setattr(nn.functional, name, emulated)


def fail(_):
    raise RuntimeError("\"slow_conv\" not implemented for 'Half'")


DAMAGE = {"wrong": lambda made: made.roll(1, dims=1) * 2, "not finite": lambda made: made / 0, "missing": fail}


@pytest.mark.parametrize(("family", "dtype", "how"), TRIED)
def test_convolutions_use_float32_if_half_precision_is_wrong(directory, monkeypatch, family, dtype, how):
    exact = features(load_encoder(directory(family)))
    for name in ("conv1d", "conv2d"):
        damage(monkeypatch, name, DAMAGE[how])
    encoder = load_encoder(directory(family), EncoderOptions(dtype=dtype))
    (note,) = encoder.notes
    assert dtype in note
    assert note.endswith(": its norms and convolutions are computed in float32")
    assert {weight.dtype for weight in encoder.network().parameters()} == {getattr(torch, dtype), torch.float32}
    for mine, expected in zip(features(encoder), exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(("family", "dtype", "how"), TRIED)
def test_the_model_uses_float32_if_other_operations_are_wrong(directory, monkeypatch, family, dtype, how):
    exact = features(load_encoder(directory(family)))
    damage(monkeypatch, "linear", DAMAGE[how])
    encoder = load_encoder(directory(family), EncoderOptions(dtype=dtype))
    (note,) = encoder.notes
    assert note.endswith(": it is computed in float32")
    assert {weight.dtype for weight in encoder.network().parameters()} == {torch.float32}
    assert {part.dtype for part in encoder.network().buffers() if part.is_floating_point()} <= {torch.float32}
    assert all(map(torch.equal, features(encoder), exact))


def test_weights_beyond_float16_are_computed_in_float32(tmp_path):
    model, extractor = models.build("hubert-group")
    with torch.no_grad():
        model.encoder.layers[2].feed_forward.output_dense.weight[0, 0] = 1e5
    place = models.save(tmp_path, model, extractor)
    encoder = load_encoder(place, EncoderOptions(dtype="float16"))
    assert encoder.notes == ("some weights are too large for float16: it is computed in float32",)
    assert all(map(torch.equal, features(encoder), features(load_encoder(place))))


def test_a_family_that_fails_in_half_precision_uses_float32(tmp_path):
    place = models.save(tmp_path, *models.build("conformer-rotary"))
    (note,) = load_encoder(place, EncoderOptions(dtype="bfloat16")).notes
    assert note.startswith("the model does not run in bfloat16 (RuntimeError: ")
    assert note.endswith("): it is computed in float32")


@pytest.mark.parametrize("dtype", HALVES)
def test_a_correct_model_runs_in_half_precision_without_notes(directory, monkeypatch, dtype):
    for name in ("conv1d", "linear"):  # rounded from float32, to be independent of this machine's kernels
        emulate(monkeypatch, name)
    encoder = load_encoder(directory("whisper"), EncoderOptions(dtype=dtype))
    assert encoder.notes == ()
    assert {weight.dtype for weight in encoder.network().parameters()} == {getattr(torch, dtype)}
    assert load_encoder(directory("whisper")).notes == ()


MODULE = """
import torch

def front():
    torch.manual_seed(0)
    return torch.nn.Sequential(Frames(), torch.nn.Linear(40, 8), torch.nn.GELU(), torch.nn.Linear(8, 8))

class Frames(torch.nn.Module):
    def forward(self, waveforms):
        return waveforms.unfold(1, 400, 160)[..., ::10]
"""


@pytest.mark.parametrize("dtype", HALVES)
def test_a_users_module_is_autocast_only_if_features_stay_correct(tmp_path, monkeypatch, dtype):
    (tmp_path / "half_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    exact = load_encoder("py:half_module:front")
    half = load_encoder("py:half_module:front", EncoderOptions(dtype=dtype))
    assert half.notes == ()
    assert half.settings()["precision"] == f"torch.{dtype}"
    assert not all(map(torch.equal, features(half), features(exact)))
    linear = nn.functional.linear

    def broken(values, *args):
        return linear(values, *args) * (2 if torch.is_autocast_enabled("cpu") else 1)

    monkeypatch.setattr(nn.functional, "linear", broken)
    encoder = load_encoder("py:half_module:front", EncoderOptions(dtype=dtype))
    assert encoder.notes[0].endswith("%, at layer 2 on this machine: it is computed in float32")
    assert encoder.settings()["precision"] == "torch.float32"
    assert all(map(torch.equal, features(encoder), features(exact)))


def test_the_rounding_bound_grows_with_depth_up_to_one_half():
    for dtype in (torch.float16, torch.bfloat16):
        bounds = [rounding_bound(dtype, layer) for layer in range(48)]
        assert bounds == sorted(bounds)
        assert 10 * torch.finfo(dtype).eps < bounds[0] < bounds[-1] <= 0.5
    assert rounding_bound(torch.bfloat16, 3) == pytest.approx(8 * rounding_bound(torch.float16, 3))


def test_features_are_compared_layer_by_layer_and_feature_by_feature():
    rng = torch.Generator().manual_seed(0)
    exact = [torch.randn(50, 16, generator=rng) for _ in range(3)]
    exact[1][:, 5] = 1e4
    rounded = [one.bfloat16().float() for one in exact]
    assert compare_features(exact, rounded, torch.bfloat16) is None
    hidden = [one.clone() for one in rounded]
    hidden[1][:, :5] = 0  # fewer than half of the features, and the largest is right
    assert compare_features(exact, hidden, torch.bfloat16) is None
    hidden[1][:, 6:] = 0
    assert "off by 100%, where rounding explains" in compare_features(exact, hidden, torch.bfloat16)
    assert "at layer 1 on this machine" in compare_features(exact, hidden, torch.bfloat16)
    rounded[2][3, 3] = torch.nan
    assert "are not finite at layer 2" in compare_features(exact, rounded, torch.bfloat16)
    assert "another shape" in compare_features(exact, rounded[:2], torch.bfloat16)


def test_the_note_is_shown_and_logged(monkeypatch, caplog):
    class Watcher(Progress):
        lines = ()

        def note(self, text):
            self.lines += (text,)

    def load(spec, options):
        encoder = FakeEncoder()
        encoder.notes = ("features in bfloat16 are wrong: it is computed in float32",)
        return encoder

    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", load)
    watcher = Watcher()
    with caplog.at_level(logging.INFO, "voxrank"):
        ModelPool(["a/b"], EncoderOptions(dtype="bfloat16"), watcher)
    expected = "a/b: features in bfloat16 are wrong: it is computed in float32"
    assert watcher.lines == (expected,)
    assert expected in caplog.messages
    assert registry.load_encoder is load_encoder
