"""Parsing of text and of other types into a contract's types, value by value: failures become null, with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from karat.dtypes import to_decimals
from karat.errors import NaiveTimestamp, SchemaMismatch

_TRUE, _FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]
_DATE = r"(\d{4}-\d{2}-\d{2})"
_CLOCK = r"(?:[T ]\s*(\d{2}:\d{2})(?::(\d{2})(\.\d{1,9})?)?)?"
_ZONE = r"\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?"
_TIME = f"^{_DATE}{_CLOCK}{_ZONE}$"
_UTC = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class ParsedColumn:
    """A column in the wanted type.

    Attributes:
        values: The values; null if they could not be read.
        problem: Why each value could not be read, else null.
    """

    values: pl.Series
    problem: pl.Series


def parse(column: pl.Series, dtype: str, timezone: str | None) -> ParsedColumn:
    """Parse a column.

    Args:
        column: Text or typed values.
        dtype: A declared type.
        timezone: IANA zone of naive times.

    Returns:
        The values and the reasons of those that could not be read.

    Raises:
        SchemaMismatch: The column's type means something else.
        NaiveTimestamp: Times have no zone, and ``timezone`` is None.
    """
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.Null:
        column = column.cast(pl.String)
    reader = {
        "string": _string,
        "int64": _whole,
        "float64": _number,
        "bool": _truth,
        "date": _date,
    }
    if dtype == "timestamp":
        return _timestamp(column, timezone)
    return reader[dtype](column)


def _blank_as_null(column: pl.Series) -> pl.Series:
    text = column.str.strip_chars()
    return text.set(text == "", None)


def _parsed(values: pl.Series, given: pl.Series, reason: str) -> ParsedColumn:
    """Values, with ``reason`` for each that was given and could not be read."""
    unread = values.is_null() & given.is_not_null()
    return ParsedColumn(values, _reason(unread, reason))


def _reason(where: pl.Series, reason: str) -> pl.Series:
    return pl.select(pl.when(where).then(pl.lit(reason))).to_series()


def _wrong_type(column: pl.Series, wanted: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"column {column.name!r} is {column.dtype}, and the contract wants {wanted}",
        remedy="cast it in the map, with {sql: CAST(... AS ...)}",
    )


def _string(column: pl.Series) -> ParsedColumn:
    if column.dtype != pl.String and not column.dtype.is_integer():
        raise _wrong_type(column, "text")
    return _parsed(column.cast(pl.String), column, "not text")


def _number(column: pl.Series) -> ParsedColumn:
    if column.dtype == pl.String:
        text = _blank_as_null(column)
        values = text.cast(pl.Float64, strict=False)
        problem = _parsed(values, text, "text in a number").problem
    elif column.dtype.is_numeric():
        values = column.cast(pl.Float64)
        problem = _reason(~_is_exact(column, values), "more digits than a double holds")
    else:
        raise _wrong_type(column, "a number")
    # pandas writes NaN for a missing value; infinity is no measurement.
    values = values.fill_nan(None)
    infinite = values.is_infinite().fill_null(False)
    problem = pl.select(pl.when(infinite).then(pl.lit("infinite")).otherwise(problem)).to_series()
    return ParsedColumn(values.set(infinite, None), problem)


def _is_exact(column: pl.Series, values: pl.Series) -> pl.Series:
    """Whether each decimal is the one that its double is shown as: up to 15 digits always are."""
    if not isinstance(column.dtype, pl.Decimal):
        return column.is_null() | True
    return (to_decimals(values, column.dtype) == column).fill_null(False) | column.is_null()


def _whole(column: pl.Series) -> ParsedColumn:
    if column.dtype.is_integer():
        return _parsed(column.cast(pl.Int64, strict=False), column, "too large a number")
    exact = None
    if column.dtype == pl.String:  # "12.0" is a whole number, and its digits are read as they are
        exact = _blank_as_null(column).str.replace(r"^([-+]?\d+)\.0*$", "$1").cast(pl.Int64, strict=False)
    number = _number(column)
    # From 2**53 on a float does not identify a whole number.
    whole = (number.values == number.values.round(0)) & (number.values.abs() < 2**53)
    rounded = number.values.set(~whole.fill_null(False), None).cast(pl.Int64, strict=False)
    values = rounded if exact is None else pl.select(pl.coalesce(exact, rounded)).to_series()
    fraction = values.is_null() & number.values.is_not_null()
    problem = pl.select(pl.when(fraction).then(pl.lit("not a whole number")).otherwise(number.problem)).to_series()
    return ParsedColumn(values, problem)


def _truth(column: pl.Series) -> ParsedColumn:
    if column.dtype == pl.Boolean:
        return _parsed(column, column, "")
    if column.dtype.is_integer():
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        raise _wrong_type(column, "true or false")
    text = _blank_as_null(column).str.to_lowercase()
    values = pl.select(
        pl.when(text.is_in(_TRUE)).then(pl.lit(True)).when(text.is_in(_FALSE)).then(pl.lit(False))
    ).to_series()
    return _parsed(values, text, "neither true nor false")


def _date(column: pl.Series) -> ParsedColumn:
    if column.dtype == pl.Date:
        return _parsed(column, column, "")
    if column.dtype == pl.String:
        text = _blank_as_null(column)
        clock = text.str.extract(_TIME, 2).is_null() | text.str.contains(
            r"[T ]00:00(:00(\.0+)?)?\s*(Z|z|UTC|[+-]00.*)?$"
        )
        day = _from_year_1(text.str.extract(_TIME, 1).str.to_date("%Y-%m-%d", strict=False))
        return _parsed(day.set(~clock.fill_null(True), None), text, "not a date")
    if isinstance(column.dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column
        day = utc.dt.date()
        midnight = (day.cast(pl.Datetime("us")) == utc.dt.replace_time_zone(None).dt.cast_time_unit("us")).fill_null(
            True
        )
        return _parsed(day.set(~midnight, None), column, "a time, not a date")
    raise _wrong_type(column, "a date")


def _from_year_1(times: pl.Series) -> pl.Series:
    """The times without those of the year 0, for which Python has no value."""
    return times.set((times.dt.year() < 1).fill_null(False), None)


def _timestamp(column: pl.Series, timezone: str | None) -> ParsedColumn:
    if column.dtype == pl.Date:  # DATE means 00:00 UTC
        values = column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return _parsed(values, column, "")
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone:
            return _parsed(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"), column, "")
        naive = column.dt.cast_time_unit("us")
        return _zoned(naive, column.is_not_null(), column, timezone)
    if column.dtype != pl.String:
        raise _wrong_type(column, "a time")
    return _time_text(_blank_as_null(column), timezone)


def _time_text(text: pl.Series, timezone: str | None) -> ParsedColumn:
    parts = [text.str.extract(_TIME, n) for n in range(1, 6)]
    day, clock, seconds, fraction, zone = parts
    whole = pl.select(
        pl.concat_str(
            day,
            pl.lit(" "),
            pl.Series(clock).fill_null("00:00"),
            pl.lit(":"),
            pl.Series(seconds).fill_null("00"),
            pl.Series(fraction).fill_null(".0"),
        )
    ).to_series()
    naive = _from_year_1(whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False))
    offset = zone.str.replace(r"^(Z|z|UTC)$", "+00").str.replace_all(":", "")
    minutes = offset.str.slice(1, 2).cast(pl.Int64) * 60 + offset.str.slice(3, 2).replace("", "0").cast(pl.Int64)
    minutes = minutes * pl.select(pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)).to_series()
    shifted = (naive - pl.select(pl.duration(minutes=pl.lit(minutes))).to_series()).dt.replace_time_zone("UTC")
    without = naive.is_not_null() & zone.is_null()
    local = _zoned(naive.set(~without, None), without, text, timezone)
    values = pl.select(pl.coalesce(shifted, local.values)).to_series()
    unread = text.is_not_null() & naive.is_null()
    problem = pl.select(pl.when(unread).then(pl.lit("not a time")).otherwise(local.problem)).to_series()
    return ParsedColumn(values, problem)


def _zoned(naive: pl.Series, given: pl.Series, shown: pl.Series, timezone: str | None) -> ParsedColumn:
    """Times without a zone as times of ``timezone``; of an hour that occurs twice, the first is taken."""
    if timezone is None:
        if given.any():
            raise NaiveTimestamp(
                f"column {shown.name!r} has times without a time zone, as in {shown.filter(given)[0]}",
                remedy="give the zone: --timezone Europe/Berlin, timezone in the map, or in the gold contract",
            )
        return ParsedColumn(naive.dt.replace_time_zone("UTC"), _reason(given & False, ""))
    zoned = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    values = zoned.dt.convert_time_zone("UTC")
    return ParsedColumn(values, _reason(values.is_null() & naive.is_not_null(), f"no such time in {timezone}"))
