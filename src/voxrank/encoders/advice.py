"""Advice to the user when transformers cannot read or build a part of a model: one line for each kind of failure.

The message blames the file only if reading it failed.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib

from safetensors import SafetensorError

PACKAGE_PATTERNS = (
    r"pip install (?:-U |--upgrade )*['\"]?([A-Za-z][\w.-]*)",
    r"requires? the ([A-Za-z][\w.-]*) library",
    r"requires? (?:the latest version of )?[`'\"]?([A-Za-z][\w.-]*)[`'\"]?",
    r"No module named ['\"]?([A-Za-z][\w-]*)",
    r"No package metadata was found for ['\"]?([A-Za-z][\w-]*)",
)
"""Patterns of messages that name a missing package, the most specific first."""

FLASH_ATTENTION = "FlashAttention2"
"""Name of the package flash-attn in messages."""

READ_FAILURES = (
    OSError,
    EOFError,
    UnicodeError,
    json.JSONDecodeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)
"""Exceptions raised when a file is damaged or missing."""
READ_FAILURE_NAMES = ("UnpicklingError",)
"""Names of such exceptions from modules that are not imported here."""

READ_WORDS = (
    "PytorchStreamReader",
    "not a valid JSON",
    "Weights only load failed",
    "unpickl",
    "safetensors",
    "deserializ",
    "corrupt",
    "invalid load key",
    "checkpoint file",
    "backend tokenizer",
)
"""Words in the messages of other exceptions that show that reading a file failed."""

GATED_WORDS = ("gated repo", "401 Client Error", "403 Client Error", "restricted")


def advise(error: BaseException, name: str, part: str, version: str) -> str:
    """Return advice for a failure.

    Args:
        error: the exception that was raised.
        name: the model, as the user named it.
        part: what could not be read or built, such as "weights".
        version: the installed version of transformers.
    """
    text = " ".join(str(line) for line in _chain(error))
    if "trust_remote_code" in text:
        return f"the model runs its own code: if you trust its authors, add --trust-remote-code {name}"
    package = missing_package(error)
    if package is not None:
        return f"the model needs the package {package}: run pip install {package}"
    if any(word in text for word in GATED_WORDS):
        return "accept its terms on its page of the hub, and log in with `hf auth login`"
    if is_read_failure(error):
        return "the file is missing or damaged: get the model again"
    if part in ("config.json", "architecture", "feature extractor"):
        file = "preprocessor_config.json" if part == "feature extractor" else "config.json"
        return (
            f"transformers {version} cannot build what {file} describes: compare it with the authors' file, or install "
            "the version of transformers that the model was saved with"
        )
    return (
        f"transformers {version} cannot use it: install the version that the model was saved with, "
        "or name another model"
    )


def missing_package(error: BaseException) -> str | None:
    """Return the name of the package that an exception reports as missing, or None."""
    for cause in _chain(error):
        if isinstance(cause, ImportError) and FLASH_ATTENTION in str(cause):
            return "flash-attn"
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return cause.name.partition(".")[0]
        if isinstance(cause, ImportError):
            matches = (re.search(pattern, str(cause)) for pattern in PACKAGE_PATTERNS)
            return next((match.group(1).rstrip(".-") for match in matches if match), None)
    return None


def is_read_failure(error: BaseException) -> bool:
    """Return whether an exception, or a cause of it, means that a file could not be read."""
    return any(
        isinstance(cause, READ_FAILURES)
        or type(cause).__name__ in READ_FAILURE_NAMES
        or any(word.lower() in str(cause).lower() for word in READ_WORDS)
        for cause in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes, the newest first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain
