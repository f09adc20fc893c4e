"""What sketches follow from → the names that they are found by: digests of content, never of places or times."""

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
from voxrank.encoders.base import Encoder
from voxrank.encoders.code import code_digest
from voxrank.encoders.joint import JointLayer, LayerVersion, SketchedLayer
from voxrank.targets.labels import Targets
from voxrank.targets.timeline import Timeline

Place = Path | AudioSource
"""Where audio is."""
KEY_LENGTH, CHECKSUM_LENGTH = 32, 16
"""Hex digits."""


def layer_name(layer: SketchedLayer) -> str:
    """Return what identifies a sketched layer within its model, in every run: a joint layer is named by its parts."""
    if isinstance(layer, LayerVersion):
        return f"{layer_name(layer.layer)} by labels {layer.version}"
    if isinstance(layer, JointLayer):
        return f"{layer.kind} of {'+'.join(map(str, layer.parts))}"
    return str(layer.index)


def model_key(encoder: Encoder, options: EncoderOptions) -> str | None:
    """A digest of all that an encoder's frames follow from; None where it does not tell what that is.

    Encoders that are not voxrank's own tell weights or settings, and are known by their package's version and their
    code besides; voxrank's own without weights need tell nothing.

    Args:
        encoder: the model.
        options: that it was loaded with.
    """
    weights, settings, kind = encoder.weights(), encoder.settings(), type(encoder)
    own = _is_own(kind)
    if not weights and not settings and (encoder.parameters or not own):
        return None
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    how = {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "settings": settings,
        "layers": [asdict(layer) for layer in encoder.layers],
        "sample_rate": encoder.sample_rate,
        "windows": [encoder.window_samples, encoder.min_samples],
        "device": encoder.device.type,
        "dtype": options.dtype,
        "whisper_window": options.whisper_window,
    }
    if not own:
        how["by"] = [encoder.origin, code_digest(x for x in kind.__mro__ if issubclass(x, Encoder) and not _is_own(x))]
    return digest_of([how, digest.hexdigest()])


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "voxrank"


@dataclass(frozen=True)
class AudioDigest:
    """Of a file's content, and what told it from a later one: size, time and place."""

    content: str
    stamp: Stamp


def digest_of(content: Any) -> str:
    """Of what JSON can say."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_LENGTH]


def checksum_of(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:CHECKSUM_LENGTH]


def classes_of(targets: Targets) -> Any:
    """What the sums of labelled frames depend on beside the timelines."""
    timed = targets.timed
    return None if timed is None else [targets.names, timed.rest, timed.rest_share]


def timeline_parts(timeline: Timeline) -> tuple[NDArray[Any], ...]:
    """All that it is made of."""
    return timeline.starts, timeline.ends, timeline.symbols
