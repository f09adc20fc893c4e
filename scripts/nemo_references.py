"""Save small random models with NVIDIA NeMo itself, and the frames that NeMo computes at every layer.

The files are the test data of `tests/data/nemo`. NeMo needs an environment of its own:

    python -m venv /tmp/nemo
    /tmp/nemo/bin/pip install "nemo_toolkit[asr]==2.7.3"
    /tmp/nemo/bin/python scripts/nemo_references.py

PyTorch may be any build, such as the one for CPUs. Weights and audio come from fixed seeds.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "nemo"
RATE_HZ = 16_000
LENGTHS = (20_000, 12_345)
"""Samples of the two waveforms, which are encoded alone and in one batch."""
WIDTH = 16
LETTERS = list("abcdefgh")
PATCHES = {"_target_": "nemo.collections.asr.modules.MaskedPatchAugmentation", "patch_size": 8}
FAST = {"subsampling": "dw_striding", "subsampling_factor": 8, "conv_kernel_size": 9, "xscaling": False}


def encoder(**settings: Any) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": 80,
        "feat_out": -1,
        "n_layers": 3,
        "d_model": WIDTH,
        "n_heads": 2,
        "subsampling": "striding",
        "subsampling_factor": 4,
        "subsampling_conv_channels": 8,
        "conv_kernel_size": 31,
        **settings,
    }


def preprocessor(**settings: Any) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": RATE_HZ,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "log": True,
        "dither": 1e-5,
        "pad_to": 0,
        **settings,
    }


def ctc_decoder() -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": WIDTH,
        "num_classes": len(LETTERS),
        "vocabulary": LETTERS,
    }


def transducer(**joint: Any) -> dict[str, Any]:
    return {
        "labels": LETTERS,
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 5}},
        "loss": {"loss_name": "default"},
        "model_defaults": {"enc_hidden": WIDTH, "pred_hidden": 8, "joint_hidden": 8},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "prednet": {"pred_hidden": 8, "pred_rnn_layers": 1},
            "vocab_size": len(LETTERS),
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "jointnet": {"encoder_hidden": WIDTH, "pred_hidden": 8, "joint_hidden": 8, "activation": "relu"},
            "num_classes": len(LETTERS),
            "vocabulary": LETTERS,
            **joint,
        },
    }


def asr(features: dict[str, Any], network: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"sample_rate": RATE_HZ, "preprocessor": features, "encoder": network, **parts}


def ctc(**settings: Any) -> tuple[str, dict[str, Any]]:
    return "EncDecCTCModel", asr(preprocessor(), encoder(**settings), decoder=ctc_decoder())


def limited() -> tuple[str, dict[str, Any]]:
    features = preprocessor(exact_pad=True, mag_power=1.0, log_zero_guard_value="eps", n_fft=400)
    network = encoder(att_context_size=[5, 3], feat_out=8)
    return "EncDecCTCModel", asr(features, network, decoder=ctc_decoder() | {"feat_in": 8})


def tdt() -> tuple[str, dict[str, Any]]:
    durations = [0, 1, 2]
    parts = transducer(num_extra_outputs=len(durations))
    parts["model_defaults"] |= {"tdt_durations": durations, "num_tdt_durations": len(durations)}
    parts["loss"] = {"loss_name": "tdt", "tdt_kwargs": {"durations": durations, "sigma": 0.02}}
    parts["decoding"] |= {"model_type": "tdt", "durations": durations}
    network = encoder(**FAST, feat_in=128, use_bias=False)
    return "EncDecRNNTModel", asr(preprocessor(features=128), network, **parts)


def hybrid() -> tuple[str, dict[str, Any]]:
    parts = transducer()
    auxiliary = {"decoder": ctc_decoder(), "ctc_loss_weight": 0.3, "ctc_reduction": "mean_batch"}
    features = preprocessor(pad_to=16, preemph=None, normalize="NA", log_zero_guard_type="clamp")
    return "EncDecHybridRNNTCTCModel", asr(features, encoder(**FAST, use_bias=False), aux_ctc=auxiliary, **parts)


def contrastive() -> tuple[str, dict[str, Any]]:
    loss = {"_target_": "nemo.collections.asr.losses.ContrastiveLoss", "in_dim": 80, "proj_dim": 8}
    decoder = {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoderReconstruction",
        "feat_in": WIDTH, "feat_hidden": 8, "feat_out": 8, "stride_layers": 0,
    }  # fmt: skip
    features = preprocessor(pad_to=16, normalize="all_features")
    return "SpeechEncDecSelfSupervisedModel", asr(
        features, encoder(untie_biases=False), decoder=decoder, loss=loss, spec_augment=PATCHES
    )


def masked_tokens() -> tuple[str, dict[str, Any]]:
    ssl = "nemo.collections.asr.modules.ssl_modules"
    quantizer = {
        "_target_": f"{ssl}.RandomProjectionVectorQuantizer", "feat_in": 80, "code_dim": 4, "num_books": 1,
        "num_classes": 16, "dist_fn": "l2", "freeze": True, "squeeze_single": True, "combine_time_steps": 8,
    }  # fmt: skip
    masking = {
        "_target_": f"{ssl}.RandomBlockMasking", "feat_in": 80, "block_size": 40, "mask_prob": 0.01, "freeze": True,
        "allow_overlap": True, "mask_value": None,
    }  # fmt: skip
    decoder = {
        "_target_": f"{ssl}.MultiSoftmaxDecoder", "feat_in": WIDTH, "num_classes": 16, "num_decoders": 1,
        "squeeze_single": True, "use_bias": True,
    }  # fmt: skip
    loss = {"_target_": "nemo.collections.asr.losses.MultiMLMLoss", "combine_time_steps": 8, "num_decoders": 1,
            "squeeze_single": True, "mask_threshold": 0.8}  # fmt: skip
    return "EncDecMaskedTokenPredModel", asr(
        preprocessor(),
        encoder(**FAST),
        quantizer=quantizer,
        masking=masking,
        decoder=decoder,
        loss=loss,
        spec_augment=PATCHES,
        mask_position="post_conv",
        num_books=1,
        squeeze_single=True,
    )


MODELS: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
    "fastconformer_ctc": lambda: ctc(**FAST),
    "conformer_rnnt": lambda: ("EncDecRNNTModel", asr(preprocessor(pad_to=16), encoder(), **transducer())),
    "fastconformer_hybrid": hybrid,
    "fastconformer_tdt": tdt,
    "conformer_ssl": contrastive,
    "fastconformer_ssl": masked_tokens,
    "fastconformer_streaming": lambda: ctc(
        **FAST,
        causal_downsampling=True,
        att_context_size=[[4, 1], [4, 0]],
        att_context_style="chunked_limited",
        conv_context_size="causal",
        conv_norm_type="layer_norm",
    ),
    "conformer_limited": limited,
    "fastconformer_local": lambda: ctc(
        **FAST, self_attention_model="rel_pos_local_attn", att_context_size=[3, 3]
    ),
}  # fmt: skip
COMPRESSED = ("conformer_rnnt", "fastconformer_hybrid", "conformer_limited", "fastconformer_local")
"""Models whose files are compressed, as those of old versions of NeMo are."""


def build(name: str) -> Any:
    """Return a model with random weights, large enough that every part matters."""
    from nemo.collections.asr import models
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    kind, settings = MODELS[name]()
    model = getattr(models, kind)(cfg=OmegaConf.create(settings)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, weight in model.encoder.state_dict().items():
            if key.endswith("running_var"):
                weight.uniform_(0.5, 2.0, generator=generator)
            elif weight.is_floating_point() and "norm" in key and key.endswith("weight"):
                weight.normal_(1.0, 0.2, generator=generator)
            elif weight.is_floating_point():
                weight.normal_(0.0, 0.2, generator=generator)
    return model


def audio() -> list[np.ndarray[Any, Any]]:
    """Return 16-bit noise with a changing level."""
    rng = np.random.default_rng(0)
    levels = [6_000 + 4_000 * np.sin(np.arange(n) / 700) for n in LENGTHS]
    return [(level * rng.uniform(-1, 1, len(level))).astype(np.int16) for level in levels]


@contextmanager
def recorded(blocks: Sequence[torch.nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Record the input of the first block, and the output of every block."""
    states: list[torch.Tensor] = []
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _, __, named: states.append(named["x"]), with_kwargs=True),
        *(block.register_forward_hook(lambda _, __, output: states.append(output)) for block in blocks),
    ]
    yield states
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def frames(model: Any, waveforms: Sequence[np.ndarray[Any, Any]]) -> list[list[torch.Tensor]]:
    """Return the valid frames of every layer of each waveform, from one batch."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.zeros(len(waveforms), int(lengths.max()))
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform / np.float32(32_768))
    features, steps = model.preprocessor(input_signal=batch, length=lengths)
    with recorded(model.encoder.layers) as states:
        _, counts = model.encoder(audio_signal=features, length=steps)
    return [[state[row, :count].clone() for state in states] for row, count in enumerate(counts.tolist())]


def references(model: Any) -> dict[str, torch.Tensor]:
    waveforms = audio()
    cases = {"batch": frames(model, waveforms), "alone": [frames(model, [waveform])[0] for waveform in waveforms]}
    return {
        f"{case}.{row}.{layer}": state.contiguous()
        for case, rows in cases.items()
        for row, layers in enumerate(rows)
        for layer, state in enumerate(layers)
    }


def compress(path: Path) -> None:
    plain = path.with_suffix(".tar")
    path.rename(plain)
    with plain.open("rb") as source, gzip.GzipFile(path, "wb", mtime=0) as target:
        shutil.copyfileobj(source, target)
    plain.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="models to save; default: all")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {str(n): torch.from_numpy(waveform) for n, waveform in enumerate(audio())}, arguments.out / "audio.safetensors"
    )
    for name in arguments.names or MODELS:
        path = arguments.out / f"{name}.nemo"
        model = build(name)
        save_file(references(model), path.with_suffix(".safetensors"))
        model.save_to(str(path))
        if name in COMPRESSED:
            compress(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
