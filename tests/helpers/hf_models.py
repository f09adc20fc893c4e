"""Small random models of every family of encoders that transformers loads, saved as by their authors."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

HIDDEN = 32
BLOCKS = 3
RATE = 16_000

_TRANSFORMER = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.15,
    "layerdrop": 0.9,  # must not drop layers
    "mask_time_prob": 0.9,  # must not mask
    "mask_feature_prob": 0.9,
    "vocab_size": 12,
}
_FRONT = {"conv_dim": (12,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_LAYER_NORM = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
_SEW_FRONT = {
    "conv_dim": (8, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _waveform(kind, *, normalize=True, **config):
    def build():
        model = getattr(tf, f"{kind}Model")(getattr(tf, f"{kind}Config")(**_TRANSFORMER, **config))
        return model, tf.Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=True)

    return build


def _real_groups():
    """Use one block in the positional convolution of the published models: some machines round others wrongly."""
    sizes = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "initializer_range": 0.02}
    groups = {"num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}
    return tf.Wav2Vec2Model(tf.Wav2Vec2Config(**_TRANSFORMER | _FRONT | sizes | groups)), tf.Wav2Vec2FeatureExtractor()


def _wav2vec2_bert():
    config = tf.Wav2Vec2BertConfig(**_TRANSFORMER, feature_projection_input_dim=160, conv_depthwise_kernel_size=5)
    return tf.Wav2Vec2BertModel(config), tf.SeamlessM4TFeatureExtractor()


def whisper_config(**config):
    """Return a Whisper small enough for a test; its window is 30 s unless `max_source_positions` sets another."""
    return tf.WhisperConfig(
        d_model=HIDDEN,
        encoder_layers=BLOCKS,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        vocab_size=50,
        max_target_positions=20,
        init_std=0.15,
        encoder_layerdrop=0.9,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **config,
    )


def _whisper(kind):
    def build():
        return getattr(tf, kind)(whisper_config(max_source_positions=100)), tf.WhisperFeatureExtractor()

    return build


def _moonshine():
    config = tf.MoonshineConfig(
        hidden_size=HIDDEN,
        intermediate_size=48,
        encoder_num_hidden_layers=BLOCKS,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=4,
        decoder_num_attention_heads=4,
        vocab_size=12,
        initializer_range=0.15,
    )
    extractor = tf.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return tf.MoonshineForConditionalGeneration(config), extractor


def _parakeet(kind, **config):
    def build():
        encoder = tf.ParakeetEncoderConfig(
            hidden_size=HIDDEN,
            num_hidden_layers=BLOCKS,
            num_attention_heads=4,
            intermediate_size=48,
            subsampling_conv_channels=8,
            initializer_range=0.15,
            layerdrop=0.9,
        )
        whole = getattr(tf, f"Parakeet{kind}Config")(encoder_config=encoder.to_dict(), vocab_size=12, **config)
        return getattr(tf, f"ParakeetFor{kind}")(whole), tf.ParakeetFeatureExtractor()

    return build


def _ast():
    config = tf.ASTConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        intermediate_size=48,
        initializer_range=0.15,
        max_length=128,
        num_mel_bins=64,
    )
    return tf.ASTForAudioClassification(config), tf.ASTFeatureExtractor(max_length=128, num_mel_bins=64)


FAMILIES = {
    "wav2vec2-group": _waveform("Wav2Vec2", **_FRONT),
    "wav2vec2-layer": _waveform("Wav2Vec2", **_FRONT, **_LAYER_NORM),
    "wav2vec2-real-groups": _real_groups,
    "hubert-group": _waveform("Hubert", **_FRONT),
    "hubert-layer": _waveform("Hubert", **_FRONT, **_LAYER_NORM),
    "wavlm-group": _waveform("WavLM", normalize=False, **_FRONT),
    "wavlm-layer": _waveform("WavLM", **_FRONT, **_LAYER_NORM),
    "data2vec": _waveform("Data2VecAudio", conv_dim=(12,) * 7, num_conv_pos_embedding_groups=4, conv_pos_kernel_size=7),
    "unispeech-sat": _waveform("UniSpeechSat", **_FRONT),
    "sew": _waveform("SEW", **_SEW_FRONT),
    "conformer-relative": _waveform("Wav2Vec2Conformer", conv_depthwise_kernel_size=5, **_FRONT),
    "conformer-rotary": _waveform(
        "Wav2Vec2Conformer",
        conv_depthwise_kernel_size=5,
        position_embeddings_type="rotary",
        feat_extract_norm="layer",
        **_FRONT,
    ),
    "wav2vec2-bert": _wav2vec2_bert,
    "whisper": _whisper("WhisperForConditionalGeneration"),
    "whisper-encoder-only": _whisper("WhisperForAudioClassification"),
    "moonshine": _moonshine,
    "parakeet-ctc": _parakeet("CTC", pad_token_id=11),
    "parakeet-rnnt": _parakeet("RNNT", decoder_hidden_size=16, blank_token_id=11),
    "parakeet-tdt": _parakeet("TDT", decoder_hidden_size=16, blank_token_id=11),
    "ast": _ast,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Use one thread: models this small are slower on several threads, far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(family, seed=0):
    """Return a family's model, random but fixed, in eval mode, and its feature extractor."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some of AST's mel filters are empty
        model, extractor = FAMILIES[family]()
    return model.eval(), extractor


def save(directory, model, extractor):
    """Save a model as its authors do; return the directory as a string."""
    model.save_pretrained(directory)
    if extractor is not None:
        extractor.save_pretrained(directory)
    return str(Path(directory))


def speech_like(samples, seed=0):
    """Return band-limited noise with an offset and a changing level, mono float32."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.standard_normal(samples + 7), np.ones(8) / 8, mode="valid")
    level = 0.2 + 0.15 * np.sin(np.arange(samples) / 700 + seed)
    return (0.02 + level * noise).astype(np.float32)
