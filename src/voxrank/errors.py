"""Every error voxrank raises on purpose.

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
"""Characters of a name in a list of names."""


class VoxrankError(Exception):
    """Base class of every error raised on purpose. Its message is one line, whatever the names in it hold."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class RequestError(VoxrankError, ValueError):
    """The request was wrong; nothing was run."""


class DataError(RequestError):
    """The data set cannot be read, or has nothing to score."""


class ModelError(RequestError):
    """The model is unknown, incomplete or damaged."""


class OptionError(RequestError):
    """An option was given a value it cannot take."""


class UtteranceError(VoxrankError):
    """One utterance is unusable. ``str(error)`` is the reason shown to the user."""


class SketchError(VoxrankError):
    """A file of sketches cannot be written, or is missing, damaged, of another kind or of another version."""


class RunError(VoxrankError):
    """The request was right and the run failed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known names, or lists them all.

    Example:
        >>> did_you_mean("lable", ["label", "path"])
        'did you mean label? (known: label, path)'
    """
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=1)
    known_ones = f"known: {listed(options)}"
    return f"did you mean {near[0]}? ({known_ones})" if near else known_ones


def listed(names: Iterable[str], limit: int = 40) -> str:
    """Names parted by commas, those behind the first `limit` counted, so that a message stays one that can be read.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    every = list(names)
    shown = [shortened(name, NAME_LIMIT) for name in every[:limit]]
    return (", ".join(shown) or "none") + (f" and {len(every) - limit} more" if len(every) > limit else "")


def one_line(text: str) -> str:
    r"""Text that neither ends a line nor steers a terminal: control characters as Python writes them.

    Example:
        >>> print(one_line("a\nb"))
        a\nb
    """
    return "".join(c if is_harmless(c) else c.encode("unicode_escape").decode() for c in text)


def is_harmless(character: str) -> bool:
    """Whether it neither ends a line nor steers a terminal."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def shortened(text: str, limit: int = 400) -> str:
    """A message that stays a line that can be read, whatever it quotes.

    Example:
        >>> shortened("abcdef", limit=4)
        'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def reason(error: BaseException, limit: int = 160) -> str:
    """What went wrong in someone else's code, as one line that fits into a message: its kind and its first words.

    Example:
        >>> reason(ValueError("no such key"))
        'ValueError: no such key'
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return shortened(text, limit)
