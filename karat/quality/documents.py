"""JSON documents and Excel sheets as frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl

from karat.errors import UnreadableInput, did_you_mean
from karat.extras import optional_imports
from karat.quality.dialect import text
from karat.quality.header_rows import join_headers

if TYPE_CHECKING:
    import fastexcel


class _Digits(str):
    """The text of a JSON number: no digit of it is lost."""

    __slots__ = ()


@dataclass(frozen=True)
class Documents:
    """The objects of a JSON file.

    Attributes:
        rows: One row an object; a field of a nested object is a column ``outer.inner``; all values are text.
        texts: The columns that hold strings: never numbers.
        unread: ``place``, ``reason`` and ``row`` of the lines that are no objects.
    """

    rows: pl.DataFrame
    texts: frozenset[str]
    unread: pl.DataFrame


def read_json(path: Path) -> Documents:
    """Read JSON lines, an array of objects, or an object that holds one such array.

    Args:
        path: The file, compressed or not.

    Returns:
        Its objects.

    Raises:
        UnreadableInput: It is no such JSON.
    """
    unread: list[tuple[str, str, str]] = []
    columns: dict[str, list[str | None]] = {}
    texts: set[str] = set()
    number = 0
    try:
        with text(path, "utf-8") as file:
            for found in _objects(path, file, unread):
                for name, value, is_text in _flat(found, ""):
                    if name not in columns:
                        columns[name] = [None] * number
                    columns[name].append(value)
                    if is_text:
                        texts.add(name)
                number += 1
                for name, values in columns.items():
                    if len(values) > number:
                        raise UnreadableInput(
                            f"{path}: object {number} has the field {name!r} twice, as a name and as a path",
                            remedy="rename one of them in the file",
                        )
                    if len(values) < number:
                        values.append(None)
        rows = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not JSON: {error}", remedy="write an object a line, in UTF-8") from None
    schema = {"place": pl.String, "reason": pl.String, "row": pl.String}
    return Documents(rows, frozenset(texts), pl.DataFrame(unread, schema=schema, orient="row"))


def _objects(path: Path, file: IO[str], unread: list[tuple[str, str, str]]) -> Iterator[dict[str, object]]:
    first = file.readline()
    while first and not first.strip():
        first = file.readline()
    try:
        one = _load(first)
    except json.JSONDecodeError:
        one = None
    if not isinstance(one, dict):
        yield from _whole(path, first + file.read())
        return
    rest = file.readline()
    if not rest.strip() and _many(one):
        yield from _whole(path, first)
        return
    if not rest.strip():
        _check_orientation(path, one)
    yield one
    place = 1
    while rest:
        place += 1
        if rest.strip():
            reason = "not a JSON object"
            try:
                found = _load(rest)
            except json.JSONDecodeError as error:
                found, reason = None, error.msg if error.msg.startswith("an object names") else reason
            if isinstance(found, dict):
                yield found
            else:
                unread.append((f"line {place}", reason, rest.strip()))
        rest = file.readline()


def _load(line: str) -> object:
    return json.loads(line, parse_int=_Digits, parse_float=_Digits, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; a name that stands twice would lose the first value. Raises JSONDecodeError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(n for n in names if names.count(n) > 1)
        raise json.JSONDecodeError(f"an object names the field {doubled!r} twice", "", 0)
    return found


def _many(found: object) -> list[dict[str, object]]:
    """The only array of objects in an object."""
    arrays = [v for v in found.values() if _is_array(v)] if isinstance(found, dict) else []
    return arrays[0] if len(arrays) == 1 and len(found) <= 5 else []  # type: ignore[arg-type]


def _is_array(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(v, dict) for v in value)


def _whole(path: Path, document: str) -> Iterator[dict[str, object]]:
    found = _load(document)
    if isinstance(found, dict):
        _check_orientation(path, found)
        yield from _many(found) or [found]
    elif isinstance(found, list) and all(isinstance(v, dict) for v in found):
        yield from found
    else:
        raise UnreadableInput(f"{path} holds no JSON objects", remedy="write an object a line, or an array of objects")


def _check_orientation(path: Path, found: dict[str, object]) -> None:
    """Refuse objects by column or by key, as pandas' to_json writes them: they can be read as one row as well."""
    values = list(found.values())
    shapes = {tuple(v) if isinstance(v, dict) else len(v) if isinstance(v, list) else None for v in values}
    nested = any(isinstance(v, dict | list) and any(isinstance(i, dict) for i in v) for v in values)
    if len(values) > 1 and len(shapes) == 1 and None not in shapes and not nested:
        alike = "the same names" if isinstance(values[0], dict) else "lists"
        raise UnreadableInput(
            f"{path} is one object whose {len(values)} fields have {alike}: columns, rows by their key, or one row",
            remedy="write a list of objects, as in df.to_json(orient='records', lines=True)",
        )


def _flat(value: dict[str, object], prefix: str) -> Iterator[tuple[str, str | None, bool]]:
    """Each field's path, its text, and whether it is a string."""
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{name}.")
        elif isinstance(inner, _Digits):
            yield name, str(inner), False
        elif isinstance(inner, str):
            yield name, inner, True
        elif isinstance(inner, bool):
            yield name, "true" if inner else "false", False
        elif inner is None:
            yield name, None, False
        else:
            yield name, _dumped(inner), True


def _dumped(value: object) -> str:
    """JSON with its numbers as they were written."""
    if isinstance(value, _Digits):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dumped, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(k)}: {_dumped(v)}' for k, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Sheet:
    """A sheet of an Excel file.

    Attributes:
        rows: Its rows, in the sheet's types; columns without a name are ``column_N``.
        name: Its name.
        others: The names of the other sheets that have rows.
        unnamed: The columns that the sheet gives no name.
    """

    rows: pl.DataFrame
    name: str
    others: tuple[str, ...]
    unnamed: tuple[str, ...]


def read_excel(
    path: Path, *, sheet: str | None = None, skip: int = 0, header: bool = True, header_rows: int = 1
) -> Sheet:
    """Read a sheet of an Excel file.

    Args:
        path: The file.
        sheet: The sheet's name; by default the first one that is not empty.
        skip: Rows before the header.
        header: Whether the first row names the columns.
        header_rows: How many rows do: names of groups above names of columns.

    Returns:
        The sheet.

    Raises:
        MissingExtra: The extra ``excel`` is not installed.
        UnreadableInput: It is no Excel file, has no such sheet, or its first row is a title.
    """
    with optional_imports():
        import fastexcel
    try:
        book = fastexcel.read_excel(path)
        if sheet is not None and sheet not in book.sheet_names:
            raise UnreadableInput(f"{path} has no sheet {sheet!r}", remedy=did_you_mean(sheet, book.sheet_names))
        filled = [n for n in book.sheet_names if n == sheet or _is_filled(book, n)]
        name = sheet or next(iter(filled), book.sheet_names[0])
        if not skip and header and header_rows == 1:
            _check_title(path, book.load_sheet(name, header_row=None, n_rows=20).to_polars())
        if header and header_rows > 1:
            rows = _below_headers(book, name, skip, header_rows)
        else:
            rows = book.load_sheet(name, skip_rows=skip, header_row=0 if header else None).to_polars()
    except fastexcel.FastExcelError as error:
        first = str(error).splitlines()[0]
        raise UnreadableInput(f"{path} cannot be read as Excel: {first}", remedy="save it as .xlsx or CSV") from None
    named = {c: f"column_{n}" for n, c in enumerate(rows.columns, 1) if not c.strip() or c.startswith("__UNNAMED__")}
    rows = rows.rename(named).with_columns(
        pl.col(c).cast(pl.Int64) for c, t in rows.schema.items() if t == pl.Float64 and _whole_numbers(rows[c])
    )
    clocks = [c for c, t in rows.schema.items() if isinstance(t, pl.Datetime) and _is_clock(rows[c])]
    rows = rows.with_columns(pl.col(clocks).dt.strftime("%H:%M:%S"))
    return Sheet(rows, name, tuple(n for n in filled if n != name), tuple(named.values()))


def first_rows(path: Path, *, sheet: str | None = None, skip: int = 0) -> list[tuple[object, ...]]:
    """The first rows of a sheet of an Excel file, the header too, as ``read_excel`` would choose it."""
    with optional_imports():
        import fastexcel
    try:
        book = fastexcel.read_excel(path)
        name = sheet or next((n for n in book.sheet_names if _is_filled(book, n)), book.sheet_names[0])
        return book.load_sheet(name, header_row=None, skip_rows=skip, n_rows=20).to_polars().rows()
    except fastexcel.FastExcelError:
        return []  # read_excel says what is wrong


def _below_headers(book: fastexcel.ExcelReader, name: str, skip: int, header_rows: int) -> pl.DataFrame:
    """The rows below a header of several rows, in columns of their joined names."""
    head = book.load_sheet(name, header_row=None, skip_rows=skip, n_rows=header_rows).to_polars()
    rows = book.load_sheet(name, header_row=None, skip_rows=skip + header_rows).to_polars()
    names = join_headers(head.rows())
    given = [names[n] if n < len(names) else "" for n in range(rows.width)]
    return rows.rename({c: g or f"__UNNAMED__{n}" for n, (c, g) in enumerate(zip(rows.columns, given, strict=True))})


def _is_filled(book: fastexcel.ExcelReader, name: str) -> bool:
    return bool(book.load_sheet(name, header_row=None, n_rows=1).to_polars().width)


def _check_title(path: Path, head: pl.DataFrame) -> None:
    """Refuse a first row with a single cell above rows with several: it is a title."""
    filled = [sum(v is not None for v in row) for row in head.rows()]
    if len(filled) > 1 and filled[0] == 1 and max(filled) > 1:
        first = next(v for v in head.row(0) if v is not None)
        skip = next(n for n, count in enumerate(filled) if count > 1)
        raise UnreadableInput(
            f"the first row of {path} has a single cell, {first!r}: a title, not the names of columns",
            remedy=f"say how many rows stand before the names, as in --skip {skip}, or rename the sheet's columns",
        )


def _is_clock(values: pl.Series) -> bool:
    """Whether each value is a time of day: Excel keeps it as a part of its day 0."""
    kept = values.drop_nulls()
    return len(kept) > 0 and bool((kept.dt.year() == 1899).all())


def _whole_numbers(values: pl.Series) -> bool:
    """Excel stores every number as a double; whole ones are shown, and meant, as such."""
    kept = values.drop_nulls()
    return len(kept) > 0 and bool(((kept == kept.floor()) & (kept.abs() < 2**53)).all())
