"""The extras that a request needs: a missing one is named before torch and other slow packages are imported.

The parts of voxrank that use these packages check for them too, for callers from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxrank._support.packages import ALIGNMENT, is_installed, require
from voxrank.config import AlignRequest, RankRequest
from voxrank.errors import OptionError


@dataclass(frozen=True)
class Rule:
    """A feature that needs an extra.

    Attributes:
        what: the feature, for the message.
        extra: the extra of voxrank.
        applies: returns whether a request uses the feature.
        packages: the packages that the feature needs, by their import names; empty for all packages of the extra.
    """

    what: str
    extra: str
    applies: Callable[[Any], bool]
    packages: tuple[str, ...] = ()

    @property
    def is_satisfied(self) -> bool:
        """State of the packages: True if all are installed. None of them is imported."""
        return is_installed(self.extra, self.packages)


def _has_onnx_model(request: Any) -> bool:
    return any(spec.startswith("onnx:") for spec in getattr(request, "models", ()))


def _runs_on_ray(request: Any) -> bool:
    return bool(getattr(getattr(request, "engine", None), "name", "") == "ray")


def _reads_phones(request: Any) -> bool:
    return bool(getattr(getattr(request, "sequence", None), "unit", None) == "phone")


def _has_only_tsne(request: Any) -> bool:
    """Return whether no other score orders the ranking; beside others t-SNE is left out with a note."""
    return getattr(request, "source", None) is not None and set(request.scores or ()) == {"tsne"}


def _serves_the_page(request: Any) -> bool:
    return bool(getattr(request, "watch", False))


def _aligns(request: Any) -> bool:
    return isinstance(request, AlignRequest) and request.sequence.searches


def _writes_textgrids(request: Any) -> bool:
    return isinstance(request, AlignRequest)


RULES = (
    Rule("--engine ray", "ray", _runs_on_ray),
    Rule("a model onnx:FILE", "onnx", _has_onnx_model),
    Rule("--unit phone", "phone", _reads_phones),
    Rule("--score tsne", "validate", _has_only_tsne, ("sklearn",)),
    Rule("--watch", "page", _serves_the_page),
    Rule(ALIGNMENT, "align", _aligns),
    Rule("writing TextGrids", "praat", _writes_textgrids),
)


def check_extras(*requests: Any) -> None:
    """Check that the packages that requests need are installed; none of them is imported.

    Args:
        requests: requests of `voxrank.config`, such as `RankRequest`; they need not have every attribute.

    Raises:
        OptionError: extras are missing; the message names all of them.
    """
    missing = [rule for rule in RULES if not rule.is_satisfied and any(rule.applies(request) for request in requests)]
    if missing:
        reasons = ", and ".join(f"{rule.what} needs the extra {rule.extra}" for rule in missing)
        extras = ",".join(sorted({rule.extra for rule in missing}))
        raise OptionError(f"{reasons}; run: pip install 'voxrank[{extras}]'")


def check_transcripts(data: str, request: RankRequest) -> None:
    """Check that transcripts can be aligned, as far as the columns of the data show that they are transcripts.

    The data of other formats are checked when they have been read (`voxrank.alignment.labels.check_sequence`).

    Args:
        data: the data to rank.
        request: the options.

    Raises:
        OptionError: the extra `align` is missing.
    """
    if request.sequence.searches and not is_installed("align") and _are_transcripts(data, request):
        require("align", ALIGNMENT)


def _are_transcripts(data: str, request: RankRequest) -> bool:
    from voxrank.data.manifest import columns_of
    from voxrank.data.rows import TASK_COLUMNS

    if request.segments is not None:
        return False
    if request.target is not None:
        return TASK_COLUMNS.get(request.target) == "transcription"
    columns = columns_of(Path(data))
    if not columns:
        return request.sequence.unit is not None
    return next((task for name, task in TASK_COLUMNS.items() if name in columns), None) == "transcription"
