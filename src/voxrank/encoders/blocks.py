"""The blocks of a model that returns no hidden states: their inputs and outputs are recorded while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from voxrank.encoders.base import count_parameters
from voxrank.errors import ModelError

MIN_BLOCKS = 2
"""Minimum number of blocks in a list that counts as a model's stack."""


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the heaviest list of modules of one class in a model.

    Args:
        model: any model.

    Raises:
        ModelError: it has no such list.
    """
    lists: list[nn.Module] = [
        part
        for part in model.modules()
        if isinstance(part, nn.ModuleList) and len(part) >= MIN_BLOCKS and len({type(block) for block in part}) == 1
    ]
    if not lists:
        raise ModelError("the model gives no hidden states, and has no list of blocks of one kind")
    return list(max(lists, key=count_parameters).children())


def join_chunks(states: list[torch.Tensor], end: Any, rows: int) -> list[torch.Tensor]:
    """Join the chunks that a model makes of long audio, which its blocks take as more rows.

    Args:
        states: input of the first block and output of every block, (rows · chunks, frames, features).
        end: what the model returns; its length is that of all chunks without their padding.
        rows: number of windows.
    """
    end = end if torch.is_tensor(end) else getattr(end, "last_hidden_state", None)
    if len(states[0]) <= rows or len(states[0]) % rows or end is None or end.ndim != 3:
        return states
    return [state.reshape(rows, -1, state.shape[-1])[:, : end.shape[1]] for state in states]


def record_blocks(blocks: Sequence[nn.Module], run: Callable[[], Any]) -> list[torch.Tensor]:
    """Run a model, and return the input of its first block and the output of every block.

    Args:
        blocks: modules that run once each, in order.
        run: runs the model.

    Raises:
        ModelError: the blocks do not run in order, or map (batch, time, features) to another shape.
    """
    recorded: list[tuple[int, torch.Tensor]] = []

    def before(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        recorded.append((0, inputs[0] if inputs else next(iter(named.values()))))

    def after(index: int, _: nn.Module, __: Any, output: Any) -> None:
        recorded.append((index, output[0] if isinstance(output, tuple) else output))

    hooks = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    for index, block in enumerate(blocks, start=1):
        hooks.append(block.register_forward_hook(lambda *arguments, index=index: after(index, *arguments)))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    shapes = {tuple(state.shape) if isinstance(state, torch.Tensor) else None for _, state in recorded}
    if [index for index, _ in recorded] != list(range(len(blocks) + 1)) or len(shapes) != 1:
        raise ModelError("the model gives no hidden states, and its blocks do not map frames to frames")
    return [state for _, state in recorded]
