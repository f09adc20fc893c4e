"""Digests of audio and keys of models, which an engine computes where audio is read and models are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxrank.cache.keys import AudioDigest, model_key
from voxrank.cache.store import Cache, audio_digest
from voxrank.config import EncoderOptions
from voxrank.data.shards import Item
from voxrank.encoders.base import Encoder
from voxrank.engines.task import Lend, Task

if TYPE_CHECKING:
    from voxrank.engines.base import Engine

PART_FILES = 500
"""Number of audio files in a part of the work."""


@dataclass(frozen=True)
class DigestAudio(Task[Sequence[Item], "list[AudioDigest | None]"]):
    """The task to compute the digests of audio.

    Attributes:
        threads: number of threads that read files.
    """

    threads: int

    def items(self, part: Sequence[Item]) -> Sequence[Item]:
        """Return the utterances, one for each file."""
        return part

    def run(
        self,
        part: Sequence[Item],
        lend: Lend,  # noqa: ARG002
        options: EncoderOptions,  # noqa: ARG002
    ) -> list[AudioDigest | None]:
        """Return the digest of the audio of each utterance; None where it cannot be read."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(lambda item: audio_digest(item.utterance.location), part))


class KeyModels(Task[str, "str | None"]):
    """The task to compute the keys of models (`cache.keys.model_key`)."""

    def run(self, part: str, lend: Lend, options: EncoderOptions) -> str | None:
        """Return the key of the model of a spec; None where it does not expose its weights."""
        return model_key(lend(part), options)


def digest_audio(engine: Engine, cache: Cache, items: Iterable[Item], threads: int) -> None:
    """Compute the digests of audio files that a cache does not know, and let it know them.

    Args:
        engine: computes the digests.
        cache: the cache.
        items: utterances.
        threads: number of threads of each process that read files.
    """
    unknown = cache.undigested(items)
    parts = [unknown[begin : begin + PART_FILES] for begin in range(0, len(unknown), PART_FILES)]
    sent = ([item.to_encode() for item in part] for part in parts)
    for part, digests in zip(parts, engine.map(DigestAudio(threads), sent, refuse), strict=True):
        cache.adopt({item.utterance.location: digest for item, digest in zip(part, digests, strict=True) if digest})


def key_models(
    engine: Engine, cache: Cache, specs: Sequence[str], options: EncoderOptions, lend: Lend
) -> list[str | None]:
    """Compute the keys of models that a cache does not know, let it know them, and return the keys of all models.

    Args:
        engine: computes the keys.
        cache: the cache.
        specs: specs of the models.
        options: options that the models are loaded with.
        lend: returns an encoder, loaded in this process.

    Returns:
        The key of each model; None where it does not expose its weights.
    """
    unknown = [spec for spec in specs if not cache.knows_model(spec, options)]
    for spec, key in zip(unknown, engine.map(KeyModels(), unknown, lend), strict=True):
        cache.adopt_model(spec, options, key)
    return [cache.known_key(spec, options) for spec in specs]


def refuse(spec: str) -> Encoder:
    """Refuse to lend a model in this process, where work needs none."""
    raise TypeError(f"{spec} is not loaded in this process")
