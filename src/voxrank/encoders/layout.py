"""Where time lies in a tensor: found from its shapes for two lengths of audio, not from a convention."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxrank.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """How to read a layer's output as frames.

    Attributes:
        time_axis: the axis that grows with the audio; None for one embedding an utterance.
        dim: numbers in a frame: the product of the other axes but the batch.
    """

    time_axis: int | None
    dim: int

    def frames(self, output: torch.Tensor) -> torch.Tensor:
        """An output (batch, ...) → (batch, time, dim) float32; an embedding has one frame."""
        if self.time_axis is None:
            return output.float().reshape(len(output), 1, self.dim)
        return output.float().movedim(self.time_axis, 1).flatten(start_dim=2).reshape(len(output), -1, self.dim)


def find_layout(name: str, short: tuple[int, ...], long: tuple[int, ...]) -> Layout:
    """The layout of an output from its shapes (batch, ...) for shorter and for longer audio.

    Example:
        >>> find_layout("conv", (1, 64, 49), (1, 64, 149))
        Layout(time_axis=2, dim=64)

    Raises:
        ModelError: not a batch of tensors, or more than one axis changes with the audio.
    """
    if len(short) != len(long) or len(short) < 1 or short[0] != 1 or long[0] != 1:
        raise ModelError(f"the output {name!r} does not keep the batch as its first axis: shapes {short} and {long}")
    growing = [axis for axis in range(1, len(short)) if short[axis] != long[axis]]
    if len(growing) > 1:
        raise ModelError(
            f"expected one axis of {name!r} to grow with the audio, got shapes {short} and {long}; "
            "leave it out of the pattern"
        )
    time_axis = growing[0] if growing else None
    dim = 1
    for axis, size in enumerate(long[1:], start=1):
        dim *= 1 if axis == time_axis else size
    return Layout(time_axis, dim)
