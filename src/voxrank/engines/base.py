"""The interface of engines. They take models and give their sketches, in this process or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from voxrank._support.packages import require
from voxrank.cache.store import Cache
from voxrank.config import EncoderOptions, EngineOptions, ExtractionOptions
from voxrank.data.shards import Shard
from voxrank.encoders.base import Encoder
from voxrank.encoders.joint import SketchedLayer
from voxrank.engines.local import LocalEngine, ModelSketch
from voxrank.engines.task import Lend, Part, Result, Task
from voxrank.extraction.shard import OnAudio
from voxrank.targets.labels import Targets


class Runner(Protocol):
    """A runner, which holds one model ready to encode."""

    def sketch(
        self,
        shards: Sequence[Shard],
        targets: Targets,
        layers: Sequence[SketchedLayer],
        options: ExtractionOptions,
        on_audio: OnAudio,
        cache: Cache | None = None,
    ) -> ModelSketch:
        """Sketch every shard and merge the sketches; the result does not depend on the engine.

        Args:
            shards: shards to encode, in order of block.
            targets: targets of all utterances.
            layers: layers to sketch.
            options: options of the extraction.
            on_audio: receives the progress.
            cache: the cache of sketches; None to encode everything.

        Raises:
            RunError: memory ran out on a single window, or workers were lost repeatedly.
        """


class Engine(Protocol):
    """An engine, which runs models and tasks. It is a context manager that releases all its resources at the end."""

    def __enter__(self) -> Self:
        """Return the engine, which starts when it is first needed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release all resources."""

    def runner(self, spec: str, take: Callable[[], Encoder]) -> Runner:
        """Return a runner of a model, and release the previous model.

        Args:
            spec: spec of the model.
            take: returns its encoder, loaded in this process; an engine that runs elsewhere does not call it.
        """

    def map(self, task: Task[Part, Result], parts: Iterable[Part], lend: Lend) -> Iterator[Result]:
        """Do the work of a task on each part, and yield the results in the order of the parts.

        The results do not depend on the engine. Parts are taken as they are needed.

        Args:
            task: the task.
            parts: the parts.
            lend: returns an encoder, loaded in this process; an engine that runs elsewhere does not call it.

        Raises:
            RunError: workers were lost repeatedly.
        """


def engine_of(options: EngineOptions, encoding: EncoderOptions, note: Callable[[str], None]) -> Engine:
    """Return the engine that the options name, not started yet.

    Args:
        options: name and size of the engine.
        encoding: options that encoders are loaded with.
        note: receives notes for the user, one line each.

    Raises:
        OptionError: the package of the engine is not installed, or the engine does not suit the other options.
    """
    if options.name == "local":
        return LocalEngine(encoding)
    require("ray", "--engine ray")
    from voxrank.engines.ray.engine import RayEngine

    return RayEngine(options, encoding, note)
