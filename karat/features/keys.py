"""Keys and times of a spine, cast to the types of a feature table; text is never compared with numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from karat.clock import DAY_MICROSECONDS
from karat.errors import LookupKeyMismatch, NaiveTimestamp


def aligned(column: pl.Series, wanted: pl.DataType, *, of: str) -> pl.Series:
    """``column`` as ``wanted``, where that loses nothing: 3.0 is the key 3, a NaN no key, "3" is not the key 3.

    Raises LookupKeyMismatch, NaiveTimestamp.
    """
    given = column.dtype
    if given in (wanted, pl.Null):
        return column.cast(wanted)
    if isinstance(given, pl.Datetime):
        if wanted == pl.Date and names_days(column):
            return column.cast(pl.Date)
        refuse_naive(column)
        if isinstance(wanted, pl.Datetime):
            # A time finer than a microsecond is no key of the table, so it must match none: it becomes null below.
            cast = column.dt.convert_time_zone("UTC").cast(wanted)
            return _exactly(column, cast, cast.dt.convert_time_zone(given.time_zone or "UTC").cast(given))
    if given.is_float() and wanted.is_integer():
        column = column.fill_nan(None)
    if not _may_become(given, wanted):
        raise LookupKeyMismatch(
            f"the key column {column.name!r} is {given}, and {of} is {wanted}",
            where=of,
            remedy="cast the column; text is never compared with numbers",
        )
    if given == pl.Date and isinstance(wanted, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    cast = column.cast(wanted, strict=False)
    return cast if wanted == pl.String else _exactly(column, cast, cast.cast(given, strict=False))


def names_days(column: pl.Series) -> bool:
    """Whether a column of times without a zone has midnights alone: pandas has no other column of days."""
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone is not None:
        return False
    return bool((column == column.dt.truncate("1d")).all())


def _may_become(given: pl.DataType, wanted: pl.DataType) -> bool:
    if wanted == pl.String:
        return isinstance(given, pl.Categorical | pl.Enum)
    if wanted.is_integer():
        return given.is_numeric()
    return wanted.is_temporal() and given.is_temporal()


def _exactly(column: pl.Series, cast: pl.Series, back: pl.Series) -> pl.Series:
    """Values that the wanted type can't hold are keys that no row of the table has: null."""
    same = (back == column).fill_null(False)
    return cast if same.all() else cast.to_frame().select(pl.when(pl.Series(same)).then(pl.first())).to_series()


def refuse_naive(column: pl.Series) -> None:
    """Refuse a time column without a time zone.

    Raises:
        NaiveTimestamp: It has none.
    """
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
        raise NaiveTimestamp(
            f"the time column {column.name!r} has no time zone",
            where="the spine",
            remedy="say which one is meant: frame.with_columns(pl.col(...).dt.replace_time_zone('UTC'))",
        )


def spine_microseconds(column: pl.Series, table: pl.DataType) -> pl.Series:
    """Convert a spine's times as ``microseconds`` does; if the table's time is a date, naive midnights are days."""
    return microseconds(column.cast(pl.Date) if table == pl.Date and names_days(column) else column)


def microseconds(column: pl.Series) -> pl.Series:
    """Convert a date (00:00 UTC) or a zoned time to microseconds since 1970; finer times are truncated.

    Raises:
        LookupKeyMismatch: The column is neither.
        NaiveTimestamp: It has no time zone.
    """
    if column.dtype == pl.Null:
        return column.cast(pl.Int64)
    if column.dtype == pl.Date:
        return column.cast(pl.Int64) * DAY_MICROSECONDS
    if not isinstance(column.dtype, pl.Datetime):
        raise LookupKeyMismatch(
            f"the time column {column.name!r} is {column.dtype}, not a date or timestamp",
            where="the as-of join",
            remedy="cast it to a date, or to a timestamp with a time zone",
        )
    refuse_naive(column)
    return column.dt.epoch("us")


#: Bits of a signed number of 64, less one for a time that is later than all.
_WORD_BITS = 62
_SIGNED = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)
#: Keys and times, row for row.
KeyedTimes = tuple[pl.Series, pl.Series]


def packed(*keyed: KeyedTimes) -> tuple[list[np.ndarray], int] | None:
    """Pack a whole-number key and a time into one number, which sorts as the two do.

    Args:
        keyed: Keys with times (dates, timestamps or microseconds) of one unit; all are packed alike.

    Returns:
        An array ``(rows,)`` for each, and the number of bits of the time. None if they do not fit into 64 bits, a value
        is null, the key is no whole number, or there are no rows.
    """
    for keys, times in keyed:
        numbers = times.dtype.is_temporal() or times.dtype == pl.Int64
        if keys.dtype not in _SIGNED or not numbers or not len(keys) or keys.null_count() or times.null_count():
            return None
    arrays = [tuple(s.to_physical().cast(pl.Int64).to_numpy() for s in pair) for pair in keyed]
    first, begin = (min(int(pair[n].min()) for pair in arrays) for n in (0, 1))
    last, end = (max(int(pair[n].max()) for pair in arrays) for n in (0, 1))
    bits = (end - begin).bit_length()
    if (last - first).bit_length() + bits > _WORD_BITS:
        return None
    return [((keys - first) << bits) + (times - begin) for keys, times in arrays], bits


def sort_by_key(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Sort rows by their unique key; an entity of whole numbers and a time are compared as one number."""
    found = packed((frame[key[0]], frame[key[1]])) if len(key) > 1 else None
    if found is not None:
        (numbers,), _ = found
        order = np.argsort(numbers, kind="stable")  # of several sorted parts it merges, in a tenth of the time
        ordered = numbers[order]
        if len(key) == 2 or (ordered[1:] > ordered[:-1]).all():
            return frame[order]
    return frame.sort(key)


def order_of(wanted: pl.DataFrame, found: pl.DataFrame) -> np.ndarray | None:
    """Return the order in which ``found`` has the keys of ``wanted``, row for row.

    Args:
        wanted: Unique keys, sorted: an entity of whole numbers, a time, and further columns.
        found: Keys in columns of the same order.

    Returns:
        The rows of ``found``, ``(rows,)``; None if the keys are others, or are not seen to be the same.
    """
    both = (wanted, found)
    if wanted.height != found.height or wanted.width < 2:
        return None
    numbers = packed(*((frame.to_series(0), frame.to_series(1)) for frame in both))
    if numbers is None:
        return None
    (known, given), _ = numbers
    order = np.argsort(given, kind="stable")
    if not (given[order] == known).all() or not (known[1:] > known[:-1]).all():
        return None
    rest = zip(wanted.get_columns()[2:], found.get_columns()[2:], strict=True)
    return order if all(ours.equals(theirs[order]) for ours, theirs in rest) else None
