"""Small random checkpoints of the audio towers in larger models, and the hidden states of transformers' own classes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from safetensors.torch import save_file
from transformers.models.glmasr.modeling_glmasr import GlmAsrEncoder
from transformers.models.granite_speech.modeling_granite_speech import GraniteSpeechCTCEncoder
from transformers.models.moonshine_streaming.configuration_moonshine_streaming import MoonshineStreamingEncoderConfig
from transformers.models.moonshine_streaming.modeling_moonshine_streaming import MoonshineStreamingEncoder
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import (
    Qwen2_5OmniAudioEncoderConfig,
    Qwen2_5OmniThinkerConfig,
)
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniAudioEncoder
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
from transformers.models.qwen3_asr.modeling_qwen3_asr import Qwen3ASREncoder
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder
from transformers.models.seamless_m4t.modeling_seamless_m4t import SeamlessM4TSpeechEncoder
from transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2 import SeamlessM4Tv2SpeechEncoder
from transformers.models.speecht5.modeling_speecht5 import SpeechT5EncoderWithSpeechPrenet
from transformers.models.voxtral_realtime.modeling_voxtral_realtime import VoxtralRealtimeEncoder

import hf_models as models

BLOCKS = 2
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": BLOCKS, "intermediate_size": 24}
ONE_HEAD_FOR_ALL = {"num_key_value_heads": 2, "head_dim": 8}
WHISPER_LIKE = {
    "d_model": 16,
    "encoder_layers": BLOCKS,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
}
DECODER = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 30,
}
TEXT = {"model_type": "qwen2", **DECODER}
CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


class GraniteExtractor:
    """Save the settings of Granite Speech's feature extractor, which cannot be built without torchaudio."""

    sampling_rate = 16_000

    def save_pretrained(self, folder):
        content = {
            "feature_extractor_type": "GraniteSpeechFeatureExtractor",
            "melspec_kwargs": {"hop_length": 160, "n_fft": 512, "n_mels": 80, "sample_rate": 16000, "win_length": 400},
            "sampling_rate": 16000,
        }
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(content))

    def __call__(self, audio, **_):
        """Return the features by transformers' own spectrogram."""
        audio_utils = tf.audio_utils
        mel = audio_utils.mel_filter_bank(257, 80, 0.0, 8000.0, 16000, mel_scale="htk")
        window = audio_utils.window_function(400, "hann")
        options = {"fft_length": 512, "power": 2.0, "mel_filters": mel, "mel_floor": 1e-10, "log_mel": "log10"}
        values = audio_utils.spectrogram(audio, window, 400, 160, **options).T
        logs = torch.from_numpy(values).float()
        logs = logs.maximum(logs.max() - 8) / 4 + 1
        return {"input_features": logs[: len(logs) // 2 * 2].reshape(1, -1, 160)}


class Gemma3n:
    """A complete Gemma 3n as its files hold it; the class itself cannot be built without timm."""

    def __init__(self, encoder):
        self.audio_tower = encoder

    def parameters(self):
        return self.audio_tower.parameters()

    def eval(self):
        self.audio_tower.eval()
        return self

    def save_pretrained(self, folder):
        config = tf.Gemma3nConfig(audio_config=GEMMA3N).to_dict() | {
            "architectures": ["Gemma3nForConditionalGeneration"]
        }
        (Path(folder) / "config.json").write_text(json.dumps(config, default=str))
        weights = {f"model.audio_tower.{name}": value for name, value in self.audio_tower.state_dict().items()}
        others = {"model.language_model.norm.weight": torch.ones(3)}
        save_file(weights | others, Path(folder) / "model.safetensors", metadata={"format": "pt"})


WHISPER_2S = tf.WhisperFeatureExtractor(80, chunk_length=2)
WHISPER_30S = tf.WhisperFeatureExtractor(80)
RAW = tf.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)

SPEECHT5 = {
    "hidden_size": 16, "encoder_layers": BLOCKS, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 30,
    "encoder_layerdrop": 0.9, **CONVOLUTIONS,
}  # fmt: skip
SEAMLESS = {
    "vocab_size": 30, "hidden_size": 16, "encoder_layers": 1, "encoder_ffn_dim": 16, "encoder_attention_heads": 2,
    "decoder_layers": 1, "decoder_ffn_dim": 16, "decoder_attention_heads": 2, "speech_encoder_layers": BLOCKS,
    "speech_encoder_attention_heads": 2, "speech_encoder_intermediate_size": 24, "conv_depthwise_kernel_size": 5,
}  # fmt: skip
PARAKEET = {"model_type": "parakeet_encoder", **SMALL, "subsampling_conv_channels": 8, "num_mel_bins": 80}
LASR = {**SMALL, "subsampling_conv_channels": 8, "num_mel_bins": 128}
NEMOTRON = {**SMALL, "subsampling_conv_channels": 8, "num_mel_bins": 80}
PHI4 = {
    "hidden_size": 16, "intermediate_size": 24, "num_blocks": BLOCKS, "num_attention_heads": 2,
    "ext_pw_out_channel": 16, "depthwise_separable_out_channel": 16, "nemo_conv_channels": 8, "input_size": 80,
}  # fmt: skip
GEMMA3N = {
    "hidden_size": 16, "conf_num_attention_heads": 2, "conf_num_hidden_layers": BLOCKS, "sscp_conv_channel_size": [8, 4]
}  # fmt: skip
OMNI = {**WHISPER_LIKE, "max_source_positions": 100, "n_window": 50, "output_dim": 16}
VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 16}
QWEN3 = {**WHISPER_LIKE, "n_window": 50, "n_window_infer": 100, "output_dim": 16, "downsample_hidden_size": 8}
GRANITE = {
    "hidden_dim": 16, "num_layers": BLOCKS, "num_heads": 2, "dim_head": 8, "input_dim": 160, "output_dim": 12,
    "context_size": 20, "max_pos_emb": 20,
}  # fmt: skip
QFORMER = {
    "model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 24, "encoder_hidden_size": 16, "vocab_size": 30,
}  # fmt: skip
CLAP = {
    "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "patch_embeds_hidden_size": 4, "hidden_size": 32,
    "enable_fusion": True,
}  # fmt: skip


def cohere():
    config = tf.CohereAsrConfig(encoder_config=PARAKEET, head_dim=8, **DECODER)
    return tf.CohereAsrForConditionalGeneration(config)


def canary():
    decoder = {**DECODER, "head_dim": 8}
    return tf.CanaryForConditionalGeneration(
        tf.CanaryConfig(encoder_config=PARAKEET, decoder_config=decoder, vocab_size=30)
    )


def moonshine_streaming_config():
    return MoonshineStreamingEncoderConfig(**SMALL, **ONE_HEAD_FOR_ALL, sliding_windows=[[16, 4], [16, 0]])


def moonshine_streaming():
    config = tf.MoonshineStreamingConfig(encoder_config=moonshine_streaming_config().to_dict(), head_dim=8, **DECODER)
    return tf.MoonshineStreamingForConditionalGeneration(config)


def mimi():
    config = tf.MimiConfig(
        **SMALL, **ONE_HEAD_FOR_ALL, num_filters=4, codebook_size=8, codebook_dim=8,
        vector_quantization_hidden_dimension=8, upsample_groups=16, num_quantizers=2,
    )  # fmt: skip
    return tf.MimiModel(config)


def qwen2_audio():
    audio = {"model_type": "qwen2_audio_encoder", **WHISPER_LIKE, "max_source_positions": 100}
    return tf.Qwen2AudioForConditionalGeneration(tf.Qwen2AudioConfig(audio_config=audio, text_config=TEXT))


def qwen2_5_omni():
    text = {**DECODER, "pad_token_id": 0}
    vision = {**VISION, "fullatt_block_indexes": [0]}
    config = Qwen2_5OmniThinkerConfig(audio_config=OMNI, vision_config=vision, text_config=text)
    return tf.Qwen2_5OmniThinkerForConditionalGeneration(config)


def qwen3_asr():
    text = {**TEXT, "model_type": "qwen3", "head_dim": 8}
    return tf.Qwen3ASRForConditionalGeneration(tf.Qwen3ASRConfig(audio_config=QWEN3, text_config=text))


def audio_flamingo():
    audio = {"model_type": "audioflamingo3_encoder", **SMALL, "num_mel_bins": 80}
    return tf.AudioFlamingo3ForConditionalGeneration(tf.AudioFlamingo3Config(audio_config=audio, text_config=TEXT))


def glmasr():
    audio = {**SMALL, "num_key_value_heads": 2, "num_mel_bins": 80}
    config = tf.GlmAsrConfig(audio_config=audio, text_config={**TEXT, "model_type": "llama"})
    return tf.GlmAsrForConditionalGeneration(config)


def voxtral():
    audio = {"model_type": "voxtral_encoder", **SMALL, "num_mel_bins": 80, "max_source_positions": 100}
    config = tf.VoxtralConfig(audio_config=audio, text_config={**TEXT, "model_type": "llama"})
    return tf.VoxtralForConditionalGeneration(config)


def voxtral_realtime():
    config = tf.VoxtralRealtimeConfig(
        audio_config={**SMALL, "head_dim": 8, "num_mel_bins": 40}, text_config={**DECODER, "head_dim": 8}
    )
    return tf.VoxtralRealtimeForConditionalGeneration(config)


def granite_speech():
    config = tf.GraniteSpeechConfig(
        encoder_config={"model_type": "granite_speech_encoder", **GRANITE},
        text_config=TEXT | {"model_type": "granite"},
        projector_config=QFORMER,
    )
    return tf.GraniteSpeechForConditionalGeneration(config)


def phi4():
    vision = {**SMALL, "num_hidden_layers": 1, "image_size": 28, "crop_size": 28}
    config = tf.Phi4MultimodalConfig(
        **DECODER, pad_token_id=0, bos_token_id=1, eos_token_id=2, audio_config=PHI4, vision_config=vision
    )
    return tf.Phi4MultimodalForCausalLM(config)


def nemotron():
    config = tf.NemotronAsrStreamingConfig(
        encoder_config=NEMOTRON, vocab_size=30, decoder_hidden_size=16, blank_token_id=29
    )
    return tf.NemotronAsrStreamingForRNNT(config)


def speech_encoder_decoder():
    encoder = tf.Wav2Vec2Config(**SMALL, **CONVOLUTIONS)
    decoder = tf.BertConfig(**{k: v for k, v in DECODER.items() if k != "num_key_value_heads"}, is_decoder=True)
    config = tf.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    return tf.SpeechEncoderDecoderModel(config)


def clap():
    text = {k: v for k, v in DECODER.items() if k != "num_key_value_heads"}
    return tf.ClapModel(tf.ClapConfig(audio_config=CLAP, text_config=text))


@dataclass(frozen=True)
class Family:
    """A family of audio towers.

    Attributes:
        build: makes the complete model.
        alone: makes the encoder alone; None where no class of transformers saves it alone.
        extractor: the feature extractor.
        network: name of the class that encodes.
        seconds: lengths whose frames are checked.
        frames: frames of layer 0 for these lengths.
        last: frames of the last layer per frame of layer 0.
        blocks: path of the blocks in the encoder, for classes that return no hidden states.
    """

    build: Callable
    alone: Callable | None
    extractor: Any
    network: str
    frames: tuple[int, int, int]
    last: float = 1.0
    blocks: str = ""
    inputs: dict = field(default_factory=dict)
    seconds: tuple[float, float, float] = (1, 3, 12)


FAMILIES = {
    "cohere": Family(
        cohere, None, tf.CohereAsrFeatureExtractor(feature_size=80, dither=0.0), "ParakeetEncoder", (13, 38, 150)
    ),
    "canary": Family(canary, None, tf.ParakeetFeatureExtractor(), "ParakeetEncoder", (13, 38, 150)),
    "moonshine_streaming": Family(
        moonshine_streaming, lambda: MoonshineStreamingEncoder(moonshine_streaming_config()), RAW,
        "MoonshineStreamingEncoder", (50, 150, 600), inputs={"pad_to_multiple_of": 80},
    ),
    "speecht5": Family(
        lambda: tf.SpeechT5ForSpeechToText(tf.SpeechT5Config(**SPEECHT5)),
        lambda: SpeechT5EncoderWithSpeechPrenet(tf.SpeechT5Config(**SPEECHT5)),
        tf.SpeechT5FeatureExtractor(), "SpeechT5EncoderWithSpeechPrenet", (49, 149, 599),
    ),
    "seamless_m4t": Family(
        lambda: tf.SeamlessM4TForSpeechToText(tf.SeamlessM4TConfig(**SEAMLESS)),
        lambda: SeamlessM4TSpeechEncoder(tf.SeamlessM4TConfig(**SEAMLESS)),
        tf.SeamlessM4TFeatureExtractor(), "SeamlessM4TSpeechEncoder", (49, 149, 599),
    ),
    "seamless_m4t_v2": Family(
        lambda: tf.SeamlessM4Tv2ForSpeechToText(tf.SeamlessM4Tv2Config(**SEAMLESS)),
        lambda: SeamlessM4Tv2SpeechEncoder(tf.SeamlessM4Tv2Config(**SEAMLESS)),
        tf.SeamlessM4TFeatureExtractor(), "SeamlessM4Tv2SpeechEncoder", (49, 149, 599),
    ),
    "speech_encoder_decoder": Family(
        speech_encoder_decoder, None, tf.Wav2Vec2FeatureExtractor(), "Wav2Vec2Model", (49, 149, 599)
    ),
    "lasr": Family(
        lambda: tf.LasrForCTC(tf.LasrCTCConfig(encoder_config=LASR, vocab_size=30)),
        lambda: tf.LasrEncoder(tf.LasrEncoderConfig(**LASR)), tf.LasrFeatureExtractor(), "LasrEncoder", (22, 72, 297),
    ),
    "nemotron_streaming": Family(
        nemotron, lambda: tf.NemotronAsrStreamingEncoder(tf.NemotronAsrStreamingEncoderConfig(**NEMOTRON)),
        tf.NemotronAsrStreamingFeatureExtractor(feature_size=80), "NemotronAsrStreamingEncoder", (14, 39, 151),
    ),
    "granite_speech": Family(
        granite_speech, lambda: GraniteSpeechCTCEncoder(tf.GraniteSpeechEncoderConfig(**GRANITE)),
        GraniteExtractor(), "GraniteSpeechCTCEncoder", (50, 150, 600),
    ),
    "qwen2_audio": Family(
        qwen2_audio,
        lambda: Qwen2AudioEncoder(tf.Qwen2AudioEncoderConfig(**WHISPER_LIKE, max_source_positions=100)),
        WHISPER_2S, "Qwen2AudioEncoder", (50, 100, 600), last=0.5, seconds=(1, 2, 12),
    ),
    "qwen2_5_omni": Family(
        qwen2_5_omni, lambda: Qwen2_5OmniAudioEncoder(Qwen2_5OmniAudioEncoderConfig(**OMNI)), WHISPER_30S,
        "PackedTower", (50, 150, 600), last=0.5, blocks="layers",
    ),
    "qwen3_omni": Family(
        lambda: Qwen3OmniMoeAudioEncoder(Qwen3OmniMoeAudioEncoderConfig(**QWEN3)), None, WHISPER_30S, "PackedTower",
        (13, 39, 156), blocks="layers", inputs={"padding": True},
    ),
    "qwen3_asr": Family(
        qwen3_asr, lambda: Qwen3ASREncoder(tf.Qwen3ASREncoderConfig(**QWEN3)),
        tf.Qwen3ASRFeatureExtractor(feature_size=80), "PackedTower", (13, 39, 156), blocks="layers",
        inputs={"padding": True, "return_attention_mask": True},
    ),
    "audio_flamingo": Family(
        audio_flamingo,
        lambda: tf.AudioFlamingo3Encoder(tf.AudioFlamingo3EncoderConfig(**SMALL, num_mel_bins=80)), WHISPER_30S,
        "AudioFlamingo3Encoder", (50, 150, 600), last=0.5, inputs={"return_attention_mask": True},
    ),
    "glmasr": Family(
        glmasr, lambda: GlmAsrEncoder(tf.GlmAsrEncoderConfig(**SMALL, num_key_value_heads=2, num_mel_bins=80)),
        WHISPER_30S, "GlmAsrEncoder", (50, 150, 600),
    ),
    "voxtral": Family(
        voxtral,
        lambda: tf.VoxtralEncoder(tf.VoxtralEncoderConfig(**SMALL, num_mel_bins=80, max_source_positions=100)),
        WHISPER_2S, "VoxtralEncoder", (50, 100, 600), seconds=(1, 2, 12),
    ),
    "voxtral_realtime": Family(
        voxtral_realtime,
        lambda: VoxtralRealtimeEncoder(tf.VoxtralRealtimeEncoderConfig(**SMALL, head_dim=8, num_mel_bins=40)),
        tf.VoxtralRealtimeFeatureExtractor(feature_size=40), "VoxtralRealtimeEncoder", (50, 150, 600),
    ),
    "phi4_multimodal": Family(
        phi4, lambda: tf.Phi4MultimodalAudioModel(tf.Phi4MultimodalAudioConfig(**PHI4)),
        tf.Phi4MultimodalFeatureExtractor(), "Phi4MultimodalAudioModel", (13, 38, 150), blocks="encoders",
    ),
    "gemma3n": Family(
        lambda: Gemma3n(tf.Gemma3nAudioEncoder(tf.Gemma3nAudioConfig(**GEMMA3N))),
        lambda: tf.Gemma3nAudioEncoder(tf.Gemma3nAudioConfig(**GEMMA3N)), tf.Gemma3nAudioFeatureExtractor(),
        "Gemma3nAudioEncoder", (25, 75, 300), blocks="conformer",
    ),
    "mimi": Family(
        mimi, None, tf.EncodecFeatureExtractor(sampling_rate=24_000), "MimiEncoderModel", (25, 75, 300),
        blocks="encoder_transformer.layers",
    ),
    "encodec": Family(
        lambda: tf.EncodecModel(tf.EncodecConfig(hidden_size=16, num_filters=2, codebook_size=8, codebook_dim=16)),
        None, tf.EncodecFeatureExtractor(), "CodecTower", (75, 225, 900),
    ),
    "dac": Family(
        lambda: tf.DacModel(tf.DacConfig(encoder_hidden_size=2, decoder_hidden_size=16, n_codebooks=2,
                                         codebook_size=8, codebook_dim=4)),
        None, tf.DacFeatureExtractor(), "CodecTower", (31, 93, 375),
    ),
    "clap": Family(
        clap, lambda: tf.ClapAudioModel(tf.ClapAudioConfig(**CLAP)), tf.ClapFeatureExtractor(), "ClapAudioModel",
        (26, 77, 308), last=0.125,
    ),
}  # fmt: skip
"""Name of a family → how to build it and what its frames are."""

ALONE = tuple(name for name, family in FAMILIES.items() if family.alone is not None)


def build(name, *, alone=False):
    """Return a model with random but fixed weights, large enough that all layers matter, and its feature extractor."""
    torch.manual_seed(0)
    family = FAMILIES[name]
    model = family.alone() if alone and family.alone else family.build()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    return model.eval(), family.extractor


def save(directory, name, *, alone=False):
    """Save a model; return its directory as text and the model."""
    model, extractor = build(name, alone=alone)
    return models.save(directory, model, extractor), model


def own_states(name, model, samples, *, alone=False):
    """Return the hidden states (frames, features) of the family's own class, called as its processor would."""
    family = FAMILIES[name]
    encoder = model if alone else _encoder(model)
    rate = family.extractor.sampling_rate
    audio = models.speech_like(samples)
    inputs = dict(family.extractor(audio, sampling_rate=rate, return_tensors="pt", **family.inputs))
    with torch.no_grad():
        states = CALLS.get(name, _hidden_states)(encoder, inputs, family.blocks)
    return [state[0] if state.ndim == 3 else state for state in states]


def _encoder(model):
    if isinstance(model, Gemma3n):
        return model.audio_tower
    found = next((part for part in (model.get_encoder("audio"), model.get_encoder()) if part is not model), model)
    inner = (tf.ClapAudioModel, tf.Phi4MultimodalAudioModel)  # `get_encoder` does not know them
    return next((part for part in model.modules() if isinstance(part, inner)), found) if found is model else found


def _hidden_states(encoder, inputs, _):
    names = [name for name in ("input_features", "input_values", "attention_mask") if name in inputs]
    return encoder(**{name: inputs[name] for name in names}, output_hidden_states=True).hidden_states


def _of_features(encoder, inputs, _):
    name = next(name for name in ("input_features", "input_values") if name in inputs)
    return encoder(inputs[name], output_hidden_states=True).hidden_states


def _without_adapter(encoder, inputs, path):
    encoder.adapter = None  # it follows the last block
    states = list(_hidden_states(encoder, inputs, path))
    return [*states[:-1], encoder(inputs["input_features"], attention_mask=inputs["attention_mask"]).last_hidden_state]


def _with_feature_mask(encoder, inputs, _):
    mask = inputs.get("input_features_mask", inputs.get("attention_mask"))
    return encoder(inputs["input_features"], input_features_mask=mask, output_hidden_states=True).hidden_states


def _recorded(blocks, run):
    """Return the input of the first block and the output of every block."""
    states = []
    hooks = [blocks[0].register_forward_pre_hook(
        lambda _, inputs, named: states.append(inputs[0] if inputs else named["hidden_states"]), with_kwargs=True
    )]  # fmt: skip
    hooks += [
        block.register_forward_hook(lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    end = run()
    for hook in hooks:
        hook.remove()
    return states, end


def _of_blocks(run):
    def states(encoder, inputs, path):
        return _recorded(encoder.get_submodule(path), lambda: run(encoder, inputs))[0]

    return states


def _omni(encoder, inputs, path):
    steps = torch.tensor([FRAMES_OF_SECOND])
    features = inputs["input_features"][0, :, :FRAMES_OF_SECOND]
    states, _ = _recorded(encoder.get_submodule(path), lambda: encoder(features, steps))
    last = states[-1]
    if isinstance(encoder, Qwen2_5OmniAudioEncoder):
        last = (last[0::2] + last[1::2]) / 2
    return [*states[:-1], encoder.ln_post(last)]


def _qwen3_asr(encoder, inputs, path):
    mask = inputs["attention_mask"]
    states, _ = _recorded(encoder.get_submodule(path), lambda: encoder(inputs["input_features"], mask))
    return [*states[:-1], encoder.ln_post(states[-1])]


def _codec(encoder, inputs, _):
    parts, hidden, states = encoder, inputs["input_values"], []
    stages = parts.layers if hasattr(parts, "layers") else [parts.conv1, *parts.block, parts.snake1, parts.conv2]
    for stage in stages:
        hidden = stage(hidden)
        states.append(hidden.transpose(1, 2))
    kept = (-4, -3, -1) if hasattr(parts, "layers") else (-3, -1)
    return [states[i] for i in kept]


def _clap(encoder, inputs, _):
    is_longer = torch.tensor([[False]])
    states = encoder(inputs["input_features"], is_longer=is_longer, output_hidden_states=True).hidden_states
    chunks = 4  # a spectrogram of 64 bands becomes a square of 256
    return [torch.cat([part.mean(2).transpose(1, 2) for part in state.chunk(chunks, dim=2)], dim=1) for state in states]


FRAMES_OF_SECOND = 100
"""Spectrogram frames of the audio that the states of packed towers are compared for."""

CALLS = {
    "audio_flamingo": _with_feature_mask,
    "glmasr": _of_features,
    "voxtral": _of_features,
    "qwen2_audio": _of_features,
    "granite_speech": _of_features,
    "seamless_m4t": _without_adapter,
    "seamless_m4t_v2": _without_adapter,
    "qwen2_5_omni": _omni,
    "qwen3_omni": _omni,
    "qwen3_asr": _qwen3_asr,
    "phi4_multimodal": _of_blocks(lambda encoder, inputs: encoder(inputs["audio_input_features"], None)),
    "gemma3n": _of_blocks(lambda encoder, inputs: encoder(inputs["input_features"], ~inputs["input_features_mask"])),
    "mimi": _of_blocks(lambda encoder, inputs: encoder(inputs["input_values"])),
    "encodec": _codec,
    "dac": _codec,
    "clap": _clap,
}  # fmt: skip
"""Families whose class is called in another way, or returns no hidden states."""
