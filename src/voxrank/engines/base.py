"""What every engine is: models in, their sketches out, wherever the work is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Protocol, Self

from voxrank.cache.store import Cache
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions
from voxrank.data.shards import Shard
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.engines.local import LocalEngine, ModelSketch
from voxrank.errors import OptionError
from voxrank.extraction.shard import OnAudio
from voxrank.targets.labels import Targets


class Runner(Protocol):
    """One model, held ready."""

    def sketch(
        self,
        shards: Sequence[Shard],
        targets: Targets,
        layers: Sequence[SketchedLayer],
        options: ExtractionOptions,
        on_audio: OnAudio,
        cache: Cache | None = None,
    ) -> ModelSketch:
        """Sketch every shard and merge; the answer is the same whatever the engine.

        Args:
            shards: what to encode, in order of block.
            targets: of all utterances.
            layers: what to sketch.
            options: of the extraction.
            on_audio: told of progress.
            cache: holds what need not be encoded, and keeps what is.

        Raises:
            RunError: memory ran out on a single window, or workers were lost again and again.
        """


class Engine(Protocol):
    """Where models run: a context, at whose end nothing of it is left behind."""

    def __enter__(self) -> Self:
        """Make it ready."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all that it holds."""

    def runner(self, spec: str, take: Callable[[], Encoder]) -> Runner:
        """Hold a model ready, and let go of the one before.

        Args:
            spec: of the model.
            take: gives its encoder, loaded in this process; an engine that runs elsewhere does not call it.
        """


def engine_of(options: EngineOptions, encoding: EncoderOptions, note: Callable[[str], None]) -> Engine:
    """The engine that was asked for, not yet begun.

    Args:
        options: which, and its size.
        encoding: how encoders are loaded.
        note: told, in one line, what the user should know.

    Raises:
        OptionError: its package is not installed, or it does not suit the other options.
    """
    if options.name == "local":
        return LocalEngine(encoding)
    if find_spec("ray") is None:
        raise OptionError("--engine ray needs the extra ray; run: pip install 'voxrank[ray]'")
    from voxrank.engines.ray.engine import RayEngine

    return RayEngine(options, encoding, note)
