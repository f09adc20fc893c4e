"""Audio encoders inside larger models load through the class that config.json names, and give that class's features."""

import numpy as np
import pytest
import torch
import transformers as tf
from transformers.models.glmasr.modeling_glmasr import GlmAsrEncoder
from transformers.models.granite_speech.modeling_granite_speech import GraniteSpeechCTCEncoder
from transformers.models.moonshine_streaming.configuration_moonshine_streaming import MoonshineStreamingEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
from transformers.models.voxtral_realtime.modeling_voxtral_realtime import VoxtralRealtimeEncoder

import hf_models as models
from voxrank.config import EncoderOptions
from voxrank.encoders import huggingface
from voxrank.encoders.checkpoints import Checkpoint
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

one_thread = models.one_thread

BLOCKS = 2
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": BLOCKS, "intermediate_size": 24}
WHISPER_LIKE = {
    "d_model": 16,
    "encoder_layers": BLOCKS,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
}
TEXT = {
    "model_type": "qwen2",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 30,
}


def cohere():
    encoder = {**SMALL, "num_hidden_layers": BLOCKS, "subsampling_conv_channels": 8, "num_mel_bins": 80}
    config = tf.CohereAsrConfig(
        encoder_config={"model_type": "parakeet_encoder", **encoder},
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, intermediate_size=24,
        head_dim=8, vocab_size=30,
    )  # fmt: skip
    return tf.CohereAsrForConditionalGeneration(config), tf.CohereAsrFeatureExtractor(feature_size=80, dither=0.0)


def moonshine_streaming():
    encoder = MoonshineStreamingEncoderConfig(
        **SMALL, num_key_value_heads=2, head_dim=8, sliding_windows=[[16, 4], [16, 0]]
    )
    config = tf.MoonshineStreamingConfig(  # type: ignore[call-arg]  # kept by the base class
        encoder_config=encoder.to_dict(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=24, head_dim=8, vocab_size=30,
    )  # fmt: skip
    extractor = tf.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return tf.MoonshineStreamingForConditionalGeneration(config), extractor


def speecht5(kind=tf.SpeechT5ForSpeechToText):
    config = tf.SpeechT5Config(
        hidden_size=16, encoder_layers=BLOCKS, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, conv_dim=(8,) * 7, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4, vocab_size=30, encoder_layerdrop=0.9,
    )  # fmt: skip
    return kind(config), tf.SpeechT5FeatureExtractor()


def mimi():
    config = tf.MimiConfig(
        **SMALL, num_key_value_heads=2, head_dim=8, num_filters=4, codebook_size=8, codebook_dim=8,
        vector_quantization_hidden_dimension=8, upsample_groups=16, num_quantizers=2,
    )  # fmt: skip
    return tf.MimiModel(config), tf.EncodecFeatureExtractor(sampling_rate=24_000)


def qwen2_audio():
    config = tf.Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", **WHISPER_LIKE, "max_source_positions": 100},
        text_config=TEXT,
    )
    return tf.Qwen2AudioForConditionalGeneration(config), tf.WhisperFeatureExtractor(80, chunk_length=2)


def qwen2_audio_encoder():
    config = tf.Qwen2AudioEncoderConfig(**WHISPER_LIKE, max_source_positions=100)
    return Qwen2AudioEncoder(config), tf.WhisperFeatureExtractor(80, chunk_length=2)


def audio_flamingo():
    config = tf.AudioFlamingo3Config(
        audio_config={"model_type": "audioflamingo3_encoder", **SMALL, "num_mel_bins": 80}, text_config=TEXT
    )
    return tf.AudioFlamingo3ForConditionalGeneration(config), tf.WhisperFeatureExtractor(80)


def glmasr_encoder():
    config = tf.GlmAsrEncoderConfig(**SMALL, num_key_value_heads=2, num_mel_bins=80)
    return GlmAsrEncoder(config), tf.WhisperFeatureExtractor(80)


def voxtral_realtime_encoder():
    config = tf.VoxtralRealtimeEncoderConfig(**SMALL, head_dim=8, num_mel_bins=40)
    return VoxtralRealtimeEncoder(config), tf.VoxtralRealtimeFeatureExtractor(feature_size=40)


FAMILIES = {
    "cohere": cohere,
    "moonshine_streaming": moonshine_streaming,
    "speecht5": speecht5,
    "mimi": mimi,
    "qwen2_audio": qwen2_audio,
    "qwen2_audio_encoder": qwen2_audio_encoder,
    "audio_flamingo": audio_flamingo,
    "glmasr_encoder": glmasr_encoder,
    "voxtral_realtime_encoder": voxtral_realtime_encoder,
}


def build(family):
    """Return a model with random but fixed weights, large enough that all layers matter."""
    torch.manual_seed(0)
    model, extractor = FAMILIES[family]() if isinstance(family, str) else family()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    return model.eval(), extractor


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save each family; return its directory, its model as saved, and its feature extractor."""
    kept = {}

    def save(family):
        if family not in kept:
            model, extractor = build(family)
            kept[family] = models.save(tmp_path_factory.mktemp(family), model, extractor), model, extractor
        return kept[family]

    return save


@pytest.fixture(scope="module")
def load(saved):
    kept = {}

    def load_once(family):
        if family not in kept:
            kept[family] = load_encoder(saved(family)[0])
        return kept[family]

    return load_once


def frames_of(encoder, samples):
    waveform = models.speech_like(samples)
    return [piece.frames for piece in encoder.encode([waveform])]


def counts_of(encoder, samples):
    return [len(frames) for frames in frames_of(encoder, samples)]


def own_states(family, model, extractor, samples):
    """Return the hidden states of the family's own class, called as its processor would."""
    more = {"pad_to_multiple_of": 80} if family == "moonshine_streaming" else {}
    rate = extractor.sampling_rate
    inputs = extractor(models.speech_like(samples), sampling_rate=rate, return_tensors="pt", **more)
    encoder = model.get_encoder("audio")
    encoder = model.get_encoder() if encoder is model else encoder
    if family == "audio_flamingo":
        inputs["input_features_mask"] = inputs.pop("attention_mask", extractor(
            models.speech_like(samples), sampling_rate=rate, return_attention_mask=True, return_tensors="pt"
        )["attention_mask"])  # fmt: skip
    taken = {
        "audio_flamingo": ("input_features", "input_features_mask"),
        "cohere": ("input_features", "attention_mask"),
    }
    names = taken.get(family, ("input_features", "input_values"))
    with torch.no_grad():
        states = encoder(**{name: inputs[name] for name in names if name in inputs}, output_hidden_states=True)
    return states.hidden_states


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "mimi"])
def test_features_are_the_hidden_states_of_the_class_itself(saved, load, family):
    _, model, extractor = saved(family)
    samples = 16_080
    states = own_states(family, model, extractor, samples)
    frames = frames_of(load(family), samples)
    assert len(frames) == len(states) == BLOCKS + 1
    for mine, theirs in zip(frames, states, strict=True):
        assert 0 < len(mine) <= theirs.shape[1]
        torch.testing.assert_close(mine, theirs[0, : len(mine)], atol=1e-4, rtol=1e-4)


def test_the_blocks_of_a_codec_without_hidden_states_are_read(saved, load):
    _, model, extractor = saved("mimi")
    states = []
    blocks = model.encoder.encoder_transformer.layers
    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))]
    hooks += [block.register_forward_hook(lambda _, __, out: states.append(out)) for block in blocks]
    inputs = extractor(models.speech_like(24_000), sampling_rate=24_000, return_tensors="pt")
    with torch.no_grad():
        model.encoder(inputs["input_values"])
    for hook in hooks:
        hook.remove()
    for mine, theirs in zip(frames_of(load("mimi"), 24_000), states, strict=True):
        torch.testing.assert_close(mine, theirs[0], atol=1e-5, rtol=1e-5)
    assert counts_of(load("mimi"), 24_000) == [25] * 3
    assert {layer.frame_rate for layer in load("mimi").layers} == {25.0}


FRAMES = {
    "cohere": (13, 38, 150),
    "moonshine_streaming": (50, 150, 600),
    "speecht5": (49, 149, 599),
    "audio_flamingo": (50, 150, 600),
    "glmasr_encoder": (50, 150, 600),
    "voxtral_realtime_encoder": (50, 150, 600),
}


@pytest.mark.parametrize("family", FRAMES)
def test_frames_follow_the_length_of_the_audio(load, family):
    encoder = load(family)
    pooled = 2 if family == "audio_flamingo" else 1  # the last layer follows pooling
    for seconds, expected in zip((1, 3, 12), FRAMES[family], strict=True):
        assert counts_of(encoder, 16_000 * seconds) == [expected] * BLOCKS + [expected // pooled]


@pytest.mark.parametrize("family", ["qwen2_audio", "qwen2_audio_encoder"])
def test_audio_is_cut_into_windows_of_the_length_used_in_training(load, family):
    encoder = load(family)
    assert encoder.window_samples == encoder.cost_samples(100) == 32_000
    assert counts_of(encoder, 16_000) == [50, 50, 25]
    assert counts_of(encoder, 48_000) == [150, 150, 76]  # two windows of 1.5 s: each begins half a frame
    assert [layer.frame_rate for layer in encoder.layers] == [50.0, 50.0, 25.0]


@pytest.mark.parametrize("family", ["glmasr_encoder", "audio_flamingo", "qwen2_audio", "cohere", "speecht5"])
def test_an_utterance_has_the_same_frames_alone_and_in_a_batch(load, family):
    encoder = load(family)
    waveforms = [models.speech_like(n, seed=n) for n in (9_000, 16_081, 4_321)]
    parts = [[] for _ in waveforms]
    for piece in encoder.encode(waveforms):
        for owner, part in enumerate(piece.frames.split(piece.lengths)):
            parts[owner].append((piece.layer, part))
    for waveform, pieces in zip(waveforms, parts, strict=True):
        together = [torch.cat([part for layer, part in pieces if layer == i]) for i in range(BLOCKS + 1)]
        for mine, piece in zip(together, encoder.encode([waveform]), strict=True):
            torch.testing.assert_close(mine, piece.frames, atol=1e-4, rtol=0)


def test_a_window_is_cut_to_the_audio_if_the_model_supports_it(saved):
    encoder = load_encoder(saved("glmasr_encoder")[0], EncoderOptions(whisper_window="fit"))
    assert encoder.cost_samples(16_000) == 16_000
    assert counts_of(encoder, 16_000) == [50] * 3
    fixed = load_encoder(saved("qwen2_audio")[0], EncoderOptions(whisper_window="fit"))
    assert fixed.cost_samples(16_000) == 32_000


class StackedExtractor:
    """An extractor of stacked frames as in Granite Speech: it takes no sample rate, and renames the input."""

    sampling_rate = 16_000

    def __call__(self, audios, device="cpu"):
        samples = torch.from_numpy(np.asarray(audios))[None]
        frames = samples.unfold(1, 320, 320)[..., :160]
        return {"input_features": frames, "input_features_mask": torch.ones(1, 7)}

    def to_json_string(self):
        return "{}"


def test_granite_speech_loads_from_its_complete_checkpoint(tmp_path, monkeypatch):
    torch.manual_seed(0)
    encoder = {
        "model_type": "granite_speech_encoder", "hidden_dim": 16, "num_layers": BLOCKS, "num_heads": 2, "dim_head": 8,
        "input_dim": 160, "output_dim": 12, "context_size": 20, "max_pos_emb": 20,
    }  # fmt: skip
    projector = {
        "model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24, "encoder_hidden_size": 16, "vocab_size": 30,
    }  # fmt: skip
    config = tf.GraniteSpeechConfig(
        encoder_config=encoder, text_config=TEXT | {"model_type": "granite"}, projector_config=projector
    )
    model = tf.GraniteSpeechForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(huggingface, "load_extractor", lambda checkpoint: StackedExtractor())
    loaded = load_encoder(str(tmp_path))
    assert isinstance(loaded.network(), GraniteSpeechCTCEncoder)
    assert counts_of(loaded, 16_000) == [50] * 3
    inputs = StackedExtractor()(models.speech_like(16_000))["input_features"]
    with torch.no_grad():
        states = model.get_encoder()(inputs, output_hidden_states=True).hidden_states
    for mine, theirs in zip(frames_of(loaded, 16_000), states, strict=True):
        torch.testing.assert_close(mine, theirs[0], atol=1e-5, rtol=1e-5)


def test_a_missing_package_of_an_extractor_is_named(tmp_path, monkeypatch):
    def missing(*args, **options):
        raise ImportError("GraniteSpeechFeatureExtractor requires the torchaudio library but it was not found")

    models.save(tmp_path, *build("speecht5"))
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
    place = models.save(tmp_path, *build(lambda: speecht5(kind)))
    with pytest.raises(ModelError, match=rf"{encoder} does not encode a second of noise .*name an encoder"):
        load_encoder(place)


def test_a_model_that_takes_spectrogram_images_is_refused_by_name(tmp_path):
    config = tf.ClapAudioConfig(
        depths=[1, 1], num_attention_heads=[2, 2], patch_embeds_hidden_size=8, hidden_size=16, spec_size=64,
        num_mel_bins=64,
    )  # fmt: skip
    place = models.save(tmp_path, tf.ClapAudioModel(config), tf.ClapFeatureExtractor())
    with pytest.raises(
        ModelError, match="ClapAudioModel cannot be fed: ClapFeatureExtractor returns an input of shape"
    ):
        load_encoder(place)


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
    "full": (lambda x: x[:, :24_000:320, None].expand(-1, -1, 4), "gives 75 frames of 4 numbers at layer 0 for 3 s"),
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
