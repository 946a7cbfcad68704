"""JSON documents and Excel sheets as frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from karat.errors import UnreadableInput
from karat.extras import optional_imports
from karat.quality.dialect import text


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
                for values in columns.values():
                    if len(values) < number:
                        values.append(None)
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not JSON: {error}", remedy="write an object a line, in UTF-8") from None
    schema = {"place": pl.String, "reason": pl.String, "row": pl.String}
    rows = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
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
    yield one
    place = 1
    while rest:
        place += 1
        if rest.strip():
            try:
                found = _load(rest)
            except json.JSONDecodeError:
                found = None
            if isinstance(found, dict):
                yield found
            else:
                unread.append((f"line {place}", "not a JSON object", rest.strip()))
        rest = file.readline()


def _load(line: str) -> object:
    return json.loads(line, parse_int=_Digits, parse_float=_Digits)


def _many(found: object) -> list[dict[str, object]]:
    """The only array of objects in an object."""
    arrays = [v for v in found.values() if _is_array(v)] if isinstance(found, dict) else []
    return arrays[0] if len(arrays) == 1 and len(found) <= 5 else []  # type: ignore[arg-type]


def _is_array(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(v, dict) for v in value)


def _whole(path: Path, document: str) -> Iterator[dict[str, object]]:
    found = _load(document)
    if isinstance(found, dict):
        yield from _many(found) or [found]
    elif isinstance(found, list) and all(isinstance(v, dict) for v in found):
        yield from found
    else:
        raise UnreadableInput(f"{path} holds no JSON objects", remedy="write an object a line, or an array of objects")


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


def read_excel(path: Path, *, skip: int = 0, header: bool = True) -> pl.DataFrame:
    """Read the first sheet of an Excel file.

    Args:
        path: The file.
        skip: Rows before the header.
        header: Whether the first row names the columns.

    Returns:
        The rows, in the sheet's types; columns without a name are ``column_N``.

    Raises:
        MissingExtra: The extra ``excel`` is not installed.
        UnreadableInput: It is no Excel file.
    """
    with optional_imports():
        import fastexcel
    try:
        sheet = fastexcel.read_excel(path).load_sheet(0, skip_rows=skip, header_row=0 if header else None)
        rows = sheet.to_polars()
    except fastexcel.FastExcelError as error:
        raise UnreadableInput(f"{path} cannot be read as Excel: {error}", remedy="save it as .xlsx or CSV") from None
    named = {c: f"column_{n}" for n, c in enumerate(rows.columns, 1) if not c.strip() or c.startswith("__UNNAMED__")}
    rows = rows.rename(named)
    return rows.with_columns(
        pl.col(c).cast(pl.Int64) for c, t in rows.schema.items() if t == pl.Float64 and _whole_numbers(rows[c])
    )


def _whole_numbers(values: pl.Series) -> bool:
    """Excel stores every number as a double; whole ones are shown, and meant, as such."""
    kept = values.drop_nulls()
    return len(kept) > 0 and bool(((kept == kept.floor()) & (kept.abs() < 2**53)).all())
