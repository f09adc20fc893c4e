"""The positions of Whisper's window that are computed: all of the audio, and of the silence after it as few as do.

Whisper was trained on windows of 30 s, and its frames of a short utterance depend on the silence after it: attention
reads it. But silent positions far from the audio are nearly alike. So one position can stand for a span of them, if
attention counts it as often as the span is long, which is to add the logarithm of that number to its logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

GROWTH = 1.1
"""Ratio of the lengths of consecutive spans of silence; the first is one position long."""


@dataclass(frozen=True)
class Positions:
    """Positions of the whole window that are computed.

    Attributes:
        rows: their indices in the whole window, in order.
        counts: number of positions that each stands for.
    """

    rows: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class WindowRule:
    """The rule that gives a window its positions, by the length of its own audio alone.

    Attributes:
        margin: number of positions of silence after the audio, at least.
        step: audio and margin are rounded up to a multiple of so many positions, so that similar lengths share a batch.
        spans: whether spans stand for the silence from there to the end of the whole window; without them it is cut
            off.
    """

    margin: int = 0
    step: int = 1
    spans: bool = False

    def positions(self, frames: int, whole: int) -> Positions:
        """Return the positions for audio of so many frames.

        Args:
            frames: number of frames of the audio.
            whole: number of positions of the whole window.
        """
        kept = min(whole, -(-(frames + self.margin) // self.step) * self.step)
        return spanned(kept, whole) if self.spans else _first(kept)

    def describe(self) -> str:
        """Return all that frames depend on, as a text."""
        return f"{self.margin} / {self.step}" + (f" / {GROWTH:g}" if self.spans else "")


AUTO = WindowRule(margin=25, step=25, spans=True)
"""Half a second of silence, rounded up to half a second, then spans (a position is 20 ms)."""


@lru_cache(maxsize=2048)
def _first(kept: int) -> Positions:
    return Positions(tuple(range(kept)), (1,) * kept)


@lru_cache(maxsize=2048)
def spanned(kept: int, whole: int) -> Positions:
    """Return the first positions, and the middle of each span of the others; the last position is one of its own.

    Example:
        >>> spanned(2, 8).rows
        (0, 1, 2, 3, 4, 5, 6, 7)
        >>> spanned(1400, 1500).counts[-5:]
        (8, 9, 10, 2, 1)
    """
    rows, counts = list(range(kept)), [1] * kept
    start, length = kept, 1.0
    while start < whole - 1:  # the last position differs from other silence: the window ends there
        count = min(int(length), whole - 1 - start)
        rows.append(start + count // 2)
        counts.append(count)
        start += count
        length *= GROWTH
    if start < whole:
        rows.append(start)
        counts.append(1)
    return Positions(tuple(rows), tuple(counts))


class SilenceWeights:
    """Lets attention count a position as often as the span that it stands for is long.

    Args:
        blocks: blocks of the encoder of transformers; each gets a hook.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        self._bias: torch.Tensor | None = None
        for block in blocks:
            block.register_forward_pre_hook(self._add, with_kwargs=True)

    @contextmanager
    def counting(self, counts: Sequence[int], device: torch.device) -> Iterator[None]:
        """Add the logarithms of the counts to the logits of attention within the context."""
        if max(counts) > 1:
            self._bias = torch.tensor([math.log(count) for count in counts], device=device)[None, None, None]
        try:
            yield
        finally:
            self._bias = None

    def _add(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
        """Replace the mask of a block, which Whisper's encoder does not use."""
        if self._bias is None:
            return None
        bias = self._bias.to(inputs[0].dtype)
        if len(inputs) > 1:
            return (inputs[0], bias, *inputs[2:]), named
        return inputs, named | {"attention_mask": bias}


@contextmanager
def cut_positions(model: Any, rows: Sequence[int]) -> Iterator[None]:
    """Let a Whisper encoder take a window of some positions, with their rows of its position table."""
    table, config = model.embed_positions, model.config
    whole = config.max_source_positions
    if len(rows) == whole:
        yield
        return
    begins = rows[-1] == len(rows) - 1
    weight = table.weight[: len(rows)] if begins else table.weight[list(rows)]
    model.embed_positions = nn.Embedding(len(rows), config.d_model, _weight=weight)
    config.max_source_positions = len(rows)
    try:
        yield
    finally:
        model.embed_positions, config.max_source_positions = table, whole
