"""The encoder of `py:module:factory#PATTERN`: a user's `torch.nn.Module`, whose layers are read by hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, code_digest, count_parameters, pick_device, pick_dtype
from voxrank.encoders.finite import check_finite
from voxrank.encoders.padding import without_tf32
from voxrank.encoders.precision import autocast_precision
from voxrank.encoders.taps import Intake, TapEncoder, matches, nearest
from voxrank.errors import ModelError, did_you_mean, reason

FORM = "py:MODULE:FACTORY, or py:MODULE:FACTORY#PATTERN to pick submodules as layers"


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load the module that ``factory()`` returns, whose forward takes waveforms (batch, samples) in float32.

    Layers are the outputs of the submodules whose names match PATTERN, in the order in which they run. Without PATTERN
    they are the members of the longest `ModuleList` or `Sequential`, and layer 0 is the input of the first to run. A
    module without such a list gives its output only. If an output is not a tensor, the first tensor in it is taken. A
    submodule that runs several times gives as many layers.

    The module may have these attributes:
        sample_rate: in Hz; default 16,000.
        min_samples: length of the shortest input; default: measured.
        pads: True if zeros after the audio leave its frames unchanged, so that windows of different lengths may share a
            batch. This is checked.

    Raises:
        ModelError: the module cannot be imported or built, is not a module, fails on noise, or has no layers.
    """
    target, _, pattern = rest.partition("#")
    try:
        module = _build(target)
        device = pick_device(options.device)
        module.to(device).eval().requires_grad_(requires_grad=False)
        check_finite(module)
        tapped = TappedModule(module, pattern, device)
        encoder = ModuleEncoder(tapped, _intake(module), options, device=device, parameters=count_parameters(module))
        encoder.notes = autocast_precision(encoder, module, pick_dtype(options))
        return encoder
    except ModelError as error:
        raise ModelError(f"py:{rest}: {error}") from error


def _build(target: str) -> nn.Module:
    name, _, factory = target.partition(":")
    if not name or not factory:
        raise ModelError(f"expected {FORM}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end, so that a file here cannot replace an installed package
    try:
        imported = import_module(name)
    except Exception as error:
        raise ModelError(
            f"cannot import {name} ({reason(error)}); run from the folder that holds it, or install it"
        ) from error
    if not callable(getattr(imported, factory, None)):
        public = [known for known, value in vars(imported).items() if callable(value) and not known.startswith("_")]
        raise ModelError(f"{name} has no function {factory}; {did_you_mean(factory, public)}")
    try:
        module = getattr(imported, factory)()
    except Exception as error:
        raise ModelError(f"{factory}() failed ({reason(error)}); it must work without arguments") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"expected {factory}() to return a torch.nn.Module, got {type(module).__name__}")
    return module


def _intake(module: nn.Module) -> Intake:
    rate, shortest = getattr(module, "sample_rate", 16_000), getattr(module, "min_samples", None)
    for name, value in (("sample_rate", rate), ("min_samples", 1 if shortest is None else shortest)):
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"expected the module's {name} to be a whole number above 0, got {value!r}")
    return Intake(sample_rate=rate, min_samples=shortest, pads=bool(getattr(module, "pads", False)))


class ModuleEncoder(TapEncoder):
    """An encoder of a `TappedModule`."""

    _model: TappedModule

    @property
    def _dtype(self) -> torch.dtype:
        """The precision of autocast for the module."""
        return self._model.dtype

    @_dtype.setter
    def _dtype(self, dtype: torch.dtype) -> None:
        self._model.dtype = dtype

    def settings(self) -> dict[str, str]:
        """Return the settings of the module, and its precision."""
        return super().settings() | {"precision": str(self._dtype)}


class TappedModule:
    """A module and the submodules whose outputs are layers.

    Attributes:
        module: the module.
        submodules: name → submodule whose output is a layer.
        settings: what the frames depend on besides the weights.
        dtype: precision of the forward pass; below float32, by autocast.

    Args:
        module: the module, on `device` and in evaluation mode.
        pattern: pattern of submodule names; empty for the default.
        device: device that the module runs on.

    Raises:
        ModelError: no submodule has a name that matches.
    """

    def __init__(self, module: nn.Module, pattern: str, device: torch.device) -> None:
        self.module = module
        code = code_digest(type(part) for part in module.modules())
        self.settings = {"module": repr(module), "code": code, "places": pattern}
        self._device = device
        self.dtype = torch.float32
        self.submodules, self._with_input = (
            (_matching_submodules(module, pattern), False) if pattern else _default_submodules(module)
        )

    def __call__(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the module once and return the layers, in the order in which they run."""
        caught: dict[str, torch.Tensor] = {}
        with self._hooks(caught), self._precision(), without_tf32(self._device):
            self.module(waveforms)
        if not caught:
            raise ModelError(f"none of {', '.join(self.submodules)} runs; pick other submodules with #PATTERN")
        return caught

    def _precision(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self.dtype)

    @contextmanager
    def _hooks(self, caught: dict[str, torch.Tensor]) -> Iterator[None]:
        hooks = []
        for name, submodule in self.submodules.items():
            if self._with_input:
                before = _catch_input(name, caught)
                hooks.append(submodule.register_forward_pre_hook(before, with_kwargs=True))
            hooks.append(submodule.register_forward_hook(_catch_output(name, caught)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _matching_submodules(module: nn.Module, pattern: str) -> dict[str, nn.Module]:
    named = {name: part for name, part in module.named_modules() if name}
    chosen = {name: part for name, part in named.items() if matches(name, pattern)}
    if not chosen:
        raise ModelError(f"no submodule is named like {pattern}; {nearest(pattern, named)}")
    return chosen


def _default_submodules(module: nn.Module) -> tuple[dict[str, nn.Module], bool]:
    """Return the members of the longest list, and True because its input is a layer too; else the module and False."""
    lists = [(n, part) for n, part in module.named_modules() if isinstance(part, nn.ModuleList | nn.Sequential)]
    if not any(len(part) for _, part in lists):
        return {"output": module}, False
    name, longest = max(lists, key=lambda named: len(named[1]))
    return {f"{name}.{child}".lstrip("."): part for child, part in longest.named_children()}, True


def _catch_output(name: str, caught: dict[str, torch.Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def catch(_: nn.Module, __: Any, output: Any) -> None:
        _keep(name, output, caught)

    return catch


def _catch_input(name: str, caught: dict[str, torch.Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    """Return a hook that stores the input of the first submodule that runs."""

    def catch(_: nn.Module, inputs: Any, named: Any) -> None:
        if not caught:
            _keep(f"input of {name}", (inputs, named), caught)

    return catch


def _keep(name: str, value: Any, caught: dict[str, torch.Tensor]) -> None:
    """Store a copy of the first tensor in a value, because the module may overwrite it later."""
    tensor = _first_tensor(value)
    if tensor is None:
        raise ModelError(f"expected a tensor from {name}, got {type(value).__name__}; pick others with #PATTERN")
    runs = sum(known == name or known.startswith(f"{name} run ") for known in caught)
    caught[f"{name} run {runs + 1}" if runs else name] = tensor.clone()


def _first_tensor(value: Any) -> torch.Tensor | None:
    """Return the first floating-point tensor in a value, also inside tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((tensor for part in parts if (tensor := _first_tensor(part)) is not None), None)
