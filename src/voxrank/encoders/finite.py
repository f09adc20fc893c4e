"""Checks for weights that are NaN or infinite: a model with such weights is refused when it is loaded.

Probing with noise does not find all of them. For example, only long audio reads the last rows of a position table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from voxrank.errors import ModelError


def check_finite(module: nn.Module, *, skip: Iterable[str] = ()) -> None:
    """Refuse a module whose weights are not finite.

    Parameters must be finite. Buffers may hold -inf, because attention masks do. Integer tensors are not checked.

    Args:
        module: the model, in any precision.
        skip: names of weights that were not read from the checkpoint.

    Raises:
        ModelError: a weight is NaN or infinite; the message names the first tensor and counts the others.
    """
    left_out = set(skip)
    parameters = [name for name, weight in module.named_parameters() if not is_finite(weight)]
    buffers = [name for name, buffer in module.named_buffers() if not is_finite(buffer, masks=True)]
    refuse_not_finite([name for name in (*parameters, *buffers) if name not in left_out])


def refuse_not_finite(names: list[str]) -> None:
    """Raise an error that names the tensors with values that are not finite; do nothing if there are no names.

    Args:
        names: names of these tensors.

    Raises:
        ModelError: there is at least one name.
    """
    if names:
        more = f" and in {len(names) - 1} more tensors" if len(names) > 1 else ""
        raise ModelError(
            f"its weights are NaN or infinite in {names[0]}{more}, so that its features would not be numbers; "
            "give a checkpoint whose weights are finite"
        )


def is_finite(tensor: torch.Tensor, *, masks: bool = False) -> bool:
    """Return whether all values are finite. The tensor is read once and not copied.

    Args:
        tensor: values of any type; integers are finite.
        masks: True to accept -inf.
    """
    if tensor.is_meta or not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.element_size() == 1:  # torch does not compare 8-bit floating-point values
        tensor = tensor.float()
    least, greatest = (float(bound) for bound in torch.aminmax(tensor.detach()))
    if math.isnan(least) or math.isnan(greatest):
        return False
    return (math.isfinite(greatest) or (masks and greatest == -math.inf)) and (masks or math.isfinite(least))
