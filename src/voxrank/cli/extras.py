"""The extras that a request needs: a missing one is named before torch and other slow packages are imported.

The parts of voxrank that use these packages check for them too, for callers from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from voxrank.errors import OptionError


@dataclass(frozen=True)
class Rule:
    """A feature that needs an extra.

    Attributes:
        what: the feature, for the message.
        extra: the extra of voxrank.
        packages: the packages of the extra, by their import names.
        applies: returns whether a request uses the feature.
    """

    what: str
    extra: str
    packages: tuple[str, ...]
    applies: Callable[[Any], bool]


def _has_onnx_model(request: Any) -> bool:
    return any(spec.startswith("onnx:") for spec in getattr(request, "models", ()))


def _runs_on_ray(request: Any) -> bool:
    return bool(getattr(getattr(request, "engine", None), "name", "") == "ray")


def _reads_phones(request: Any) -> bool:
    return bool(getattr(getattr(request, "sequence", None), "unit", None) == "phone")


def _has_only_tsne(request: Any) -> bool:
    """Return whether no other score orders the ranking; beside others t-SNE is left out with a note."""
    return getattr(request, "source", None) is not None and set(request.scores or ()) == {"tsne"}


RULES = (
    Rule("--engine ray", "ray", ("ray",), _runs_on_ray),
    Rule("a model onnx:FILE", "onnx", ("onnx", "onnxruntime"), _has_onnx_model),
    Rule("--unit phone", "phone", ("espeakng_loader",), _reads_phones),
    Rule("--score tsne", "validate", ("sklearn",), _has_only_tsne),
)


def check_extras(request: Any) -> None:
    """Check that the packages that a request needs are installed; none of them is imported.

    Args:
        request: a request of `voxrank.config`, such as `RankRequest`; it need not have every attribute.

    Raises:
        OptionError: an extra is missing.
    """
    for rule in RULES:
        if rule.applies(request) and any(find_spec(name) is None for name in rule.packages):
            raise OptionError(f"{rule.what} needs the extra {rule.extra}; run: pip install 'voxrank[{rule.extra}]'")
