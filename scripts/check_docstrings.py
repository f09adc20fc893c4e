"""Refuse docstrings that continue a name instead of starting a sentence: `check_docstrings.py FOLDER …`.

The first line of a docstring, and of the string below a constant or field, is a sentence or a noun phrase that can be
read alone. A line that begins with one of `REFUSED` cannot.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

REFUSED = ("Of", "As", "Those", "What", "Where", "That", "The same", "Whether", "How", "Which", "Such", "By", "With")
_BEGINS = re.compile(rf"({'|'.join(REFUSED)})\b")


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and text of every string that stands alone."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else ():
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str):
                    yield child.lineno, text.strip()


def main(folders: list[str]) -> int:
    """Print every docstring that is refused; return 1 if there is one."""
    refused = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if _BEGINS.match(text)
    ]
    for place in refused:
        print(place)
    if refused:
        print(f"{len(refused)} docstrings begin with one of {', '.join(REFUSED)}: say what the thing is or does")
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
