"""Check links without a network: `python scripts/check_links.py PATH …`.

A PATH is a folder of built pages, or a Markdown file. Every relative link must lead to a file that exists, and its
anchor to an element with that id, or to a heading. `--network` tells by its exit code whether external links can be
checked, too: 0 if there is a network.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NETWORK = ("github.com", 443)
TIMEOUT_S = 5.0


class Page(HTMLParser):
    """Links and anchors of one page.

    Attributes:
        links: addresses of its links and pictures, as written.
        anchors: ids of its elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the id of an element, and where it leads."""
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found and tag != "meta"}
        self.links += [found[name] for name in ("href", "src") if name in found]


@cache
def links_and_anchors(path: Path) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the links of a file, and the anchors that others may link to."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        page = Page(text)
        return tuple(page.links), frozenset(page.anchors)
    prose = FENCED.sub("", text)
    return tuple(LINK.findall(prose)), frozenset(map(slug, HEADING.findall(prose)))


def slug(heading: str) -> str:
    """Return the anchor that GitHub and MyST make of a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")


def broken(path: Path) -> Iterator[str]:
    """Yield a line for each relative link of a file that leads nowhere."""
    for link in links_and_anchors(path)[0]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = path.parent / unquote(parts.path) if parts.path else path
        if not target.exists():
            yield f"{path}: {link}: no such file"
        elif not has_anchor(target, unquote(parts.fragment)):
            yield f"{path}: {link}: no such anchor"


def has_anchor(path: Path, anchor: str) -> bool:
    """Return whether a page has an anchor; True if none is named, or the file is no page."""
    return not anchor or path.suffix not in (".html", ".md") or anchor in links_and_anchors(path)[1]


def has_network() -> bool:
    """Return whether a well-known host answers."""
    try:
        socket.create_connection(NETWORK, timeout=TIMEOUT_S).close()
    except OSError:
        return False
    return True


def main(words: Sequence[str]) -> int:
    """Check the files that are named; return the exit code."""
    if words == ["--network"]:
        return 0 if has_network() else 1
    paths = [page for word in words for page in (sorted(Path(word).rglob("*.html")) or [Path(word)])]
    found = [line for path in paths for line in broken(path)]
    print(*found, f"{len(paths)} pages, {len(found)} broken links", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
