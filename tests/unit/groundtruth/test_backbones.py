"""Backbones: a block that runs alone gives the same output as in the model, and only the tuned part changes."""

import copy
import math
import sys
import warnings

import numpy as np
import pytest
import torch
import transformers as tf
from torch import nn

import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.errors import OptionError
from voxrank.groundtruth.audio import AudioBatch, _batch, unpadded_frames
from voxrank.groundtruth.backbones import FrozenLayer, Opaque, StackedBlocks, WholeModel, layer_frames, masked_mean
from voxrank.groundtruth.strategies import adapted
from voxrank.groundtruth.training import TrialError
from voxrank.testing.encoders import FakeEncoder

one_thread = models.one_thread

# Warnings of torch about WavLM's masks, and of peft about models of transformers. Other tests check that users do not
# see them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
]
FIT = EncoderOptions(whisper_window="fit")
NORMED_LAST = ("-layer", "conformer", "whisper", "moonshine")
"""Families with a norm behind the last block, which is not part of the block."""
FAMILIES = {
    "wav2vec2-group": None,
    "hubert-layer": None,
    "wavlm-group": None,
    "wavlm-layer": None,
    "conformer-relative": None,
    "conformer-rotary": None,
    "data2vec": None,
    "unispeech-sat": None,
    "sew": None,
    "wav2vec2-bert": None,
    "whisper": None,
    "whisper fit": FIT,
    "whisper full": EncoderOptions(whisper_window="full"),
    "moonshine": None,
    "parakeet-rnnt": None,
}
LENGTHS = (3_600, 2_000, 900)  # the longest equals the last probe of a loaded model, whose cache must serve


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a function that returns the directory of a saved family."""
    saved = {}

    def save(family):
        if family not in saved:
            saved[family] = models.save(tmp_path_factory.mktemp(family), *models.build(family))
        return saved[family]

    return save


@pytest.fixture(scope="module")
def load(directory):
    """Return a function that returns a fresh copy of a family's encoder: backbones change how a model behaves."""
    loaded = {}

    def copied(family):
        if family not in loaded:
            loaded[family] = load_encoder(directory(family.split()[0]), FAMILIES.get(family) or EncoderOptions())
        return copy.deepcopy(loaded[family])

    return copied


def batch_of(encoder, lengths=LENGTHS):
    waveforms = [models.speech_like(length, seed=length) for length in lengths]
    return _batch([(f"u{n}", waveform) for n, waveform in enumerate(waveforms)], encoder)


def own_layers(encoder, batch):
    """Return the frames of each utterance by layer, as the encoder gives them, without those of the padding."""
    found = {layer.index: [[] for _ in batch.windows] for layer in encoder.layers}
    for piece in encoder.encode(batch.windows):
        for row, frames in enumerate(piece.frames.split(piece.lengths)):
            found[piece.layer][row].append(frames.clone())
    layers = {layer: [torch.cat(parts) for parts in rows] for layer, rows in found.items()}
    if encoder.pads:
        return layers
    return {
        layer: [
            frames[: math.ceil(len(frames) * samples / len(window))]
            for frames, samples, window in zip(rows, batch.samples, batch.windows, strict=True)
        ]
        for layer, rows in layers.items()
    }


def check_same(hidden, expected, tolerance=1e-5):
    frames, lengths = hidden
    assert lengths.tolist() == [len(row) for row in expected]
    for row, length, own in zip(frames, lengths, expected, strict=True):
        bound = tolerance * max(1.0, own.abs().max().item())
        torch.testing.assert_close(row[:length].detach(), own, rtol=0, atol=bound)


def without_dropout(network):
    """Switch off dropout, so that only layer drop and masks, which must be off, could be random in training mode."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def prepared_by(backbone, batch):
    with torch.no_grad():
        return backbone.prepare(batch)


def frames_from(backbone, batch):
    with torch.no_grad():
        prepared = backbone.prepare(batch)
    return backbone(prepared)


def tunable(backbone):
    for part in backbone.tuned():
        part.requires_grad_()
    return backbone.train(mode=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_block_gives_the_frames_that_it_gives_in_the_model(load, family):
    encoder = load(family)
    batch = batch_of(encoder)
    expected = own_layers(encoder, batch)
    assert sorted(encoder.stack()) == [1, 2, 3]
    last = 2 if any(mark in family for mark in NORMED_LAST) else 3
    for layer in range(1, last + 1):
        backbone = StackedBlocks(encoder, layer, top=False).eval()
        assert (backbone.layer, backbone.dim) == (layer, models.HIDDEN)
        check_same(frames_from(backbone, batch), expected[layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_with_the_blocks_above_gives_the_output_of_the_last(load, family):
    encoder = load(family)
    batch = batch_of(encoder)
    caught = []
    hook = encoder.stack()[3].register_forward_hook(lambda _, __, out: caught.append(out))
    counts = [len(row) for row in own_layers(encoder, batch)[3]]
    hook.remove()
    (rows,) = caught
    rows = rows if isinstance(rows, torch.Tensor) else rows[0]
    expected = [row[:count].clone() for row, count in zip(rows, counts, strict=True)]  # before a norm behind it
    for layer in (1, 2, 3):
        check_same(frames_from(StackedBlocks(encoder, layer, top=True).eval(), batch), expected)


@pytest.mark.parametrize("family", ["wavlm-layer", "wav2vec2-bert", "conformer-relative", "parakeet-rnnt"])
def test_prepared_batches_can_be_used_often_and_in_any_order(load, family):
    encoder = load(family)
    batches = [batch_of(encoder), batch_of(encoder, (5_000, 3_600, 4_000))]
    expected = [own_layers(encoder, batch)[2] for batch in batches]
    backbone = StackedBlocks(encoder, 2, top=False).eval()
    with torch.no_grad():
        prepared = [backbone.prepare(batch) for batch in batches]
    for place in (0, 1, 1, 0):  # after the second was prepared, the model must be given the first one's padding
        check_same(backbone(prepared[place]), expected[place])


def training(backbone):
    return {name for name, module in backbone.named_modules() if module.training}


@pytest.mark.parametrize("family", ["wavlm-layer", "parakeet-rnnt", "whisper"])
def test_only_the_tuned_block_leaves_evaluation_mode(load, family):
    encoder = load(family)
    backbone = StackedBlocks(encoder, 2, top=True).train(mode=True)
    block = encoder.stack()[2]
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == (family == "parakeet-rnnt")
    for module in encoder.network().modules():
        assert module.training == (module in set(block.modules()) - set(norms))
    assert backbone.tuned() == [block]
    backbone.train(mode=False)
    assert not any(module.training for module in encoder.network().modules())


def test_batch_norms_keep_their_statistics(load):
    encoder = load("parakeet-rnnt")
    (norm,) = [m for m in encoder.stack()[1].modules() if isinstance(m, nn.BatchNorm1d)]
    before = norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone()
    frames_from(tunable(StackedBlocks(encoder, 1, top=False)), batch_of(encoder))
    frames_from(tunable(WholeModel(encoder, 3, only_block=False)), batch_of(encoder))
    assert all(map(torch.equal, before, (norm.running_mean, norm.running_var, norm.num_batches_tracked)))


def with_gradient(network):
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def names_in(network, block):
    own = {id(p) for p in block.parameters()}
    return {name for name, p in network.named_parameters() if id(p) in own}


@pytest.mark.parametrize("family", ["wavlm-group", "wavlm-layer"])
def test_blocks_run_without_a_warning(load, family):
    encoder = load(family)
    with warnings.catch_warnings(action="error"):
        frames_from(StackedBlocks(encoder, 2, top=True).eval(), batch_of(encoder))


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_only_the_tuned_block(load, family, top):
    encoder = load(family)
    without_dropout(encoder.network())
    backbone = tunable(StackedBlocks(encoder, 1, top=top))
    hidden, lengths = frames_from(backbone, batch_of(encoder))
    masked_mean(hidden, lengths).square().sum().backward()
    network, block = encoder.network(), encoder.stack()[1]
    assert {name for name, p in network.named_parameters() if p.grad is not None} <= names_in(network, block)
    # softmax does not change with the bias of the keys
    idle = {name for name in names_in(network, block) if "k_proj.bias" in name or "linear_k.bias" in name}
    assert with_gradient(network) >= names_in(network, block) - idle


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_whole_model_reach_its_front_end(load, family):
    encoder = load(family)
    batch = batch_of(encoder)
    expected = own_layers(encoder, batch)
    without_dropout(encoder.network())
    backbone = tunable(WholeModel(encoder, 3, only_block=False))
    assert backbone.tuned() == [encoder.network()]
    with torch.no_grad():
        prepared = backbone.prepare(batch)
    assert isinstance(prepared, Opaque)
    hidden, lengths = backbone(prepared)
    check_same((hidden, lengths), expected[3])  # in training mode too: no layer drop, no masks
    masked_mean(hidden, lengths).pow(3).sum().backward()
    touched = with_gradient(encoder.network())
    front = next(name for name, p in encoder.network().named_parameters() if p.ndim > 2)  # the first convolution
    assert front in touched
    for block in encoder.stack().values():
        assert names_in(encoder.network(), block) & touched


@pytest.mark.parametrize("family", ["hubert-layer", "conformer-relative", "whisper fit", "ast"])
def test_only_the_chosen_block_learns_in_a_model_that_runs_whole(load, family):
    encoder = load(family)
    batch = batch_of(encoder)
    expected = own_layers(encoder, batch)
    without_dropout(encoder.network())
    backbone = tunable(WholeModel(encoder, 2, only_block=True))
    block = encoder.blocks()[2]
    assert backbone.tuned() == [block]
    assert training(encoder.network()) == {
        name for name, module in encoder.network().named_modules() if module in set(block.modules())
    } - {name for name, m in encoder.network().named_modules() if isinstance(m, nn.BatchNorm1d)}
    hidden, lengths = frames_from(backbone, batch)
    check_same((hidden, lengths), expected[2])
    masked_mean(hidden, lengths).square().sum().backward()
    touched = {name for name, p in encoder.network().named_parameters() if p.grad is not None}
    assert touched == names_in(encoder.network(), block)


def test_no_block_is_dropped_and_no_frame_is_masked_in_training(load):
    """The test is the same as above, but observes which blocks run."""
    encoder = load("wav2vec2-group")
    backbone = tunable(WholeModel(encoder, 3, only_block=False))
    ran = []
    for number, block in encoder.stack().items():
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    torch.manual_seed(0)
    batch = batch_of(encoder)
    for _ in range(5):
        frames_from(backbone, batch)
    assert ran == [1, 2, 3] * 5
    assert not encoder.network().config.apply_spec_augment


def test_seven_blocks_are_not_taken_for_seven_convolutions(tmp_path):
    torch.manual_seed(0)
    config = tf.HubertConfig(**models._TRANSFORMER | {"num_hidden_layers": 7}, **models._FRONT)
    extractor = tf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    encoder = load_encoder(models.save(tmp_path, tf.HubertModel(config), extractor))
    assert list(encoder.stack().values()) == list(encoder.network().encoder.layers)


@pytest.mark.parametrize("family", ["hubert-layer", "whisper fit", "ast"])
def test_frames_of_a_frozen_layer_are_those_of_the_encoder(load, family):
    encoder = load(family)
    batch = batch_of(encoder)
    expected = own_layers(encoder, batch)
    for layer in range(4):
        check_same(frames_from(FrozenLayer(encoder, layer, pooled=False), batch), expected[layer], tolerance=0)
        hidden, lengths = frames_from(FrozenLayer(encoder, layer, pooled=True), batch)
        assert lengths.tolist() == [1, 1, 1]
        means = torch.stack([row.mean(0) for row in expected[layer]])
        torch.testing.assert_close(hidden, means[:, None], rtol=1e-5, atol=1e-5)


def test_padding_does_not_change_a_mean():
    hidden = torch.tensor([[[1.0], [3.0], [torch.nan]], [[2.0], [4.0], [9.0]]])
    assert masked_mean(hidden, torch.tensor([2, 3])).tolist() == [[2.0], [5.0]]


@pytest.mark.parametrize(
    ("made", "samples", "window", "own"), [(10, 100, 100, 10), (10, 95, 100, 10), (10, 90, 100, 9), (3, 1, 100, 1)]
)
def test_the_frames_of_an_utterance_exclude_those_of_padding(made, samples, window, own):
    assert unpadded_frames(made, samples, window) == own


def test_a_layer_that_does_not_exist_is_refused():
    encoder = FakeEncoder()
    batch = AudioBatch(("u",), (np.zeros(1600, dtype=np.float32),), (1600,))
    with pytest.raises(OptionError, match=r"^fake has no layer 9$"):
        layer_frames(encoder, batch, 9)


def test_a_model_that_shows_no_weights_cannot_be_tuned():
    with pytest.raises(OptionError, match=r"^fake has no weights that can be tuned here$"):
        WholeModel(FakeEncoder(), 1, only_block=False)


NET = '''
import torch
from torch import nn


class Net(nn.Module):
    """Frames of 10 ms, and three blocks of which the middle one has a batch norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 6, 400, stride=160)
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), Norm()), nn.Linear(6, 6)])

    def forward(self, waveforms):
        hidden = self.front(waveforms[:, None]).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
            hidden.tanh_()  # overwrites what a layer was
        return hidden


class Norm(nn.BatchNorm1d):
    def __init__(self):
        super().__init__(6)

    def forward(self, hidden):
        return super().forward(hidden.transpose(1, 2)).transpose(1, 2)


def build():
    return Net()
'''


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "tuned_speech_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield load_encoder("py:tuned_speech_net:build")
    sys.modules.pop("tuned_speech_net", None)


def test_a_users_own_module_is_tuned_as_a_whole_or_by_block(net):
    assert not net.stack()
    assert sorted(net.blocks()) == [1, 2, 3]
    batch = batch_of(net)
    assert [len(window) for window in batch.windows] == [3_600] * 3  # it is not known to support padding
    expected = own_layers(net, batch)
    assert [len(row) for row in expected[2]] == [21, 12, 6]
    for layer, only in ((1, True), (2, True), (3, False)):
        backbone = tunable(WholeModel(net, layer, only_block=only))
        hidden, lengths = frames_from(backbone, batch)
        check_same((hidden, lengths), expected[layer])
        masked_mean(hidden, lengths).square().sum().backward()
        part = net.blocks()[layer] if only else net.network()
        touched = {name for name, p in net.network().named_parameters() if p.grad is not None}
        assert touched == names_in(net.network(), part)
        assert net.network().blocks[1][1].training is False
        net.network().zero_grad()
        net.network().requires_grad_(requires_grad=False)
        backbone.train(mode=False)


def trained(parameters):
    return {name for name, p in parameters.named_parameters() if p.requires_grad}


BACKBONES = {
    "block": lambda encoder: StackedBlocks(encoder, 2, top=False),
    "block below others": lambda encoder: StackedBlocks(encoder, 1, top=True),
    "block of a model that runs whole": lambda encoder: WholeModel(encoder, 2, only_block=True),
    "whole": lambda encoder: WholeModel(encoder, 3, only_block=False),
}


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("family", ["hubert-layer", "whisper", "parakeet-rnnt"])
def test_adapters_start_at_zero_learn_alone_and_are_removed_completely(load, family, kind):
    encoder = load(family)
    without_dropout(encoder.network())
    network = encoder.network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    backbone, batch = BACKBONES[kind](encoder), batch_of(encoder)
    plain, _ = frames_from(backbone, batch)
    random = torch.random.get_rng_state()
    with adapted(backbone, 2, 0, prepared_by(backbone, batch)):
        assert torch.equal(torch.random.get_rng_state(), random)
        assert trained(backbone)
        assert all("lora_" in name for name in trained(backbone))
        backbone.train(mode=True)
        hidden, lengths = frames_from(backbone, batch)
        torch.testing.assert_close(hidden.detach(), plain.detach(), rtol=1e-5, atol=1e-5)
        masked_mean(hidden, lengths).pow(3).sum().backward()
        learning = {name for name, p in backbone.named_parameters() if p.grad is not None}
        assert all("lora_" in name for name in learning)
        ups = {name for name in trained(backbone) if "lora_B" in name}  # the others have no gradient while these are 0
        assert {name for name, p in backbone.named_parameters() if name in ups and p.grad.abs().sum() > 0} == ups
    assert not trained(backbone)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in network.parameters())
    backbone.train(mode=False)
    torch.testing.assert_close(frames_from(backbone, batch)[0], plain, rtol=0, atol=0)


def test_a_whole_model_is_adapted_without_a_warning(load):
    encoder = load("hubert-layer")
    backbone = WholeModel(encoder, 3, only_block=False)
    prepared = prepared_by(backbone, batch_of(encoder))
    with warnings.catch_warnings(action="error"), adapted(backbone, 2, 0, prepared):
        assert trained(backbone)


def test_adapters_change_the_frames_of_a_model_while_they_are_attached(load):
    encoder = load("hubert-layer")
    backbone, batch = StackedBlocks(encoder, 2, top=False).eval(), batch_of(encoder)
    plain, _ = frames_from(backbone, batch)
    with adapted(backbone, 2, 0, prepared_by(backbone, batch)), torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
        assert not torch.allclose(frames_from(backbone, batch)[0], plain)


def test_the_seed_decides_the_values_of_adapters(load):
    encoder = load("hubert-layer")
    backbone = StackedBlocks(encoder, 2, top=False)
    prepared = prepared_by(backbone, batch_of(encoder))

    def drawn(seed):
        with adapted(backbone, 2, seed, prepared):
            return torch.cat([p.detach().flatten() for name, p in backbone.named_parameters() if "lora_A" in name])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_adapters_of_wavlm_are_on_maps_that_learn(load):
    """The attention of WavLM reads the weights of its linear maps without calls: adapters there would be idle."""
    encoder = load("wavlm-layer")
    without_dropout(encoder.network())
    backbone, batch = StackedBlocks(encoder, 2, top=False), batch_of(encoder)
    with adapted(backbone, 2, 0, prepared_by(backbone, batch)):
        hidden, lengths = frames_from(backbone.train(mode=True), batch)
        masked_mean(hidden, lengths).pow(3).sum().backward()
        adapters = {n: p.grad for n, p in backbone.named_parameters() if "lora_B" in n}
    assert adapters
    assert not any("q_proj" in name for name in adapters)
    assert all(gradient is not None and gradient.any() for gradient in adapters.values())


def test_without_a_rank_nothing_is_adapted(load):
    backbone = StackedBlocks(load("hubert-layer"), 2, top=False)
    (block,) = backbone.tuned()
    with adapted(backbone, 0, 0, None):
        assert backbone.tuned() == [block]
        assert not trained(backbone)


def test_adapters_are_refused_where_no_linear_map_runs(load):
    encoder = load("hubert-layer")
    backbone = StackedBlocks(encoder, 2, top=False)
    prepared = prepared_by(backbone, batch_of(encoder))
    encoder.stack()[2].forward = lambda hidden, **_: hidden  # it runs no linear map
    with pytest.raises(
        TrialError, match=r"^there is no linear map in the tuned part that could take low-rank adapters"
    ):
        adapted(backbone, 2, 0, prepared).__enter__()
