"""Keys of the cache: digests of everything that sketches depend on. Paths and times of files are not part of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from voxrank.config import EncoderOptions
from voxrank.data.sources import AudioSource, Stamp
from voxrank.encoders.base import Encoder, code_digest
from voxrank.encoders.joint import JointLayer, LayerVersion, SketchedLayer
from voxrank.targets.labels import Targets
from voxrank.targets.timeline import Timeline

AudioLocation = Path | AudioSource
"""Location of audio: a file, or an object that holds audio."""
KEY_LENGTH, CHECKSUM_LENGTH = 32, 16
"""Lengths of keys and checksums in hex digits."""


def layer_name(layer: SketchedLayer) -> str:
    """Return the name of a sketched layer within its model, the same in every run.

    A joint layer is named by its parts.
    """
    if isinstance(layer, LayerVersion):
        return f"{layer_name(layer.layer)} by labels {layer.version}"
    if isinstance(layer, JointLayer):
        return f"{layer.kind} of {'+'.join(map(str, layer.parts))}"
    return str(layer.index)


def model_key(encoder: Encoder, options: EncoderOptions) -> str | None:
    """Return a digest of everything that an encoder's frames depend on; None where the encoder does not expose it.

    Encoders of plug-ins must expose weights or settings; the version of their package and their code are part of the
    digest, too. Encoders of voxrank without weights need to expose nothing.

    Args:
        encoder: the model.
        options: options that the model was loaded with.
    """
    weights, settings, kind = encoder.weights(), encoder.settings(), type(encoder)
    built_in = _is_built_in(kind)
    if not weights and not settings and (encoder.parameters or not built_in):
        return None
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    description = {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "settings": settings,
        "layers": [asdict(layer) for layer in encoder.layers],
        "sample_rate": encoder.sample_rate,
        "windows": [encoder.window_samples, encoder.min_samples],
        "device": encoder.device.type,
        "dtype": options.dtype,
        "whisper_window": _window_kind(options, built_in=built_in),
    }
    if not built_in:
        description["by"] = [
            encoder.origin,
            code_digest(x for x in kind.__mro__ if issubclass(x, Encoder) and not _is_built_in(x)),
        ]
    return digest_of([description, digest.hexdigest()])


def _window_kind(options: EncoderOptions, *, built_in: bool) -> str:
    """Return the option; "auto" is "full" for models of voxrank, except that Whisper's settings hold its rule."""
    return "full" if built_in and options.whisper_window == "auto" else options.whisper_window


def _is_built_in(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "voxrank"


@dataclass(frozen=True, slots=True)
class AudioDigest:
    """A digest of the content of audio, and the stamp (size, time and place) of the version that was read."""

    content: str
    stamp: Stamp


def digest_of(content: Any) -> str:
    """Return the digest of a value that JSON can represent."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_LENGTH]


def checksum_of(path: Path) -> str:
    """Return the checksum of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:CHECKSUM_LENGTH]


def classes_of(targets: Targets) -> Any:
    """Return the parts of targets, beside the timelines, that sums of labelled frames depend on."""
    timed = targets.timed
    return None if timed is None else [targets.names, timed.rest, timed.rest_share, timed.gap_share]


def timeline_parts(timeline: Timeline) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a timeline."""
    return timeline.starts, timeline.ends, timeline.symbols
