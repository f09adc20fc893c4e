"""Numbers as people read them: figures, percents, durations, sizes, and counts with their noun."""

from __future__ import annotations

from math import isnan

from voxrank.config import Seconds

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
"""Sign for a missing value, in pages and documents; tables in a terminal have a hyphen."""
SI_PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def figure(value: float | None, digits: int = 3) -> str:
    """Format a number with as many decimals as are meaningful.

    Example:
        >>> figure(0.97349), figure(-0.0001), figure(1234.5), figure(-0.5)
        ('0.973', '0.000', '1,234.5', '−0.500')
    """
    if value is None:
        return NONE
    decimals = digits if abs(value) < 100 else 1
    value = round(value, decimals) + 0.0  # avoids "-0.000"
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def fixed(value: float | None, digits: int = 3) -> str:
    """Format a number with a fixed number of decimals, for a terminal.

    Example:
        >>> fixed(0.97349), fixed(-0.0001), fixed(-0.5, 2), fixed(None)
        ('0.973', '0.000', '-0.50', '-')
    """
    return "-" if value is None else f"{value + 0.0 if round(value, digits) else 0.0:.{digits}f}"


def score_figure(value: float) -> str:
    """Format a score with four decimals, or with six digits if it is large.

    Example:
        >>> score_figure(-1.23456), score_figure(12345678.9)
        ('-1.2346', '1.23457e+07')
    """
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.6g}"


def percent(share: float | None, *, gap: str = " ", missing: str = "-") -> str:
    """Format a share in whole percent; None and NaN are missing.

    Example:
        >>> percent(0.967), percent(0.967, gap=""), percent(None), percent(float("nan"), missing="none")
        ('97 %', '97%', '-', 'none')
    """
    return missing if share is None or isnan(share) else f"{100 * share:.0f}{gap}%"


def strict_percent(share: float | None) -> str:
    r"""Format a share in percent with a no-break space, so that only 0 becomes 0 %, and only 1 becomes 100 %.

    Example:
        >>> strict_percent(0.97), strict_percent(0.9996), strict_percent(0.0004)
        ('97\xa0%', '99.9\xa0%', '0.1\xa0%')
    """
    if share is not None and (0 < share < 0.01 or 0.99 < share < 1):
        return f"{100 * min(max(share, 0.001), 0.999):.1f}{NO_BREAK}%"
    return percent(share, gap=NO_BREAK, missing=NONE)


def duration(seconds: Seconds, *, separator: str = ",") -> str:
    """Format a duration in seconds, minutes or hours.

    Args:
        seconds: the duration.
        separator: separator of thousands of hours.

    Example:
        >>> duration(4.26), duration(900), duration(86400), duration(3.6e7), duration(3.6e7, separator="")
        ('4.3 s', '15.0 min', '24.0 h', '10,000.0 h', '10000.0 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:,.1f} h".replace(",", separator)


def in_seconds(seconds: Seconds, digits: int = 0) -> str:
    """Format a duration in seconds, however long it is.

    Example:
        >>> in_seconds(1834.4), in_seconds(0.26, 1)
        ('1,834 s', '0.3 s')
    """
    return f"{seconds:,.{digits}f} s"


def in_hours(seconds: Seconds, digits: int = 0) -> str:
    """Format a duration in hours, however short it is.

    Example:
        >>> in_hours(86400), in_hours(90, 2)
        ('24 h', '0.03 h')
    """
    return f"{seconds / 3600:.{digits}f} h"


def megabytes(size_mb: float, digits: int = 0) -> str:
    """Format a size in megabytes.

    Example:
        >>> megabytes(1234.5), megabytes(0.26, 1)
        ('1,234 MB', '0.3 MB')
    """
    return f"{size_mb:,.{digits}f} MB"


def noun(number: int, one: str, many: str = "") -> str:
    """Return the form of a noun that goes with a number.

    Example:
        >>> noun(1, "model"), noun(0, "model"), noun(2, "entry", "entries")
        ('model', 'models', 'entries')
    """
    return one if number == 1 else many or f"{one}s"


def count(number: int, one: str, many: str = "") -> str:
    """Format a count with its noun.

    Example:
        >>> count(1, "model"), count(1800, "utterance")
        ('1 model', '1,800 utterances')
    """
    return f"{number:,} {noun(number, one, many)}"


def si(number: float) -> str:
    """Format a count with an SI prefix.

    Example:
        >>> si(20590592), si(900)
        ('20.6 M', '900')
    """
    for size, prefix in SI_PREFIXES:
        if number >= size:
            return f"{number / size:.1f}{prefix}"
    return f"{number:,.0f}"


def times_real_time(speed: float | None) -> str:
    """Format the speed of encoding, in multiples of real time.

    Example:
        >>> times_real_time(1234.5), times_real_time(2.34), times_real_time(None)
        ('1,234 ×', '2.3 ×', '–')
    """
    return NONE if speed is None else f"{speed:,.0f} ×" if speed >= 10 else f"{speed:.1f} ×"
