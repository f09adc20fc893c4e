"""The question to the hub whether it has a model. It is brief, and asked once in a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from voxrank.config import Seconds

HUB_TIMEOUT_S: Seconds = 5.0
"""Maximum time that the hub may take to answer."""
ANSWER_S: Seconds = 60.0
"""Time for which an answer of the hub is kept."""


def ask_hub(name: str) -> Any:
    """Ask the hub briefly for a model. The answer is kept for a minute, since a run needs it twice.

    Returns:
        `huggingface_hub.ModelInfo`, or the exception that the question raised; its class differs between versions.
    """
    import huggingface_hub

    return _answer(huggingface_hub.model_info, name, int(time.monotonic() / ANSWER_S))


@lru_cache(maxsize=256)
def _answer(ask: Callable[..., Any], name: str, minute: int) -> Any:
    del minute
    try:
        return ask(name, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001  for the caller
        return error
