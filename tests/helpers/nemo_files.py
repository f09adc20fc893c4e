"""Checkpoints of NVIDIA NeMo for tests: the stored ones, and copies with changes."""

import copy
import io
import tarfile
from functools import cache
from pathlib import Path

import torch
import yaml

FOLDER = Path(__file__).parent.parent / "data" / "nemo"
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def stored(name):
    """Return the path of a checkpoint that NeMo saved."""
    return FOLDER / f"{name}.nemo"


def read(name):
    """Return the configuration and the weights of a stored checkpoint, as copies."""
    config, weights = _read(name)
    return copy.deepcopy(config), dict(weights)


@cache
def _read(name):
    with tarfile.open(stored(name)) as archive:
        config = yaml.safe_load(archive.extractfile(f"./{CONFIG}").read())
        weights = io.BytesIO(archive.extractfile(f"./{WEIGHTS}").read())
    return config, torch.load(weights, weights_only=True)


def weight_bytes(weights):
    """Return weights as torch saves them."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def write(path, members, mode="w"):
    """Write a tar archive of members: name → bytes, or a prepared `TarInfo` without contents."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def save(path, config, weights, mode="w"):
    """Write a checkpoint with this configuration and these weights."""
    return write(path, {CONFIG: yaml.safe_dump(config).encode(), WEIGHTS: weight_bytes(weights)}, mode)
