"""The age of a result in releases: the documentation says which figures are older than the code that they measure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"(\d+)\.(\d+)")
HEADING = re.compile(r"^## \[(\d+\.\d+[^\]]*)\](?: - (\d{4}-\d\d-\d\d))?", re.MULTILINE)
MOST_BEHIND = 1
"""Number of minor releases by which a result may be older than the code without a note."""

Minor = tuple[int, int]
"""Major and minor part of a version."""


@dataclass(frozen=True)
class Release:
    """A minor release.

    Attributes:
        minor: its major and minor part.
        date: its date as YYYY-MM-DD; empty while it has none.
    """

    minor: Minor
    date: str = ""


def minor_of(version: str) -> Minor | None:
    """Return the major and minor part of a version, or None for a text that is no version."""
    found = VERSION.match(version)
    return None if found is None else (int(found[1]), int(found[2]))


def read_releases(project: str, changelog: str) -> list[Release]:
    """Return all minor releases: those of the changelog with their first dates, and that of the project.

    Args:
        project: text of pyproject.toml.
        changelog: text of CHANGELOG.md.
    """
    headings = HEADING.findall(changelog)  # newest first, so that the first version of a minor release comes last
    first = {minor: date for version, date in headings if (minor := minor_of(version)) is not None}
    current = minor_of(tomllib.loads(project)["project"]["version"])
    if current is not None:
        first.setdefault(current, "")
    return [Release(*one) for one in sorted(first.items())]


@cache
def _releases() -> tuple[Release, ...]:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CHANGELOG.md")]
    return tuple(read_releases(*texts))


def behind(made: dict[str, Any], releases: Iterable[Release]) -> int:
    """Return the number of minor releases since a result was made.

    Args:
        made: provenance of the result. Its date counts if it names no version.
        releases: all minor releases.
    """
    minor = minor_of(str(made.get("voxrank", "")))
    if minor is not None:
        return sum(release.minor > minor for release in releases)
    return sum(bool(release.date) and release.date > made["date"] for release in releases)


def age_note(made: Iterable[dict[str, Any]], releases: Iterable[Release] | None = None) -> str:
    """Return a sentence if the oldest of some results is older than the code by more than a release, or else "".

    Args:
        made: provenance of each result.
        releases: all minor releases; by default those of this repository.
    """
    known = list(_releases() if releases is None else releases)
    oldest = max(made, key=lambda one: behind(one, known))
    if behind(oldest, known) <= MOST_BEHIND:
        return ""
    minor = minor_of(str(oldest.get("voxrank", "")))
    by = f"on {oldest['date']}" if minor is None else f"with version {minor[0]}.{minor[1]}"
    return f"\nThese figures are older than the code: measured {by}.\n"
