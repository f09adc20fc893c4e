"""Readers of label cells: one name, several names with a separator, a list, a written list, or a vector of 0 and 1."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxrank.data.cells import as_text
from voxrank.data.utterance import Task
from voxrank.errors import UtteranceError, shortened

MAX_LIST_CHARACTERS = 100_000
"""Maximum number of characters of a written list."""
LEAST_VECTOR = 3
"""Minimum length of a vector of 0 and 1. Such a list repeats an item, so that it cannot be a list of names."""
CLOSING = {"[": "]", "{": "}", "(": ")"}
_ITEM = re.compile(r"""\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[-+]?[\d.]+(?:[eE][-+]?\d+)?)""")
_QUOTED = re.compile(r"""[\[{(\s]*['"]""")
_BETWEEN = re.compile(r"\s*,\s*|\s+|$")


def written_list(text: str) -> list[Any] | None:
    r"""Return the items of a list that is written in a cell, or None where the text is not a list.

    JSON, Python's lists, tuples and sets, NumPy's arrays (``['a' 'b']``) and bare names (``{a,b}``, ``[a, b]``) are
    read. A single bare name in brackets, such as "[noise]", is a name.

    Args:
        text: the cell, stripped.

    Raises:
        UtteranceError: the text begins like a list but is not a valid list.

    Example:
        >>> written_list("['a', 'b']"), written_list("{a,b}"), written_list("[noise]")
        (['a', 'b'], ['a', 'b'], None)
    """
    if text[:1] not in CLOSING or len(text) < 2:
        return None
    if len(text) > MAX_LIST_CHARACTERS:
        raise UtteranceError(f"expected a list of at most {MAX_LIST_CHARACTERS:,} characters, got {len(text):,}")
    inner = text[1:-1].strip()
    is_closed = text[-1] == CLOSING[text[0]]
    is_quoted = _QUOTED.match(inner) is not None
    if is_closed and not inner:
        return []
    items = (_json_list(text) or _items(inner) or _array_of_postgres(text)) if is_closed else None
    if items is None and is_quoted:
        raise UtteranceError(f'expected a list of labels such as ["a", "b"], got {shortened(text, 60)}')
    return _bare_names(inner) if items is None and is_closed and text[0] != "(" else items


def _json_list(text: str) -> list[Any] | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, list) else None


def _items(inner: str) -> list[Any] | None:
    """Return quoted names and numbers, separated by commas or spaces."""
    items: list[Any] = []
    position = 0
    while position < len(inner):
        item = _ITEM.match(inner, position)
        separator = _BETWEEN.match(inner, item.end()) if item else None
        if item is None or separator is None:
            return None
        try:
            items.append(ast.literal_eval(item[0].strip()))
        except (ValueError, SyntaxError):
            return None
        position = max(separator.end(), item.end())
    return items or None


def _array_of_postgres(text: str) -> list[Any] | None:
    """Return the names in braces, with or without double quotes, such as ``{"a b",c}``."""
    if text[0] != "{" or ":" in text or '"' not in text:
        return None
    try:
        [names] = csv.reader([text[1:-1]], strict=True, escapechar="\\")
    except (csv.Error, ValueError):
        return None
    return list(names)


def _bare_names(inner: str) -> list[Any] | None:
    """Return unquoted names. Only a comma or a semicolon distinguishes several names from a single name."""
    separator = next((sign for sign in ",;" if sign in inner), None)
    if separator is None or any(bracket in inner for bracket in "[]{}()"):
        return None
    return [name.strip() for name in inner.split(separator)]


@dataclass(frozen=True)
class LabelCells:
    """A reader of the cells of the target column.

    Attributes:
        task: task of the cells; lists of several labels make a classification multi-label.
        separator: separator of the labels in a text; empty where the whole text is one label.
        has_lists: whether most cells are lists.
        has_vectors: whether the cells are vectors of 0 and 1, one number for each class.
        notes: assumptions about the cells, one line each.
    """

    task: Task
    separator: str = ""
    has_lists: bool = False
    has_vectors: bool = False
    notes: tuple[str, ...] = ()

    def labels(self, cell: Any, column: str) -> tuple[str, ...] | None:
        """Return the sorted labels in a cell, which may be none, or None where the cell is empty.

        Raises:
            UtteranceError: the cell holds no labels.
        """
        items = _list_in(cell)
        if items is None:
            text = as_text(cell, column)
            if text is None:
                return None
            items = text.split(self.separator) if self.separator else [text]
        elif self.has_vectors:
            items = [str(number) for number, flag in enumerate(items) if float(flag)]
        return tuple(sorted({name for item in items if (name := as_text(item, column))}))

    def label(self, cell: Any, column: str) -> str | None:
        """Return the one label in a cell, or None where the cell is empty.

        Raises:
            UtteranceError: the cell holds no label, or several.
        """
        items = _list_in(cell) if self.has_lists or not isinstance(cell, list) else None
        if items is None:
            return as_text(cell, column)
        if len(items) > 1:
            raise UtteranceError(f"expected one label in the column {column!r}, got a list of {len(items)}")
        return as_text(items[0], column) if items else None


def _list_in(cell: Any) -> list[Any] | None:
    """Return the list in a cell. Raises as `written_list`."""
    if isinstance(cell, list):
        return cell
    return written_list(cell.strip()) if isinstance(cell, str) else None


def read_label_cells(cells: Sequence[Any], column: str, task: Task) -> LabelCells:
    """Determine how to read the cells of the target column.

    Args:
        cells: cells of all rows.
        column: target column.
        task: task according to the name of the column.
    """
    if task not in ("classification", "multilabel"):
        return LabelCells(task)
    filled = [cell for cell in cells if cell is not None and cell != ""]
    lists = [items for cell in filled if (items := _list_or_none(cell)) is not None]
    has_lists = 2 * len(lists) > len(filled)
    several = task == "multilabel" or (has_lists and any(len(items) > 1 for items in lists))
    if not several:
        note = f"the lists in the column {column!r} hold one label each"
        return LabelCells(task, has_lists=has_lists, notes=(note,) if has_lists else ())
    has_vectors = has_lists and len(lists) == len(filled) and _are_vectors(lists)
    separator = _separator([cell for cell in filled if isinstance(cell, str) and _list_or_none(cell) is None])
    notes = []
    if has_vectors:
        notes.append(
            f"the column {column!r} holds vectors of 0 and 1: its labels are the positions of the ones, from 0"
        )
    elif task == "classification" or any(isinstance(cell, str) for cell in filled if has_lists):
        notes.append(f"the column {column!r} holds lists: an utterance may have several labels")
    if separator == "|":
        notes.append(f"labels in the column {column!r} are separated by '|'")
    return LabelCells("multilabel", separator, has_lists, has_vectors, tuple(notes))


def _list_or_none(cell: Any) -> list[Any] | None:
    try:
        return _list_in(cell)
    except UtteranceError:
        return None


def _are_vectors(lists: Sequence[Sequence[Any]]) -> bool:
    length = len(lists[0])
    if length < LEAST_VECTOR or any(len(items) != length for items in lists):
        return False
    return all(isinstance(item, int | float) and item in (0, 1) for items in lists for item in items)


def _separator(cells: Sequence[str]) -> str:
    """Return the separator of labels: a semicolon if any cell has one, else comma, else vertical bar, else comma."""
    for sign in (";", ",", "|"):
        if any(sign in cell for cell in cells):
            return sign
    return ","
