"""A user's own module: hooks are on the layers that the pattern names, and their output is read as it is."""

import sys

import numpy as np
import pytest
import torch

from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

SOURCE = '''
import torch
from torch import nn


class Net(nn.Module):
    """25 ms of 8 kHz every 10 ms, four blocks with dropout, and a head that gives a tuple."""

    sample_rate = 8000

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 6, 200, stride=80)
        self.stem = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.9))
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))
        self.shared = nn.Linear(6, 6)
        self.head = nn.Linear(6, 5)  # time first

    def forward(self, waveforms):
        hidden = self.front(waveforms[:, None]).transpose(1, 2)
        hidden = self.stem(hidden)
        for block in self.blocks:
            hidden = block(hidden)
            hidden.relu_()  # overwrites what a hook was given
        self.shared(self.shared(hidden))
        logits = self.head(hidden.transpose(0, 1))
        return {"lengths": torch.zeros(3, dtype=torch.long), "logits": logits.mean(0)}


class Centred(Net):
    """Uses the mean over the utterance, which padding changes."""

    def forward(self, waveforms):
        return super().forward(waveforms - waveforms.mean(1, keepdim=True))


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList([nn.Identity(), nn.Identity()])

    def forward(self, waveforms):
        return self.parts[0](self.function(waveforms))


class Deep(nn.Module):
    """A block that takes its input by name."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.layers = nn.ModuleList([Named(), Named()])

    def forward(self, waveforms):
        frames = waveforms.unfold(1, 160, 160)
        for layer in self.layers:
            _, (frames,) = layer(hidden=frames)
        return frames


class Named(nn.Module):
    def forward(self, hidden):
        return (None, [hidden * 2])


BUILT = []


def build():
    BUILT.append(Net())
    return BUILT[-1]


def padded():
    net = Net()
    net.pads = True
    return net


def liar():
    net = Centred()
    net.pads = True
    return net


def with_rate():
    net = Net()
    net.sample_rate = 16000.0
    return net


def stack():
    torch.manual_seed(0)
    return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 400, 160), nn.ReLU(inplace=True))


def embedding():
    return Odd(lambda waveforms: waveforms.square().mean(1, keepdim=True))


def attention():
    return Odd(lambda waveforms: waveforms[:, ::160, None] * waveforms[:, None, ::160])


def swallowing():
    return Odd(lambda waveforms: waveforms[:, :0])


def scalar():
    return Odd(lambda waveforms: 3)


def failing():
    return Odd(lambda waveforms: waveforms @ torch.zeros(3))


def plain():
    return nn.Flatten()


def deep():
    return Deep()


def number():
    return 3


def broken():
    raise RuntimeError("no weights here\\nand more")
'''


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


@pytest.fixture(autouse=True)
def speechnet(tmp_path, monkeypatch):
    (tmp_path / "speechnet.py").write_text(SOURCE)
    (tmp_path / "brokennet.py").write_text("import a_package_that_is_absent\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda: sys.modules["speechnet"]
    for name in ("speechnet", "brokennet"):
        sys.modules.pop(name, None)


def test_the_longest_module_list_gives_the_layers(speechnet, by_utterance, check_encoder):
    encoder = load_encoder("py:speechnet:build")
    names = ["input of blocks.0", *(f"blocks.{i}" for i in range(4))]
    assert [(x.index, x.name, x.dim, x.frame_rate) for x in encoder.layers] == [
        (i, name, 6, 100.0) for i, name in enumerate(names)
    ]
    assert (encoder.sample_rate, encoder.min_samples, encoder.pads) == (8000, 200, False)
    assert encoder.parameters == sum(p.numel() for p in speechnet().Net().parameters())
    net, waveform = speechnet().Net().eval(), noise(1600)
    layers = by_utterance(encoder, [waveform])
    with torch.inference_mode():
        hidden = net.stem(net.front(torch.from_numpy(waveform)[None, None]).transpose(1, 2))[0]
        np.testing.assert_allclose(layers[0][0], hidden, atol=1e-6)
        for index, block in enumerate(net.blocks, start=1):
            np.testing.assert_allclose(layers[index][0], block(hidden), atol=1e-6)  # before the in-place ReLU
            hidden = block(hidden).relu()
    check_encoder(encoder, [noise(n, n) for n in (150, 900, 1600, 1600, 4000)])


def test_a_pattern_selects_layers_in_the_order_in_which_they_run(speechnet, by_utterance):
    encoder = load_encoder("py:speechnet:build#head, front, shared")
    assert [(x.name, x.dim) for x in encoder.layers] == [("front", 6), ("shared", 6), ("shared run 2", 6), ("head", 5)]
    net, waveforms = speechnet().Net().eval(), [noise(1600, 1), noise(1600, 2)]
    layers = by_utterance(encoder, waveforms)
    with torch.inference_mode():
        front = net.front(torch.from_numpy(np.stack(waveforms))[:, None])
        for row in range(2):
            np.testing.assert_allclose(layers[0][row], front[row].T, atol=1e-6)
            assert layers[3][row].shape == (18, 5)


def test_no_hooks_remain_on_the_module(speechnet):
    encoder = load_encoder("py:speechnet:build")
    list(encoder.encode([noise(900)]))
    (net,) = speechnet().BUILT
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())


def test_padding_is_used_if_the_module_supports_it(by_utterance, check_encoder):
    encoder = load_encoder("py:speechnet:padded#blocks.*, head")
    assert encoder.pads
    waveforms = [noise(n, n) for n in (200, 907, 1600, 4001)]
    (piece, *_) = encoder.encode(waveforms)
    assert piece.lengths == tuple((len(w) - 200) // 80 + 1 for w in waveforms)
    check_encoder(encoder, waveforms)


def test_a_module_that_wrongly_claims_to_support_padding_is_refused():
    with pytest.raises(ModelError, match="`pads` is set, yet frames change when zeros follow the audio"):
        load_encoder("py:speechnet:liar")


def test_the_layers_of_a_sequential_module_include_its_input(by_utterance):
    encoder = load_encoder("py:speechnet:stack")
    assert [(x.name, x.dim, x.frame_rate) for x in encoder.layers] == [
        ("input of 0", 1, 16_000.0),
        ("0", 1, 16_000.0),
        ("1", 4, 100.0),
        ("2", 4, 100.0),
    ]
    layers = by_utterance(encoder, [noise(3200)])
    assert layers[2][0].min() < 0
    np.testing.assert_array_equal(layers[3][0], np.maximum(layers[2][0], 0))


def test_a_vector_for_the_utterance_is_one_frame(by_utterance):
    encoder = load_encoder("py:speechnet:embedding")
    waveform = noise(3200)
    layer = encoder.layers[1]
    assert (layer.name, layer.dim, layer.frame_rate) == ("parts.0", 1, 0.0)
    np.testing.assert_allclose(by_utterance(encoder, [waveform])[1][0], [[np.mean(waveform**2)]], rtol=1e-5)


def test_the_output_is_the_only_layer_without_a_module_list():
    assert [x.name for x in load_encoder("py:speechnet:plain").layers] == ["output"]


def test_tensors_are_found_in_nested_inputs_and_outputs_of_a_block(by_utterance):
    encoder = load_encoder("py:speechnet:deep")
    waveform = noise(1600)
    layers = by_utterance(encoder, [waveform])
    assert encoder.layers[0].name == "input of layers.0"
    for index in range(3):
        np.testing.assert_array_equal(layers[index][0], waveform.reshape(10, 160) * 2**index)


def test_half_precision_gives_float32_frames(by_utterance):
    exact = by_utterance(load_encoder("py:speechnet:build"), [noise(1600)])
    half = by_utterance(load_encoder("py:speechnet:build", EncoderOptions(dtype="bfloat16")), [noise(1600)])
    for layer, (expected,) in exact.items():
        assert half[layer][0].dtype == np.float32
        np.testing.assert_allclose(half[layer][0], expected, atol=0.02)
    assert not np.array_equal(half[4][0], exact[4][0])


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("speechnet", r"py:speechnet: expected py:MODULE:FACTORY, or py:MODULE:FACTORY#PATTERN to pick"),
        ("", "expected py:MODULE:FACTORY"),
        ("no_such_net:build", r"cannot import no_such_net \(ModuleNotFoundError: No module named 'no_such_net'\); run"),
        ("brokennet:build", r"cannot import brokennet \(ModuleNotFoundError: No module named 'a_package_that_is_abs"),
        ("speechnet:biuld", r"speechnet has no function biuld; did you mean build\?"),
        ("speechnet:number", r"expected number\(\) to return a torch\.nn\.Module, got int"),
        ("speechnet:broken", r"broken\(\) failed \(RuntimeError: no weights here\); it must work without arguments"),
        ("speechnet:Odd", r"Odd\(\) failed \(TypeError: .*missing 1 required positional argument"),
        ("speechnet:with_rate", r"expected the module's sample_rate to be a whole number above 0, got 16000\.0"),
        ("speechnet:build#blcoks.*", r"no submodule is named like blcoks\.\*; the nearest names are blocks"),
        ("speechnet:embedding#parts.1", r"none of parts\.1 runs; pick other submodules with #PATTERN"),
        ("speechnet:attention", r"input of parts\.0: expected one axis that grows with the audio"),
        ("speechnet:swallowing", r"expected frames from a second of noise, got none from input of parts\.0, parts\.0"),
        ("speechnet:scalar", r"expected a tensor from input of parts\.0, got tuple; pick others with #PATTERN"),
        ("speechnet:failing", r"the model fails on 1 × 16000 samples of noise \(RuntimeError: "),
    ],
)
def test_modules_that_cannot_be_used_are_refused(rest, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(f"py:{rest}")
