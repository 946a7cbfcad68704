"""Tables that fit the terminal: texts fold, secondary columns give way, and ``--wide`` shows every column."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import typer
from rich.box import SIMPLE
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: The option of every command whose table leaves columns out on a narrow terminal.
Wide = Annotated[bool, typer.Option("--wide", help="show every column, however narrow the terminal")]

#: A text column is folded to this width before a secondary column is left out.
_FOLDED = 12
_WORDS = re.compile(r"\S+\s*|\s+")
#: A long word may be broken after each of its parts up to a sign.
_PARTS = re.compile(r"[^\s\-_./]+[\-_./]*\s*|[\-_./]+\s*|\s+")
#: Wider than any table; stands for a terminal without an edge.
_NO_EDGE = 100_000


class Column(NamedTuple):
    """A column of a table that fits.

    Attributes:
        name: The heading.
        number: Whether it stands on the right and never folds.
        whole: Whether its texts are kept on one line, as names are that a reader copies.
        rank: 0 for a column that always stays; of the others, the highest rank is left out first.
    """

    name: str
    number: bool = False
    whole: bool = False
    rank: int = 0


def print_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, wide: bool = False, title: str = ""
) -> None:
    """Print a table no wider than the console, or with every column if ``wide``.

    No value is cut: where even the columns that always stay are too wide, all of them fold. A line below the table
    names the columns that were left out.

    Args:
        console: Where to print.
        columns: The columns in their order.
        rows: The cells of each row, in Rich's markup.
        wide: Whether to print every column on lines as long as they need.
        title: The line above the table.
    """
    if wide:
        table = _table(columns, range(len(columns)), rows, title)
        width = max(console.width, _width(console, table))
        Console(file=console.file, width=width, force_terminal=console.is_terminal, no_color=console.no_color).print(
            table
        )
        return
    kept = list(range(len(columns)))
    while not _fits(console, columns, kept, rows) and (rank := max(columns[i].rank for i in kept)):
        kept = [i for i in kept if columns[i].rank != rank]
    fold_all = not _fits(console, columns, kept, rows)
    text_width = _text_width(console, columns, kept, rows, fold_all=fold_all)
    console.print(_table(columns, kept, rows, title, text_width=text_width, fold_all=fold_all))
    if hidden := [column.name for i, column in enumerate(columns) if i not in kept]:
        console.print(f"--wide shows also: {', '.join(hidden)}", style="dim", highlight=False, markup=False)


def _text_width(
    console: Console, columns: Sequence[Column], kept: Sequence[int], rows: Sequence[Sequence[str]], *, fold_all: bool
) -> int | None:
    """The greatest width of a text with which the table fits; None where no text must fold, or none is enough."""

    def fits(width: int | None) -> bool:
        return _width(console, _table(columns, kept, rows, "", text_width=width, fold_all=fold_all)) <= console.width

    if fits(None):
        return None
    return bisect_left(range(1, console.width + 1), True, key=lambda width: not fits(width)) or None


def _fits(console: Console, columns: Sequence[Column], kept: Sequence[int], rows: Sequence[Sequence[str]]) -> bool:
    """Whether these columns fit when every text that may fold is folded."""
    return _width(console, _table(columns, kept, rows, "", text_width=_FOLDED)) <= console.width


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(width=_NO_EDGE)).maximum


def _table(
    columns: Sequence[Column],
    kept: Sequence[int],
    rows: Sequence[Sequence[str]],
    title: str,
    *,
    text_width: int | None = None,
    fold_all: bool = False,
) -> Table:
    out = Table(title=title or None, title_justify="left", box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    for number, whole, name in ((columns[i].number, columns[i].whole, columns[i].name) for i in kept):
        fixed = (number or whole) and not fold_all
        out.add_column(
            name,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=fixed,
            max_width=None if fixed else text_width,
        )
    for row in rows:
        out.add_row(
            *(
                row[i] if text_width is None or c.no_wrap else _folded(row[i], text_width)
                for i, c in zip(kept, out.columns, strict=True)
            )
        )
    return out


def _folded(cell: str, width: int) -> Text:
    """The text on lines of at most ``width``; a word that is longer is broken after ``-``, ``_``, ``.`` or ``/``."""
    text, ends, start, end = Text.from_markup(cell), [], 0, 0
    for part in _pieces(text.plain, width):
        if cell_len(text.plain[start : end + len(part)].rstrip()) > width:
            ends.append(end)
            start = end
        end += len(part)
    lines = text.divide(ends)
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _pieces(text: str, width: int) -> Iterator[str]:
    """The words of a text, each with the spaces after it; of a longer word than ``width`` its parts."""
    for word in _WORDS.findall(text):
        if cell_len(word.rstrip()) <= width:
            yield word
        else:
            yield from (piece for part in _PARTS.findall(word) for piece in chop_cells(part, width))
