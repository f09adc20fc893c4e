"""The exceptions that voxrank raises.

::

    VoxrankError
    ├── RequestError       the request was wrong: the command line exits with 2
    │   ├── DataError      the data set cannot be read or has nothing to score
    │   ├── ModelError     the model is unknown, incomplete or damaged
    │   └── OptionError    an option or score was given a value it cannot take
    ├── UtteranceError     one utterance is unusable: it is skipped, counted and listed
    ├── SketchError        a file of sketches cannot be written, or is not one that can be read
    └── RunError           the request was right and the run failed: exit code 1

A message says what was expected, what came, and what to do next, on one line.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

NAME_LIMIT = 80
"""Maximum number of characters of a name in a list of names."""


class VoxrankError(Exception):
    """Base class of the exceptions that voxrank raises. Its message is always one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class RequestError(VoxrankError, ValueError):
    """The request was wrong, and nothing was run."""


class DataError(RequestError):
    """The data set cannot be read, or has nothing to score."""


class ModelError(RequestError):
    """The model is unknown, incomplete or damaged."""


class OptionError(RequestError):
    """An option was given a value it cannot take."""


class UtteranceError(VoxrankError):
    """An utterance is unusable. ``str(error)`` is the reason shown to the user."""


class SketchError(VoxrankError):
    """A file of sketches cannot be written, is missing or damaged, or has another kind or version."""


class RunError(VoxrankError):
    """The request was right and the run failed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name, if any, and all known names.

    Example:
        >>> did_you_mean("lable", ["label", "path"])
        'did you mean label? (known: label, path)'
    """
    options = sorted(known)
    matches = difflib.get_close_matches(name, options, n=1)
    known_hint = f"known: {listed(options)}"
    return f"did you mean {matches[0]}? ({known_hint})" if matches else known_hint


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Join names with commas. Names after the first `limit` are only counted, which keeps messages readable.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    all_names = list(names)
    shown = [shortened(name, NAME_LIMIT) for name in all_names[:limit]]
    return (", ".join(shown) or "none") + (f" and {len(all_names) - limit} more" if len(all_names) > limit else "")


def one_line(text: str) -> str:
    r"""Escape control characters as Python does, so that text stays on one line and cannot control a terminal.

    Example:
        >>> print(one_line("a\nb"))
        a\nb
    """
    if text.isprintable():  # as nearly all text is
        return text
    return "".join(c if is_harmless(c) else c.encode("unicode_escape").decode() for c in text)


def is_harmless(character: str) -> bool:
    """Return whether a character neither ends a line nor controls a terminal."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def shortened(text: str, limit: int = 400) -> str:
    """Cut text to at most `limit` characters, ending in an ellipsis.

    Example:
        >>> shortened("abcdef", limit=4)
        'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def reason(error: BaseException, limit: int = 160) -> str:
    """Describe an error from other code in one line: its class, and the first line of its message.

    Example:
        >>> reason(ValueError("no such key"))
        'ValueError: no such key'
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return shortened(text, limit)
