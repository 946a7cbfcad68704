"""Type inference for the columns of a file, with SQL where their text needs a conversion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from karat.dtypes import Dtype, dtype_of_polars
from karat.quality.text_parsing import parse
from karat.sql import quote

#: The share of a column's values that must be of its type; the others' rows will be set aside.
NEARLY = 0.98
_DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
#: Numbers that are not written as a contract reads them: how they look, and how they become one. With a comma or a
#: point between thousands, and the other one before the fraction.
_COMMA_THOUSANDS = (r"-?([1-9]\d{0,2}(,\d{3})+|\d+)(\.\d+)?", "CAST(replace({}, ',', '') AS DOUBLE)")
_POINT_THOUSANDS = (
    r"-?([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d+)?",
    "CAST(replace(replace({}, '.', ''), ',', '.') AS DOUBLE)",
)


@dataclass(frozen=True)
class InferredColumn:
    """A column of a file and its inferred type.

    Attributes:
        source: The file's name of the column.
        name: The gold table's name of it.
        dtype: The inferred type.
        values: The values that are not null.
        sql: SQL that converts the text, if the contract cannot read it as it is.
        told: What was inferred, in words.
    """

    source: str
    name: str
    dtype: Dtype
    values: pl.Series
    sql: str | None = None
    told: str = ""

    @property
    def unique(self) -> bool:
        """Whether no value stands twice."""
        return self.values.is_unique().all() and not self.values.is_empty()


def columns_of(rows: pl.DataFrame) -> list[InferredColumn]:
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


def _found(column: pl.Series, name: str) -> InferredColumn:
    if column.dtype != pl.String:
        return InferredColumn(column.name, name, _typed(column.dtype), column.drop_nulls())
    values = column.str.strip_chars()
    values = values.filter(values.is_not_null() & (values != ""))
    if values.is_empty() or values.str.contains(r"^0\d+$").any():  # 007 is a name
        return InferredColumn(column.name, name, "string", values)
    if set(values.unique().head(3)) <= {"0", "1"}:
        return InferredColumn(column.name, name, "bool", values)
    sql, made, told = _number(values, quote(column.name)) or _other(values, quote(column.name))
    return InferredColumn(column.name, name, made, values, sql, told)


def _typed(dtype: pl.DataType) -> Dtype:
    """Of a column that has a type already."""
    return "string" if (declared := dtype_of_polars(dtype)) == "other" else declared


#: SQL where the text is not as a contract reads it, the type that is made, and what is to be told of it.
_Reading = tuple[str | None, Dtype, str]


def _number(values: pl.Series, column: str) -> _Reading | None:
    """The way to read numbers that most of the values have; of ways that read as many, the first."""
    (english, commas), (german, points) = _COMMA_THOUSANDS, _POINT_THOUSANDS
    readings: list[tuple[int, str | None, Dtype]] = [
        (_read_as(values, "int64"), None, "int64"),
        (_read_as(values, "float64"), None, "float64"),
        (int(values.str.contains(f"^{english}$").sum()), commas.format(column), "float64"),
        (int(values.str.contains(f"^{german}$").sum()), points.format(column), "float64"),
    ]
    most, sql, dtype = max(readings, key=lambda reading: reading[0])
    if most < NEARLY * len(values):
        return None
    # 1,234 and 1.234 are numbers both ways; where nothing in the column speaks against either, that is told.
    marked = values.filter(values.str.contains(f"^{german}$") & values.str.contains("[.,]"))
    if readings[-1][0] < most or sql == readings[-1][1] or marked.is_empty():
        return sql, dtype, ""
    shown = marked[0]
    read, other = shown.replace(",", ""), shown.replace(".", "").replace(",", ".")
    return sql, dtype, f"{column} {shown} is read as {float(read):.15g}, and could be {float(other):.15g}"


def _read_as(values: pl.Series, dtype: Dtype) -> int:
    return parse(values, dtype, "UTC").problem.null_count()


def _other(values: pl.Series, column: str) -> _Reading:
    """What is no number; text as it is where nothing fits."""
    tried: tuple[Dtype, ...] = ("bool", "date", "timestamp")
    for dtype in tried:
        if _read_as(values, dtype) >= NEARLY * len(values):
            return None, dtype, ""
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
