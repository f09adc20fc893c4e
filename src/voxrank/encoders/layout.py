"""The layout of tensors (batch, time, features) and the frame count per audio length, both measured from shapes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch

from voxrank.errors import ModelError

Shape = tuple[int, ...]

SPAN_SAMPLES = 19_200
"""Extra length of the longer probe: several frames of every usual hop (160, 320, 512, 640, 1280 … samples)."""

BASE_ROWS, WIDER_ROWS = 2, 3
"""Numbers of windows in the probes: an axis with exactly these sizes is the batch axis."""


@dataclass(frozen=True)
class Layout:
    """The axes of a tensor that make it frames.

    Attributes:
        batch: the batch axis; None in a tensor of a single utterance.
        time: the axis that grows with the audio; None where an utterance gives one vector, an embedding.
        dim: number of features in a frame: all other axes, flattened in their order.
    """

    batch: int | None
    time: int | None
    dim: int

    def frames(self, tensor: torch.Tensor) -> torch.Tensor:
        """Arrange a tensor as (batch, time, dim) in float32; an embedding has one frame."""
        axes = [axis for axis in (self.batch, self.time) if axis is not None]
        rows = 1 if self.batch is None else tensor.shape[self.batch]
        return tensor.float().movedim(axes, list(range(len(axes)))).reshape(rows, -1, self.dim)

    def count(self, shape: Shape) -> int:
        """Return the number of frames per utterance in a tensor of this shape."""
        return 1 if self.time is None else shape[self.time]


def find_layout(name: str, base: Shape, longer: Shape, wider: Shape | None) -> Layout:
    """Find the layout of a tensor from how its shape changes with the input.

    Example:
        >>> find_layout("conv", (2, 64, 49), (2, 64, 109), (3, 64, 49))
        Layout(batch=0, time=2, dim=64)

    Args:
        name: name of the tensor, for messages.
        base: its shape for `BASE_ROWS` short windows, or for one if the model takes one at a time.
        longer: its shape for as many longer windows.
        wider: its shape for `WIDER_ROWS` short windows; None if the model takes one at a time.

    Raises:
        ModelError: no axis or several axes follow the batch, several follow the audio, or one axis follows both.
    """
    time_axes = _changed_axes(name, base, longer)
    if len(time_axes) > 1:
        raise ModelError(
            f"{name}: expected one axis that grows with the audio, got shapes {base} and then {longer}; "
            "pick other layers with #PATTERN"
        )
    time = time_axes[0] if time_axes else None
    batch = _single_axis(base, time) if wider is None else _batch_axis(name, base, wider, time)
    return Layout(batch, time, prod(size for axis, size in enumerate(base) if axis not in (batch, time)))


def _changed_axes(name: str, before: Shape, after: Shape) -> list[int]:
    if len(before) != len(after):
        raise ModelError(
            f"{name}: expected as many axes for every input, got shapes {before} and then {after}; "
            "pick other layers with #PATTERN"
        )
    return [axis for axis, size in enumerate(before) if after[axis] != size]


def _batch_axis(name: str, base: Shape, wider: Shape, time: int | None) -> int:
    followers = _changed_axes(name, base, wider)
    sizes = [(base[axis], wider[axis]) for axis in followers]
    if sizes != [(BASE_ROWS, WIDER_ROWS)] or followers[0] == time:
        raise ModelError(
            f"{name}: expected one axis that follows the number of utterances and nothing else, got shapes {base} "
            f"and then {wider}; pick other layers with #PATTERN"
        )
    return followers[0]


def _single_axis(base: Shape, time: int | None) -> int | None:
    """Return the batch axis of a model that takes one utterance at a time: the first axis, if its size is 1."""
    return 0 if base and base[0] == 1 and time != 0 else None


@dataclass(frozen=True)
class Clock:
    """A formula for the number of frames of n samples: (n + phase) // hop.

    Attributes:
        hop: samples from frame to frame.
        phase: minus the number of samples that the first frame needs beyond a hop.
    """

    hop: int
    phase: int

    def count(self, n_samples: int) -> int:
        """Return the number of frames for `n_samples` samples."""
        return (n_samples + self.phase) // self.hop


def find_clock(count: Callable[[int], int], shortest: int) -> Clock | None:
    """Measure the hop exactly, by bisecting for the lengths at which the next two frames appear.

    Args:
        count: samples → frames; must not decrease.
        shortest: the fewest samples that `count` takes.

    Returns:
        The clock, or None if no constant hop explains the counts.
    """
    first, last = count(shortest), count(shortest + SPAN_SAMPLES)
    if last <= first:
        return None
    reach = 2 * SPAN_SAMPLES // (last - first) + 2  # number of samples within which the count must rise
    start = _rise(count, shortest, reach, first)
    hop = _rise(count, start, reach, first + 1) - start
    if hop < 1:
        return None
    clock = Clock(hop, (first + 1) * hop - start)
    newest = last * hop - clock.phase  # number of samples at which the last frame must appear
    known = {shortest: first, newest - 1: last - 1, newest: last, shortest + SPAN_SAMPLES: last}
    return clock if all(clock.count(n) == frames == count(n) for n, frames in known.items()) else None


def _rise(count: Callable[[int], int], begin: int, reach: int, frames: int) -> int:
    """Return the fewest samples, from `begin` on, that give more than `frames` frames."""
    return begin + bisect_left(range(begin, begin + reach), frames + 1, key=count)
