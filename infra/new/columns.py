"""What the columns of a file hold: the type that nearly all of their values have, and SQL where they need some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from karat.declare import Dtype
from karat.features.connection import quote
from karat.quality.parse import parse

#: The share of a column's values that must be of its type; the others' rows will be set aside.
NEARLY = 0.98
_DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
#: Numbers that are not written as a contract reads them: how they look, and how they become one.
_NUMBERS = {
    r"-?(\d{1,3}(\.\d{3})+|\d+),\d+": "CAST(replace(replace({}, '.', ''), ',', '.') AS DOUBLE)",
    r"-?\d{1,3}(,\d{3})+(\.\d+)?|-?\d+\.\d+": "CAST(replace({}, ',', '') AS DOUBLE)",
}


@dataclass(frozen=True)
class Found:
    """A column of a file: ``source`` as the file names it, ``name`` in gold, SQL over the file where its text is not as
    the contract's type is written, and its values that are there."""

    source: str
    name: str
    dtype: Dtype
    values: pl.Series
    sql: str | None = None
    told: str = ""

    @property
    def unique(self) -> bool:
        return self.values.is_unique().all() and not self.values.is_empty()


def columns_of(rows: pl.DataFrame) -> list[Found]:
    """Every column of a file's rows."""
    names = _names(rows.columns)
    return [_found(rows[source], name) for source, name in zip(rows.columns, names, strict=True)]


def _names(sources: Sequence[str]) -> list[str]:
    """Small letters, digits and underscores, each once."""
    made: list[str] = []
    for place, source in enumerate(sources):
        name = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_") or f"column_{place + 1}"
        name = f"column_{name}" if name[0].isdigit() else name
        made.append(name if name not in made else f"{name}_{place + 1}")
    return made


def _found(column: pl.Series, name: str) -> Found:
    if column.dtype != pl.String:
        return Found(column.name, name, _typed(column.dtype), column.drop_nulls())
    values = column.str.strip_chars()
    values = values.filter(values.is_not_null() & (values != ""))
    dtype = _plain(values)
    if dtype is not None:
        return Found(column.name, name, dtype, values)
    sql, made, told = _written_otherwise(values, quote(column.name))
    return Found(column.name, name, made, values, sql, told)


def _typed(dtype: pl.DataType) -> Dtype:
    """Of a column that has a type already."""
    if dtype.is_integer():
        return "int64"
    if dtype.is_numeric():
        return "float64"
    if isinstance(dtype, pl.Datetime):
        return "timestamp"
    return {pl.Boolean: "bool", pl.Date: "date"}.get(type(dtype), "string")  # type: ignore[return-value]


def _plain(values: pl.Series) -> Dtype | None:
    """The type that the values are written as; None where it may be one that is written otherwise."""
    if values.is_empty() or values.str.contains(r"^0\d+$").any():  # 007 is a name
        return "string"
    if set(values.unique().head(3)) <= {"0", "1"}:
        return "bool"
    tried: tuple[Dtype, ...] = ("int64", "float64", "bool", "date", "timestamp")
    for dtype in tried:
        if parse(values, dtype, "UTC").problem.null_count() >= NEARLY * len(values):
            return dtype
    return None


def _written_otherwise(values: pl.Series, column: str) -> tuple[str | None, Dtype, str]:
    """SQL, the type that it makes, and what is to be told of it; text as it is where nothing fits."""
    for pattern, sql in _NUMBERS.items():
        if values.str.contains(rf"^({pattern}|-?\d+)$").mean() >= NEARLY:  # type: ignore[operator]
            return sql.format(column), "float64", ""
    shares = _shares(values, [day + clock for clock in _CLOCKS for day in _DAYS])
    fitting = [(day, clock) for clock in _CLOCKS for day in _DAYS if shares[day + clock] >= NEARLY]
    if not fitting:
        return None, "string", ""
    day, clock = fitting[0]
    also = [d for d, c in fitting[1:] if c == clock]
    told = f"{column} is read as {day}{clock}, and could be {also[0]}" if also else ""
    sql = f"strptime({column}, '{day}{clock}')"
    return (sql, "timestamp", told) if clock else (f"{sql}::date", "date", told)


def _shares(values: pl.Series, written: Sequence[str]) -> dict[str, float]:
    """Of each form which share of the values is a time that is written so."""
    asked = ", ".join("avg((try_strptime(v, ?) IS NOT NULL)::int)" for _ in written)
    with duckdb.connect() as connection:
        connection.register("given", values.alias("v").to_frame().to_arrow())
        row = connection.execute(f"SELECT {asked} FROM given", list(written)).fetchone()
    return dict(zip(written, row or (), strict=True))
