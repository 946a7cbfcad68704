"""The last day of a gold table that has not ended in the data: checks of days leave it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from karat.clock import DAY
from karat.declare.gold import GoldTable
from karat.dtypes import POLARS
from karat.lake import Lake
from karat.names import TableName

#: Why a last day is left out.
UNFINISHED = "the day had not ended when its rows were ingested"
#: The last day is compared with this many days before it that have rows, and with at least ``MIN_DAYS``.
MAX_DAYS, MIN_DAYS = 28, 7
#: A last day was cut off if its rows end by so much earlier than those of each of these days.
EARLIER = timedelta(hours=1)


@dataclass(frozen=True)
class UnfinishedDay:
    """A last day that is left out.

    Attributes:
        day: The day, in UTC.
        reason: Why it counts as unfinished.
    """

    day: date
    reason: str

    def __str__(self) -> str:
        return f"{self.day} is left out: {self.reason}"


def unfinished_gold_day(
    lake: Lake, name: TableName, table: GoldTable, version: int | None = None
) -> UnfinishedDay | None:
    """Find a last day of a gold table that has not ended.

    It has not if its rows were ingested before its end. Of a file that was exported at noon and ingested a day later
    the hours tell it: the rows of the last day end earlier than those of each of the days before.

    Args:
        lake: The lake.
        name: The gold table.
        table: Its declaration.
        version: A version; the newest by default.

    Returns:
        The day and the reason; None if the last day has ended, or if the table has no time or no rows.
    """
    if table.event_time is None or not lake.exists(name):
        return None
    time, timed = pl.col(table.event_time), lake.info(name).timeseries is not None
    days = lake.rows_by_day(name, version) if timed else _rows_by_day(lake.scan(name, version), time)
    if (found := ingested_too_early(days, lake.changed_at(name))) is not None:
        return found
    if table.columns[table.event_time].dtype != "timestamp" or len(days) <= MIN_DAYS:
        return None
    compared = sorted(days)[-1 - MAX_DAYS :]
    scanned = lake.scan(name, version, days=(compared[0], compared[-1]) if timed else None)
    rows = scanned.select(time.cast(POLARS["timestamp"]).alias("at"))
    ends = rows.group_by(pl.col("at").dt.date().alias("day")).agg(pl.col("at").max()).drop_nulls().collect()
    return cut_off({day: at for day, at in ends.iter_rows() if day in compared})


def _rows_by_day(rows: pl.LazyFrame, time: pl.Expr) -> dict[date, int]:
    """The rows of each day of a table that another program made, without a time column for Karat."""
    return dict(rows.group_by(time.cast(pl.Date).alias("day")).len().drop_nulls().collect().iter_rows())


def ingested_too_early(rows: Mapping[date, int], came: datetime) -> UnfinishedDay | None:
    """Find the newest day if it had not ended when its rows came in.

    Args:
        rows: Rows of each day that has any.
        came: When the newest rows were ingested, in UTC.
    """
    newest = max(rows, default=None)
    if newest is None or came >= datetime(newest.year, newest.month, newest.day, tzinfo=UTC) + DAY:
        return None
    return UnfinishedDay(newest, UNFINISHED)


def cut_off(ends: Mapping[date, datetime]) -> UnfinishedDay | None:
    """Find the newest day if its rows end earlier than those of each day before.

    Args:
        ends: The time of the last row of each day that has any.
    """
    if len(ends) <= MIN_DAYS:
        return None
    *before, last = sorted(ends)
    earliest = min(ends[day] - _midnight(day) for day in before[-MAX_DAYS:])
    end = ends[last] - _midnight(last)
    if end + EARLIER > earliest:
        return None
    return UnfinishedDay(
        last, f"its rows end at {_clock(end)}, and those of the days before at {_clock(earliest)} or later"
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _clock(span: timedelta) -> str:
    return f"{datetime(2000, 1, 1) + span:%H:%M}"
