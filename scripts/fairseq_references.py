"""Write small fairseq checkpoints and the frames that fairseq computes with them: `fairseq_references.py FOLDER`.

The tests read the result, `tests/data/fairseq`. fairseq 0.12.2 has a wheel for Python 3.8, and needs old versions of
its dependencies, so that it has an environment of its own::

    python3.8 -m venv /tmp/fairseq
    /tmp/fairseq/bin/pip install --no-deps fairseq==0.12.2 torch==1.10.2 numpy==1.23.5 omegaconf==2.0.6 \
        hydra-core==1.0.7 antlr4-python3-runtime==4.8 PyYAML bitarray cffi cython lxml portalocker pycparser regex \
        sacrebleu==2.3.1 soundfile tabulate colorama tqdm typing_extensions
    /tmp/fairseq/bin/python scripts/fairseq_references.py tests/data/fairseq

fairseq's own models, tasks and trainer make the files. The weights are random and seeded.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import tasks
from fairseq.checkpoint_utils import torch_persistent_save
from fairseq.dataclass.configs import FairseqConfig
from fairseq.examples.data2vec.models import data2vec_audio  # noqa: F401, registers the model
from fairseq.trainer import Trainer
from omegaconf import OmegaConf, open_dict

SAMPLES = 4_801
SEED = 7
RATE = 16_000

SMALL = {
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 2,
    "conv_feature_layers": "[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(12,2,2)] + [(12,2,2)]",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "final_dim": 8,
    "dropout": 0.1,
    "encoder_layerdrop": 0.05,
}
QUANTISER = {"quantize_targets": True, "latent_vars": 6, "latent_groups": 2, "latent_dim": 8}
LARGE = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
DEEP = {"extractor_mode": "layer_norm", "conv_pos": 15, "pos_conv_depth": 3, "average_top_k_layers": 2}
TUNED = {"apply_mask": True, "mask_prob": 0.5, "layerdrop": 0.1, "w2v_args": None}

PRETRAINING = {"_name": "audio_pretraining", "data": "data"}
CLUSTERS = {"_name": "hubert_pretraining", "data": "data", "labels": ["km"], "label_rate": 50.0}
LETTERS = {"_name": "audio_finetuning", "data": "data", "labels": "ltr"}
HUBERT_LETTERS = {**CLUSTERS, "labels": ["ltr"], "fine_tuning": True, "label_rate": -1.0}

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wav2vec2": ({"_name": "wav2vec2", **SMALL, **QUANTISER}, PRETRAINING),
    "wav2vec2_large": ({"_name": "wav2vec2", **SMALL, **QUANTISER, **LARGE}, {**PRETRAINING, "normalize": True}),
    "wav2vec2_unprojected": (
        {"_name": "wav2vec2", **SMALL, "encoder_embed_dim": 12, "activation_fn": "relu"},
        PRETRAINING,
    ),
    "wav2vec2_ctc": ({"_name": "wav2vec_ctc", "w2v_path": "wav2vec2.pt", **TUNED}, LETTERS),
    "hubert": ({"_name": "hubert", "label_rate": 50.0, **SMALL}, CLUSTERS),
    "hubert_large": (
        {"_name": "hubert", "label_rate": 50.0, "untie_final_proj": True, **SMALL, **LARGE},
        {**CLUSTERS, "normalize": True},
    ),
    "hubert_ctc": (
        {"_name": "hubert_ctc", "w2v_path": "hubert_large.pt", **TUNED},
        {**HUBERT_LETTERS, "normalize": True},
    ),
    "data2vec": ({"_name": "data2vec_audio", **SMALL, **DEEP}, {**PRETRAINING, "normalize": True}),
    "data2vec_ctc": (
        {"_name": "wav2vec_ctc", "w2v_path": "data2vec.pt", **TUNED},
        {**LETTERS, "normalize": True},
    ),
}
"""Name of the file → the fields of its model and of its task."""

LIGHT = ("wav2vec2_unprojected", "hubert_large", "hubert_ctc", "data2vec_ctc")
"""Files without the state of the optimiser, as authors often publish them."""

FORMS = {"wav2vec2_large": "args", "hubert": "containers"}
"""Files in the forms of older versions: a Namespace in torch's format before zip, and containers of omegaconf."""


def waveform() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return noise with an offset and a changing level."""
    noise = np.random.default_rng(SEED).standard_normal(SAMPLES)
    level = 0.5 + 0.4 * np.sin(np.arange(SAMPLES) / 300)
    values: np.ndarray[Any, np.dtype[np.float32]] = (0.1 + level * noise).astype(np.float32)
    return values


def build_trainer(name: str) -> Any:
    """Return fairseq's trainer with a random model of its class, after one step of its optimiser."""
    torch.manual_seed(SEED)
    model_fields, task_fields = MODELS[name]
    cfg = OmegaConf.structured(FairseqConfig)
    with open_dict(cfg):
        cfg.common.cpu = True
        cfg.common.fp16 = False
        cfg.checkpoint.no_save_optimizer_state = name in LIGHT
        cfg.optimization.lr = [0.0]
        cfg.optimization.max_update = 10
        cfg.optimizer = {"_name": "adam", "adam_betas": "(0.9, 0.98)"}
        cfg.lr_scheduler = {"_name": "fixed"}
        cfg.task = _structured(tasks.TASK_DATACLASS_REGISTRY, task_fields)
        cfg.criterion = {"_name": "model" if "ctc" not in name else "ctc"}
        cfg.model = _structured(_model_registry(), model_fields)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    criterion = task.build_criterion(cfg.criterion)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, 0, 0.15)
        else:
            weight.data.add_(0.1 * torch.randn_like(weight))
    trainer = Trainer(cfg, task, model, criterion)
    if hasattr(model, "set_num_updates"):
        model.set_num_updates(1)  # data2vec makes its teacher
    sum((weight**2).sum() for weight in model.parameters()).backward()
    trainer.optimizer.step()
    return trainer


def _structured(registry: dict[str, Any], fields: dict[str, Any]) -> Any:
    return OmegaConf.merge(OmegaConf.structured(registry[fields["_name"]]), fields)


def _model_registry() -> dict[str, Any]:
    from fairseq.models import MODEL_DATACLASS_REGISTRY

    registry: dict[str, Any] = MODEL_DATACLASS_REGISTRY
    return registry


def save(trainer: Any, name: str, file: Path) -> None:
    """Save the training as fairseq does, or as its older versions did."""
    trainer.consolidate_optimizer()
    form = FORMS.get(name)
    if form is None:
        trainer.save_checkpoint(str(file), {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": 1.5})
        return
    state = trainer.state_dict()
    state.pop("last_optimizer_state", None)
    if form == "containers":
        state["cfg"] = OmegaConf.create(state["cfg"])  # enumerations of fairseq cannot be pickled
        torch_persistent_save(state, str(file))
        return
    cfg = state.pop("cfg")
    flat = {key: value for key, value in {**cfg["task"], **cfg["model"]}.items() if key != "_name"}
    state["args"] = argparse.Namespace(arch=cfg["model"]["_name"], task=cfg["task"]["_name"], **flat)
    state["model"] = {key: value.half() for key, value in state["model"].items()}
    torch.save(state, str(file), _use_new_zipfile_serialization=False)


def frames(trainer: Any, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the input of the first block, and the output of every block, as fairseq computes them."""
    model = trainer.model.eval()
    if FORMS.get(name) == "args":
        model.half().float()  # the file holds half precision
    encoder = model.w2v_encoder.w2v_model if "ctc" in name else model
    states: list[torch.Tensor] = []
    layers = encoder.encoder.layers
    layers[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    for layer in layers:
        layer.register_forward_hook(lambda _, __, output: states.append(output[0]))
    values = torch.from_numpy(waveform())
    if MODELS[name][1].get("normalize"):
        values = torch.nn.functional.layer_norm(values, values.shape)
    with torch.no_grad():
        output = encoder.extract_features(values[None], padding_mask=None, mask=False)
    last = (output["x"] if isinstance(output, dict) else output[0])[0]
    rows = [state[: len(last), 0] for state in states[:-1]] + [last]
    return {f"layer{index}": row.numpy() for index, row in enumerate(rows)}


def main(folder: str) -> None:
    """Write the checkpoints and the frames of all models."""
    target = Path(folder).resolve()
    target.mkdir(parents=True, exist_ok=True)
    os.chdir(target)  # so that the files name no other folder
    Path("data").mkdir(exist_ok=True)
    for labels, count in (("km", 5), ("ltr", 6)):
        Path(f"data/dict.{labels}.txt").write_text("".join(f"{i} 1\n" for i in range(count)), encoding="utf-8")
    expected = {"waveform": waveform()}
    for name in MODELS:
        trainer = build_trainer(name)
        save(trainer, name, Path(f"{name}.pt"))
        expected.update({f"{name}.{layer}": rows for layer, rows in frames(trainer, name).items()})
        print(f"{name}: {Path(f'{name}.pt').stat().st_size:,} bytes")
    np.savez_compressed("frames.npz", **expected)  # type: ignore[arg-type]
    for labels in ("km", "ltr"):
        Path(f"data/dict.{labels}.txt").unlink()
    Path("data").rmdir()


if __name__ == "__main__":
    main(sys.argv[1])
