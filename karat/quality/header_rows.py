"""Headers of two rows: names of groups above names of columns, as spreadsheets with merged cells have them."""

from __future__ import annotations

import re
from collections.abc import Sequence

Row = Sequence[object]
_NUMBER = re.compile(r"\s*[-+]?[$€£]?\s*[0-9][0-9.,'\s]*%?\s*")


def join_headers(rows: Sequence[Row]) -> list[str]:
    """The names of columns under their groups: ``Sales`` above ``Q1`` and ``Q2`` gives ``Sales Q1``, ``Sales Q2``.

    Args:
        rows: The rows of the header; a merged cell stands in its first column.

    Returns:
        The names; empty where no row has one.
    """
    width = max(map(len, rows))
    *groups, last = [[_text(row[n]) if n < len(row) else "" for n in range(width)] for row in rows]
    names = last
    for group in reversed(groups):
        above = ""
        joined = []
        for one, name in zip(group, names, strict=True):
            above = one or (above if name else "")
            joined.append(name if above == name else f"{above} {name}".strip())
        names = joined
    return names


def has_two_headers(rows: Sequence[Row]) -> bool:
    """Whether the second row of a file goes on with its header.

    It does if a name of the first row stands over several of the second, if each column has a name in one of them, and
    if columns with a text in the second row have numbers below.

    Args:
        rows: The first rows.
    """
    if len(rows) < 3 or len(rows[0]) < 3:
        return False
    width = len(rows[0])
    first, second, *body = [[_text(row[n]) if n < len(row) else "" for n in range(width)] for row in rows]
    if not all(a or b for a, b in zip(first, second, strict=True)) or any(map(_NUMBER.fullmatch, (*first, *second))):
        return False
    repeated = {a for a in first if a and first.count(a) > 1}
    spans = any(first[n] and second[n] and not first[n + 1] and second[n + 1] for n in range(width - 1))
    joined = join_headers((first, second))
    if not (repeated or spans) or len({n.lower() for n in joined}) < width:
        return False
    named = [n for n in range(width) if second[n]]
    return any(_are_numbers([row[n] for row in body]) for n in named)


def _are_numbers(values: Sequence[str]) -> bool:
    filled = [v for v in values if v]
    return bool(filled) and all(_NUMBER.fullmatch(v) for v in filled)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
