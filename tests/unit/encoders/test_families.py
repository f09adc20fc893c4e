"""Audio encoders inside larger models load through the class that config.json names, and give that class's features."""

import json

import pytest
import torch
import transformers as tf

import audio_families as families
import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders import huggingface
from voxrank.encoders.checkpoints import Checkpoint
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

one_thread = models.one_thread

BLOCKS = families.BLOCKS
COMPLETE = [(name, False) for name in families.FAMILIES]
ALONE = [(name, True) for name in families.ALONE]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save each family, complete or as an encoder alone; return its directory and its model."""
    kept = {}

    def save(family, *, alone=False):
        if (family, alone) not in kept:
            kept[family, alone] = families.save(tmp_path_factory.mktemp(family), family, alone=alone)
        return kept[family, alone]

    return save


@pytest.fixture(scope="module")
def load(saved):
    kept = {}

    def load_once(family, *, alone=False):
        if (family, alone) not in kept:
            kept[family, alone] = load_encoder(saved(family, alone=alone)[0])
        return kept[family, alone]

    return load_once


def frames_of(encoder, samples):
    waveform = models.speech_like(samples)
    return [piece.frames for piece in encoder.encode([waveform])]


def counts_of(encoder, samples):
    return [len(frames) for frames in frames_of(encoder, samples)]


@pytest.mark.parametrize(("family", "alone"), COMPLETE + ALONE)
def test_frames_are_the_hidden_states_of_the_class_itself(saved, load, family, alone):
    _, model = saved(family, alone=alone)
    encoder = load(family, alone=alone)
    states = families.own_states(family, model, encoder.sample_rate, alone=alone)
    frames = frames_of(encoder, encoder.sample_rate)
    assert type(encoder.network()).__name__ == families.FAMILIES[family].network
    for mine, theirs in zip(frames, states, strict=True):
        assert 0 < len(mine) <= len(theirs)
        torch.testing.assert_close(mine, theirs[: len(mine)], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_frames_follow_the_length_of_the_audio(load, name):
    family, encoder = families.FAMILIES[name], load(name)
    for seconds, expected in zip(family.seconds, family.frames, strict=True):
        counts = counts_of(encoder, round(encoder.sample_rate * seconds))
        assert counts[0] == expected
        assert abs(counts[-1] - expected * family.last) <= 2  # each window begins a frame


@pytest.mark.parametrize("alone", [False, True])
def test_audio_is_cut_into_windows_of_the_length_used_in_training(load, alone):
    encoder = load("qwen2_audio", alone=alone)
    assert encoder.window_samples == encoder.cost_samples(100) == 32_000
    assert counts_of(encoder, 16_000) == [50, 50, 25]
    assert counts_of(encoder, 48_000) == [150, 150, 76]  # two windows of 1.5 s: each begins half a frame
    assert [layer.frame_rate for layer in encoder.layers] == [50.0, 50.0, 25.0]


BATCHED = (
    "glmasr",
    "audio_flamingo",
    "qwen2_audio",
    "qwen2_5_omni",
    "qwen3_asr",
    "cohere",
    "speecht5",
    "encodec",
    "clap",
)


@pytest.mark.parametrize("family", BATCHED)
def test_an_utterance_has_the_same_frames_alone_and_in_a_batch(load, family):
    encoder = load(family)
    waveforms = [models.speech_like(n, seed=n) for n in (9_000, 16_081, 4_321)]
    parts = [[] for _ in waveforms]
    for piece in encoder.encode(waveforms):
        for owner, part in enumerate(piece.frames.split(piece.lengths)):
            parts[owner].append((piece.layer, part))
    for waveform, pieces in zip(waveforms, parts, strict=True):
        together = [torch.cat([part for layer, part in pieces if layer == i]) for i in range(len(encoder.layers))]
        for mine, piece in zip(together, encoder.encode([waveform]), strict=True):
            torch.testing.assert_close(mine, piece.frames, atol=1e-4, rtol=0)


def test_a_window_is_cut_to_the_audio_if_the_model_supports_it(saved):
    encoder = load_encoder(saved("glmasr", alone=True)[0], EncoderOptions(whisper_window="fit"))
    assert encoder.cost_samples(16_000) == 16_000
    assert counts_of(encoder, 16_000) == [50] * 3
    fixed = load_encoder(saved("qwen2_audio")[0], EncoderOptions(whisper_window="fit"))
    assert fixed.cost_samples(16_000) == 32_000


def test_auto_gives_models_other_than_whisper_their_whole_window(saved):
    encoders = [load_encoder(saved("qwen2_audio")[0], EncoderOptions(whisper_window=kind)) for kind in ("auto", "full")]
    assert [encoder.cost_samples(16_000) for encoder in encoders] == [32_000] * 2
    assert frames_of(encoders[0], 16_000)[-1].equal(frames_of(encoders[1], 16_000)[-1])


def test_a_missing_package_of_an_extractor_is_named(tmp_path, monkeypatch):
    def missing(*args, **options):
        raise ImportError("GraniteSpeechFeatureExtractor requires the torchaudio library but it was not found")

    families.save(tmp_path, "speecht5")
    monkeypatch.setattr(tf.AutoFeatureExtractor, "from_pretrained", missing)
    with pytest.raises(ModelError, match=r"needs the package torchaudio: run pip install torchaudio$"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        (tf.SpeechT5ForTextToSpeech, "SpeechT5EncoderWithTextPrenet"),
        (tf.SpeechT5Model, "SpeechT5EncoderWithoutPrenet"),
    ],
)
def test_an_encoder_of_other_input_than_audio_is_refused_by_name(tmp_path, kind, encoder):
    place = models.save(tmp_path, kind(tf.SpeechT5Config(**families.SPEECHT5)), tf.SpeechT5FeatureExtractor())
    with pytest.raises(ModelError, match=rf"{encoder} does not encode a second of noise .*name an encoder"):
        load_encoder(place)


def test_long_audio_keeps_its_frames_in_a_model_that_cuts_it_into_chunks(saved, load):
    _, model = saved("phi4_multimodal", alone=True)
    samples = 50 * 16_000  # chunks of 40 s
    extractor = tf.Phi4MultimodalFeatureExtractor()
    inputs = extractor(models.speech_like(samples), sampling_rate=16_000, return_tensors="pt")
    features = inputs["audio_input_features"]
    with torch.no_grad():
        last = model(features, torch.ones(features.shape[:2], dtype=torch.bool))[0]
    frames = frames_of(load("phi4_multimodal", alone=True), samples)
    assert {len(layer) for layer in frames} == {625}
    torch.testing.assert_close(frames[-1], last, atol=1e-4, rtol=1e-4)


def test_audio_shorter_than_an_extractor_pads_it_to_is_padded_before(load):
    encoder = load("qwen3_asr")
    assert 8_000 <= encoder.min_samples < 8_160
    assert counts_of(encoder, 1_600) == counts_of(encoder, encoder.min_samples) == [7] * 3


@pytest.mark.parametrize("family", ["qwen2_5_omni", "qwen3_asr"])
def test_blocks_of_packed_audio_are_tuned_in_whole_passes(load, family):
    encoder = load(family)
    assert sorted(encoder.blocks()) == [1, 2]
    assert encoder.stack() == {}


def test_a_codec_is_its_encoder_alone(load):
    encoder = load("encodec")
    assert encoder.parameters == sum(weight.numel() for weight in encoder.network().encoder.parameters())
    assert [layer.frame_rate for layer in encoder.layers] == [75.0] * 3


def test_a_codec_of_stereo_audio_is_refused_by_name(tmp_path):
    config = tf.EncodecConfig(hidden_size=16, num_filters=2, codebook_size=8, codebook_dim=16, audio_channels=2)
    place = models.save(tmp_path, tf.EncodecModel(config), tf.EncodecFeatureExtractor())
    with pytest.raises(ModelError, match=r"EncodecModel takes audio of 2 channels.*name a codec of mono audio"):
        load_encoder(place)


def test_clap_is_refused_if_its_files_belong_to_two_models(tmp_path):
    model, _ = families.build("clap", alone=True)
    place = models.save(tmp_path, model, tf.ClapFeatureExtractor(feature_size=32))
    with pytest.raises(ModelError, match=r"makes 32 mel bins, config.json takes 64; use the files of one model"):
        load_encoder(place)


def test_granite_speech_without_settings_of_its_features_is_refused(tmp_path, saved):
    model = saved("granite_speech", alone=True)[1]
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has no preprocessor_config.json, which says how the model takes its audio"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize(("setting", "value"), [("n_mels", 10**9), ("hop_length", "many"), ("sample_rate", 3)])
def test_granite_speech_with_implausible_settings_is_refused(tmp_path, saved, setting, value):
    families.save(tmp_path, "granite_speech", alone=True)
    file = tmp_path / "preprocessor_config.json"
    content = json.loads(file.read_text())
    content["melspec_kwargs"][setting] = value
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"preprocessor_config.json|feature extractor"):
        load_encoder(str(tmp_path))


class Deaf(torch.nn.Module):
    """A model that gives the same number of frames for any audio."""

    main_input_name, device = "input_values", torch.device("cpu")

    def __init__(self, make):
        super().__init__()
        self._make = make

    def forward(self, input_values, output_hidden_states):
        states = self._make(input_values)
        return tf.modeling_outputs.BaseModelOutput(last_hidden_state=states, hidden_states=(states,))


WRONG = {
    "no growth": (lambda x: x[:, :8].reshape(1, 2, 4), "gives 0 frames a second at layer 0, expected more than 0"),
    "features grow": (lambda x: x[:, : x.shape[1] // 100 * 100].reshape(1, 100, -1), "gives 0 frames a second"),
    "too many": (lambda x: x[..., None].expand(-1, -1, 4), "gives 16000 frames a second at layer 0"),
    "image": (lambda x: x[:, None, :100, None], r"its hidden states have shape \(1, 1, 100, 1\), expected \(batch"),
    "full": (lambda x: x[:, :40_000:320, None].expand(-1, -1, 4), "gives 125 frames of 4 numbers at layer 0 for 3 s"),
    "infinite later": (
        lambda x: torch.where(torch.arange(x.shape[1]) < 40_000, x, torch.inf)[:, ::320, None],
        r"does not encode 3 s of noise \(frames are not finite\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_frames_that_do_not_follow_the_audio_are_refused(fault):
    make, message = WRONG[fault]
    checkpoint = Checkpoint("name", "place", offline=True, trusted=False)
    extractor = tf.Wav2Vec2FeatureExtractor(do_normalize=False)
    with pytest.raises(ModelError, match=f"^name: Deaf .*{message}"):
        huggingface.HiddenStates(checkpoint, Deaf(make), extractor, EncoderOptions())
