"""A last day that has not ended in the data: drift checks leave it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from karat.quality.day_checks import UNFINISHED, unfinished_day

#: The last day is compared with this many days before it that have rows, and with at least ``MIN_DAYS``.
MAX_DAYS, MIN_DAYS = 28, 7
#: A day with less than this share of the fewest rows of those days has not ended.
SHARE = 0.5


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


def find_unfinished_day(rows: Mapping[date, int], came: datetime) -> UnfinishedDay | None:
    """Find a last day that has clearly not ended.

    It has not if its rows were ingested before its end, or if it has less than half of the fewest rows of the 28 days
    before: a file that was exported at noon and ingested a day later.

    Args:
        rows: Rows of each day that has any.
        came: When the newest rows were ingested, in UTC.

    Returns:
        The day and the reason; None if the last day has ended.
    """
    if day := unfinished_day(rows, came):
        return UnfinishedDay(day, UNFINISHED)
    if len(rows) <= MIN_DAYS:
        return None
    *before, last = sorted(rows)
    fewest = min(rows[d] for d in before[-MAX_DAYS:])
    if rows[last] < SHARE * fewest:
        return UnfinishedDay(last, f"it has {rows[last]:,} rows, and the days before have at least {fewest:,}")
    return None
