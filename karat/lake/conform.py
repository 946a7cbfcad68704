"""Conformance of a frame to a table's contract: types, nulls, duplicate keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from zoneinfo import available_timezones

import polars as pl
import pyarrow as pa

from karat.clock import DAY_MICROSECONDS, days, microseconds
from karat.dtypes import decimal_type, polars_type, to_decimals
from karat.errors import (
    ColumnMissing,
    DuplicateKeys,
    KeyColumnNull,
    NaiveTimestamp,
    SchemaMismatch,
    WrongCall,
    did_you_mean,
)
from karat.lake.partitions import add_tokens, check_visible_partitions
from karat.lake.records import DAY_COLUMN, TableInfo
from karat.lake.sort_order import is_strictly_increasing

#: First and last day, and microsecond, of the years 1 to 9999.
_RANGES = {
    pl.Date: (days(date.min), days(date.max)),
    pl.Datetime: (microseconds(date.min), microseconds(date.max) + DAY_MICROSECONDS - 1),
}
_EXACT_FLOAT = 2**53  # the greatest integer up to which every integer is exact as a double


def as_polars(frame: pl.DataFrame | pl.LazyFrame | pa.Table) -> pl.DataFrame:
    """The rows as a Polars frame."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(pl.from_arrow(frame))


def check_zone(timezone: str | None) -> None:
    """Check the name of a time zone.

    Args:
        timezone: An IANA name, or None.

    Raises:
        WrongCall: There is no such zone; the message names the nearest one.
    """
    if timezone is not None and timezone not in available_timezones():
        raise WrongCall(
            f"there is no time zone {timezone!r}",
            remedy=did_you_mean(timezone, available_timezones()) or "write it as in Europe/Berlin",
        )


def conform(frame: pl.DataFrame | pa.Table, info: TableInfo, timezone: str | None = None) -> pl.DataFrame:
    """Bring a frame to a table's columns, order and types, and check its keys.

    Args:
        frame: The rows.
        info: The table's contract.
        timezone: IANA zone of naive timestamps.

    Returns:
        The rows, with the table's hidden columns.

    Raises:
        ColumnMissing: A column of the table is missing.
        SchemaMismatch: A column is unknown, or its type cannot hold a value without loss.
        NaiveTimestamp: Timestamps have no zone, and ``timezone`` is None.
        KeyColumnNull: A row has no value in a key column.
        DuplicateKeys: Several rows have the same key.
    """
    check_zone(timezone)
    frame = as_polars(frame)
    _check_columns(frame, info)
    frame = frame.select(_cast(frame[f.name], f, info, timezone) for f in info.schema)
    _check_nulls(frame, info)
    _check_duplicates(frame, info)
    check_visible_partitions(frame, info)
    frame = add_tokens(frame, info.tokens)
    if DAY_COLUMN in info.partition_by and info.timeseries:
        frame = frame.with_columns(pl.col(info.timeseries).dt.date().alias(DAY_COLUMN))
    return frame


def _check_columns(frame: pl.DataFrame, info: TableInfo) -> None:
    given, known = dict.fromkeys(frame.columns), dict.fromkeys(info.schema.names)
    for column in known:
        if column not in given:
            raise ColumnMissing(
                f"the column {column!r} is missing",
                where=str(info.name),
                remedy=did_you_mean(column, set(frame.columns) - set(info.schema.names))
                or f"the table has the columns {', '.join(info.schema.names)}",
            )
    for column in given:
        if column not in known:
            raise SchemaMismatch(
                f"the table has no column {column!r}",
                where=str(info.name),
                remedy=f"{did_you_mean(column, info.schema.names)} Drop it, or add it to the table's definition",
            )


def _cast(column: pl.Series, field: pa.Field, info: TableInfo, timezone: str | None) -> pl.Series:
    wanted, came = polars_type(field.type), decimal_type(field)
    cast = column if column.dtype == wanted else _cast_type(column, wanted, info, timezone)
    if came is not None and column.dtype != came:
        _check_decimals(cast, came, info)
    if wanted.is_temporal():
        _check_range(cast, info)
    return cast


def _check_decimals(column: pl.Series, kind: pl.Decimal, info: TableInfo) -> None:
    """Refuse numbers that the decimals of a column cannot hold: it is read as decimals."""
    lost = column.filter(column.is_not_null() & to_decimals(column, kind).is_null())
    if len(lost):
        raise SchemaMismatch(
            f"column {column.name!r} holds {kind}, which cannot hold {lost[0]!r}",
            where=str(info.name),
            remedy=f"round it before writing, as in pl.col({column.name!r}).round({kind.scale})",
        )


def _cast_type(column: pl.Series, wanted: pl.DataType, info: TableInfo, timezone: str | None) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime) and isinstance(wanted, pl.Datetime):
        return _to_utc(column, info, timezone)
    cast = column.cast(wanted, strict=False) if _may_cast(column.dtype, wanted) else None
    if cast is None or not _is_lossless(column, cast):
        raise SchemaMismatch(
            f"column {column.name!r} is {column.dtype}, and the table has {wanted}{_example(column, cast)}",
            where=str(info.name),
            remedy="round it to 15 digits, or store it as text"
            if isinstance(column.dtype, pl.Decimal)
            else "cast it before writing; Karat casts only if no value is lost",
        )
    return cast


def _may_cast(given: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether a cast keeps the meaning: text is never cast to a number, nor a number to text."""
    if given in (pl.Null, wanted):
        return True
    if isinstance(wanted, pl.List):
        return isinstance(given, pl.List | pl.Array) and _may_cast(given.inner, wanted.inner)  # type: ignore[arg-type]
    if isinstance(wanted, pl.Struct):
        parts = {f.name: f.dtype for f in wanted.fields}
        own = {f.name: f.dtype for f in given.fields} if isinstance(given, pl.Struct) else {}
        return list(own) == list(parts) and all(_may_cast(own[k], parts[k]) for k in parts)  # type: ignore[arg-type]
    if wanted == pl.String:
        return isinstance(given, pl.Categorical | pl.Enum)
    if wanted == pl.Date:
        return isinstance(given, pl.Datetime)
    if isinstance(wanted, pl.Datetime):
        return isinstance(given, pl.Datetime) and given.time_zone is not None
    return wanted.is_numeric() and given.is_numeric()


def _is_lossless(given: pl.Series, cast: pl.Series) -> bool:
    if cast.null_count() != given.null_count():
        return False
    if given.dtype.is_nested():
        return cast.cast(_plain(given.dtype), strict=False).equals(given.cast(_plain(given.dtype)))
    if given.dtype in (pl.Float32, pl.Float16, pl.Null):
        return True
    if given.dtype.is_integer() and cast.dtype == pl.Float64:
        return bool(given.is_between(-_EXACT_FLOAT, _EXACT_FLOAT).all())
    if isinstance(given.dtype, pl.Decimal) and cast.dtype == pl.Float64:  # kept as the nearest double
        return bool(((to_decimals(cast, given.dtype) == given).fill_null(False) | given.is_null()).all())
    if given.dtype.is_numeric() or given.dtype.is_temporal():
        return bool((cast.cast(given.dtype, strict=False) == given).all())
    return True


def _plain(dtype: pl.DataType) -> pl.DataType:
    """A nested type that has lists for arrays and texts for categories, so that values can be compared."""
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_plain(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(f.name, _plain(f.dtype)) for f in dtype.fields])  # type: ignore[arg-type]
    return pl.String() if isinstance(dtype, pl.Categorical | pl.Enum) else dtype


def _check_range(column: pl.Series, info: TableInfo) -> None:
    """Refuse times that Python has no value for, in a date or timestamp column."""
    first, last = _RANGES[pl.Date if column.dtype == pl.Date else pl.Datetime]
    physical = column.to_physical()
    outside = physical.filter((physical < first) | (physical > last))
    if len(outside):
        raise SchemaMismatch(
            f"{len(outside)} values of column {column.name!r} are outside the years 1 to 9999",
            where=str(info.name),
            remedy="set them to null or correct them: Python and other readers have no such times",
        )


def _example(given: pl.Series, cast: pl.Series | None) -> str:
    if cast is None or given.dtype.is_nested():
        return ""
    decimals = isinstance(given.dtype, pl.Decimal) and cast.dtype == pl.Float64
    back = to_decimals(cast, given.dtype) if decimals else cast.cast(given.dtype, strict=False)  # type: ignore[arg-type]
    lost = given.filter(given.is_not_null() & (back.is_null() | (back != given)))
    return f", which cannot hold {lost[0]!r}" if len(lost) else ""


def _to_utc(column: pl.Series, info: TableInfo, timezone: str | None) -> pl.Series:
    if column.dtype.time_zone is None:  # type: ignore[attr-defined]
        if timezone is None:
            raise NaiveTimestamp(
                f"column {column.name!r} has timestamps without a time zone",
                where=str(info.name),
                remedy="give the zone: timezone='Europe/Berlin' in the call, or timezone in the gold contract",
            )
        column = localize(column, timezone, str(info.name))
    utc = column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if column.dtype.time_unit == "ns" and not (utc.dt.cast_time_unit("ns") == column.dt.convert_time_zone("UTC")).all():  # type: ignore[attr-defined]
        raise SchemaMismatch(
            f"column {column.name!r} has times finer than a microsecond",
            where=str(info.name),
            remedy="truncate them: times are UTC microseconds",
        )
    return utc


def localize(column: pl.Series, timezone: str, where: str) -> pl.Series:
    """Read naive times as times of a zone. Of an hour that occurs twice, the first is taken.

    Args:
        column: Naive timestamps.
        timezone: The IANA zone.
        where: The table or call, for the error.

    Returns:
        Timestamps of that zone.

    Raises:
        NaiveTimestamp: A time does not exist in the zone.
        WrongCall: There is no such zone.
    """
    check_zone(timezone)
    zoned = column.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    if zoned.null_count() > column.null_count():
        lost = column.filter(zoned.is_null() & column.is_not_null())
        raise NaiveTimestamp(
            f"{len(lost)} times of column {column.name!r} do not exist in {timezone}, because the clocks go forward: "
            f"{', '.join(str(v) for v in lost.head(3))}",
            where=where,
            remedy="correct them, or give the time zone in which they were recorded",
        )
    return zoned


def _check_nulls(frame: pl.DataFrame, info: TableInfo) -> None:
    for field in info.schema:
        count = frame[field.name].null_count() if not field.nullable else 0
        if not count:
            continue
        shown = format_rows(frame.filter(pl.col(field.name).is_null()), info.primary_key)
        if field.name in info.primary_key:
            raise KeyColumnNull(
                f"{count} of {frame.height} rows have no value in the key column {field.name!r}:\n{shown}",
                where=str(info.name),
                remedy="fill or drop these rows; nothing was written",
            )
        raise SchemaMismatch(
            f"{count} of {frame.height} rows have no value in {field.name!r}, which is NOT NULL:\n{shown}",
            where=str(info.name),
            remedy="fill or drop these rows; nothing was written",
        )


def _check_duplicates(frame: pl.DataFrame, info: TableInfo) -> None:
    keys = list(info.primary_key)
    if not keys or is_strictly_increasing(frame, keys) or frame.select(keys).n_unique() == frame.height:
        return
    doubled = frame.filter(frame.select(keys).is_duplicated()).sort(keys)
    raise DuplicateKeys(
        f"{doubled.height} of {frame.height} rows share their key ({', '.join(keys)}) with another row:\n"
        f"{format_rows(doubled, keys)}",
        where=str(info.name),
        remedy=f"keep one row per key, as in frame.unique({keys!r}, keep='last'); nothing was written",
    )


def format_rows(frame: pl.DataFrame, first: Sequence[str], count: int = 3) -> str:
    """The first ``count`` rows as text: the columns ``first``, then others, at most eight."""
    columns = [*first, *(c for c in frame.columns if c not in first)][:8]
    return "\n".join(
        "    " + ", ".join(f"{k}={v}" for k, v in row.items()) for row in frame.select(columns).head(count).to_dicts()
    )
