"""`py:module:factory#PATTERN`: a user's own `torch.nn.Module`, its layers tapped by hooks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, count_parameters, pick_device
from voxrank.encoders.taps import TapEncoder, Taps, matches
from voxrank.errors import ModelError, did_you_mean

SAMPLE_RATE_HZ = 16_000
EXPECTED = "expected py:MODULE:FACTORY, or py:MODULE:FACTORY#PATTERN to pick submodules as layers"


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Build the module that ``factory()`` returns, which takes waveforms (batch, samples) in float32.

    Layers are the outputs of the submodules whose names match PATTERN (``*`` and ``?``, as for files; commas between
    several), in the order of the module's own names. By default they are the members of its longest `ModuleList` or
    `Sequential`, with the input of the first as layer 0. An output may be a tensor, or a tuple whose first item is
    one. The module may have the attributes `sample_rate` (default 16,000 Hz) and `min_samples` (default 400).

    Raises:
        ModelError: not importable, not a module, nothing matches, or no tensor comes out.
    """
    target, _, pattern = rest.partition("#")
    module = _build(target)
    device = pick_device(options.device)
    module = module.to(device).eval().requires_grad_(requires_grad=False)
    taps = _places(module, pattern or None)
    try:
        return TapEncoder(
            partial(_run, module, taps),
            options,
            device=device,
            sample_rate=int(getattr(module, "sample_rate", SAMPLE_RATE_HZ)),
            parameters=count_parameters(module),
            min_samples=int(getattr(module, "min_samples", 400)),
        )
    except ModelError as error:
        raise ModelError(f"py:{rest}: {error}") from error
    except Exception as error:
        raise ModelError(
            f"py:{rest}: the module failed on one second of noise: {type(error).__name__}: {error}"
        ) from error


def _build(target: str) -> nn.Module:
    name, _, factory_name = target.partition(":")
    if not name or not factory_name:
        raise ModelError(f"{EXPECTED}, got py:{target}")
    with _importable_here():
        try:
            imported = importlib.import_module(name)
        except Exception as error:
            raise ModelError(f"py:{target}: cannot import {name!r}: {type(error).__name__}: {error}") from error
    factory = getattr(imported, factory_name, None)
    if not callable(factory):
        public = [n for n in vars(imported) if not n.startswith("_")]
        raise ModelError(f"py:{target}: {name} has no callable {factory_name!r}; {did_you_mean(factory_name, public)}")
    try:
        module = factory()
    except Exception as error:
        raise ModelError(f"py:{target}: the factory failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"py:{target}: expected the factory to return a torch.nn.Module, got {type(module).__name__}")
    return module


@contextmanager
def _importable_here() -> Iterator[None]:
    """Let modules in the current folder be imported, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


_Place = tuple[str, nn.Module, bool]
"""Layer name, submodule, and whether its input is meant instead of its output."""


def _places(module: nn.Module, pattern: str | None) -> list[_Place]:
    named = {name: part for name, part in module.named_modules() if name}
    if pattern is not None:
        chosen = [(name, part, False) for name, part in named.items() if matches(name, pattern)]
        if not chosen:
            raise ModelError(f"no submodule is named like {pattern!r}; {did_you_mean(pattern, named)}")
        return chosen
    stacks = [
        (name, part) for name, part in named.items() if isinstance(part, nn.ModuleList | nn.Sequential) and len(part)
    ]
    if isinstance(module, nn.Sequential):
        stacks.append(("", module))
    if not stacks:
        raise ModelError(f"the module has no ModuleList or Sequential to take layers from; {EXPECTED}")
    stack_name, stack = max(stacks, key=lambda named_stack: len(named_stack[1]))
    blocks = [(f"{stack_name}.{key}".lstrip("."), part) for key, part in stack.named_children()]
    return [("input", blocks[0][1], True), *((name, part, False) for name, part in blocks)]


def _run(module: nn.Module, places: list[_Place], waveforms: torch.Tensor) -> Taps:
    """One forward pass with hooks for its length only."""
    caught: dict[str, torch.Tensor] = {}

    def catch(name: str, _: nn.Module, value: Any) -> None:
        while isinstance(value, tuple | list) and value:
            value = value[0]
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"expected the output of {name!r} to be a tensor, got {type(value).__name__}")
        caught[name] = value

    hooks = [
        part.register_forward_pre_hook(partial(catch, name))
        if is_input
        else part.register_forward_hook(lambda part, _, output, name=name: catch(name, part, output))
        for name, part, is_input in places
    ]
    try:
        module(waveforms)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: caught[name] for name, _, _ in places if name in caught}
