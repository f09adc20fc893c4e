"""Half precision with a check: a model uses it only if its features differ from float32 by rounding alone.

Some kernels of some machines are wrong or missing for bfloat16 or float16. When a model is loaded in such a precision,
its features of a second of noise are compared with those in float32, layer by layer. If they differ by more than
rounding explains, norms and convolutions stay in float32. If that does not help, the whole model does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from voxrank._support.memory import is_out_of_memory
from voxrank._support.words import percent
from voxrank.encoders.base import Encoder
from voxrank.encoders.features import UNFIT
from voxrank.encoders.finite import is_finite
from voxrank.encoders.padding import noise
from voxrank.errors import ModelError, reason

MARGIN = 4.0
"""Factor by which an error may exceed the expected rounding error."""

OPERATIONS = 8
"""Approximate number of operations per block that round their result."""

FRONT_BLOCKS = 3
"""Number of blocks with as much rounding as the convolutions and norms before the first block, approximately."""

SENSITIVE = (
    nn.modules.conv._ConvNd,  # noqa: SLF001, the base class of all convolutions
    nn.modules.batchnorm._NormBase,  # noqa: SLF001, of batch and instance norm
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
"""Modules that the first fallback keeps in float32, besides those whose class name ends in "Norm"."""


def lower_precision(encoder: Encoder, model: nn.Module, dtype: torch.dtype) -> tuple[str, ...]:
    """Convert an encoder to a lower precision, as far as its features stay correct.

    Args:
        encoder: an encoder that computes in float32; its `_dtype` is set.
        model: its model, in float32; it is converted in place.
        dtype: the requested precision.

    Returns:
        A line for the user if the model does not compute in the requested precision; else nothing.
    """
    if dtype == torch.float32:
        return ()
    exact = _features(encoder)
    whole = _Weights(model)
    model.to(dtype)
    encoder._dtype = dtype  # noqa: SLF001, set by its own package
    fault = _fault(encoder, model, exact)
    if fault is None:
        return ()
    hooks = _keep_sensitive(model, whole, dtype)
    if _fault(encoder, model, exact) is None:
        return (f"{fault}: its norms and convolutions are computed in float32",)
    for hook in hooks:
        hook.remove()
    whole.restore(model)
    encoder._dtype = torch.float32  # noqa: SLF001, set by its own package
    return (f"{fault}: it is computed in float32",)


def autocast_precision(encoder: Encoder, module: nn.Module, dtype: torch.dtype) -> tuple[str, ...]:
    """Convert an autocast encoder to a lower precision, if its features stay correct.

    Args:
        encoder: an encoder that computes in float32; its `_dtype` is set.
        module: its module, whose weights stay in float32.
        dtype: the requested precision.

    Returns:
        A line for the user if the module does not compute in the requested precision; else nothing.
    """
    if dtype == torch.float32:
        return ()
    exact = _features(encoder)
    encoder._dtype = dtype  # noqa: SLF001, set by its own package
    fault = _fault(encoder, module, exact)
    if fault is None:
        return ()
    encoder._dtype = torch.float32  # noqa: SLF001, set by its own package
    return (f"{fault}: it is computed in float32",)


def check_probe(encoder: Encoder, samples: int) -> None:
    """Refuse an encoder whose features of noise are NaN or infinite.

    Args:
        encoder: the encoder.
        samples: length of the noise; no more than the encoder's window is used.

    Raises:
        ModelError: a layer gives NaN or infinite features.
    """
    for layer, frames in enumerate(_features(encoder, samples)):
        if not is_finite(frames):
            raise ModelError(
                f"features of {samples / encoder.sample_rate:g} s of noise are NaN or infinite at layer {layer}; "
                "give a checkpoint whose features are finite"
            )


def rounding_bound(dtype: torch.dtype, layer: int) -> float:
    r"""Return the largest relative error of a layer that rounding explains.

    Errors of independent roundings add up as a random walk. Each block has `OPERATIONS` roundings, and the front end
    counts as `FRONT_BLOCKS` blocks. The error of layer l is then about
    :math:`\epsilon \sqrt{\mathrm{OPERATIONS}\,(l + \mathrm{FRONT\_BLOCKS})}`. It is multiplied by `MARGIN`, and is at
    most 1/2.

    Args:
        dtype: the precision.
        layer: index of the layer; 0 follows the front end.
    """
    return min(0.5, MARGIN * torch.finfo(dtype).eps * math.sqrt(OPERATIONS * (layer + FRONT_BLOCKS)))


def compare_features(exact: list[torch.Tensor], rounded: list[torch.Tensor], dtype: torch.dtype) -> str | None:
    """Return what is wrong with features in lower precision, or None if rounding explains the differences.

    The error of a layer is the larger of two: the error over all values, and that of the median feature. The second
    shows errors that a few very large features would hide.

    Args:
        exact: features of each layer in float32, (frames, dim).
        rounded: the same features in lower precision.
        dtype: the precision.
    """
    name = str(dtype).removeprefix("torch.")
    if [frames.shape for frames in exact] != [frames.shape for frames in rounded]:
        return f"{name} gives features of another shape than float32 on this machine"
    for layer, (exact_frames, rounded_frames) in enumerate(zip(exact, rounded, strict=True)):
        error, bound = _relative_error(exact_frames, rounded_frames), rounding_bound(dtype, layer)
        if not error <= bound:
            off = f"off by {percent(error, gap='')}, where rounding explains {percent(bound, gap='')},"
            fault = "not finite" if math.isnan(error) else off
            return f"features in {name} are {fault} at layer {layer} on this machine"
    return None


def _relative_error(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    if not rounded.isfinite().all():
        return math.nan
    difference, tiny = rounded - exact, torch.finfo(torch.float32).tiny
    whole = difference.norm() / exact.norm().clamp_min(tiny)
    features = difference.norm(dim=0) / exact.norm(dim=0).clamp_min(tiny)
    return max(float(whole), float(features.median()))


def _features(encoder: Encoder, samples: int = 0) -> list[torch.Tensor]:
    """Return each layer's features of noise; by default one second."""
    window = noise(max(encoder.min_samples, min(samples or encoder.sample_rate, encoder.window_samples)))
    with torch.no_grad():  # models keep tensors of this pass, which may be trained
        return [piece.frames.float().cpu() for piece in encoder._forward([window])]  # noqa: SLF001


def _fault(encoder: Encoder, model: nn.Module, exact: list[torch.Tensor]) -> str | None:
    """Return what is wrong with the model in lower precision, or None."""
    dtype = encoder._dtype  # noqa: SLF001
    name = str(dtype).removeprefix("torch.")
    if not all(is_finite(weight) for weight in model.parameters()):
        return f"some weights are too large for {name}"
    try:
        return compare_features(exact, _features(encoder), dtype)
    except UNFIT as error:
        if is_out_of_memory(error):
            raise
        return f"the model does not run in {name} ({reason(error, 80)})"


class _Weights:
    """A copy of a model's weights and buffers in float32, kept while the model is tried in lower precision.

    Args:
        model: the model; converting it does not change the copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = {id(weight): weight.data for weight in model.parameters()}
        self._buffers = {(id(part), name): buffer for part in model.modules() for name, buffer in part._buffers.items()}  # noqa: SLF001

    def restore(self, module: nn.Module) -> None:
        """Restore the weights of a module and of all modules in it."""
        for weight in module.parameters():
            weight.data = self._parameters[id(weight)]
        for part in module.modules():
            for name in part._buffers:  # noqa: SLF001
                part._buffers[name] = self._buffers[id(part), name]  # noqa: SLF001


def _keep_sensitive(model: nn.Module, whole: _Weights, dtype: torch.dtype) -> list[Any]:
    """Keep convolutions and norms in float32: their inputs are converted to it, and their outputs back."""
    hooks = []
    for module in _outermost(model, _is_sensitive):
        whole.restore(module)
        hooks.append(module.register_forward_pre_hook(_widen, with_kwargs=True))
        hooks.append(module.register_forward_hook(lambda _, __, output: _cast(output, torch.float32, dtype)))
    return hooks


def _is_sensitive(module: nn.Module) -> bool:
    return isinstance(module, SENSITIVE) or type(module).__name__.endswith("Norm")


def _outermost(module: nn.Module, is_match: Callable[[nn.Module], bool]) -> Iterator[nn.Module]:
    """Yield the modules that match, without modules inside them."""
    for part in module.children():
        if is_match(part):
            yield part
        else:
            yield from _outermost(part, is_match)


def _widen(_: nn.Module, inputs: Any, named: Any) -> tuple[Any, Any]:
    halves = (torch.float16, torch.bfloat16)
    for half in halves:
        inputs, named = _cast(inputs, half, torch.float32), _cast(named, half, torch.float32)
    return inputs, named


def _cast(value: Any, before: torch.dtype, after: torch.dtype) -> Any:
    """Change the precision of a tensor, or of the tensors in tuples and mappings."""
    if isinstance(value, torch.Tensor):
        return value.to(after) if value.dtype == before else value
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_cast(part, before, after) for part in value)
    if isinstance(value, dict):
        return {key: _cast(part, before, after) for key, part in value.items()}
    return value
