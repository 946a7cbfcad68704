"""Current window of a drift check: the newest days, as many weeks of them as hold enough rows to judge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from math import ceil

WEEK = 7
#: A drift check needs so many rows on either side; a past period with fewer is left out.
MIN_ROWS = 50


def current_window(
    rows: Mapping[date, int], until: date | None, newest: date | None, longest: int, earliest: date | None = None
) -> tuple[date | None, date | None]:
    """Choose the newest week, or as many weeks, up to ``longest`` days, as have passed since the training set.

    Where these hold fewer than ``MIN_ROWS`` rows, as of a single series of days, earlier weeks are added until they do,
    back to the day ``earliest``.

    Args:
        rows: Rows of each day.
        until: Last day of the training set; None without time.
        newest: Newest day of the rows; None without time.
        longest: Days at most where a week has enough rows.
        earliest: First day that may be current; None for any.

    Returns:
        First and last day; None without time.
    """
    if until is None or newest is None:
        return None, None
    days = max(WEEK, min(longest, (newest - until).days // WEEK * WEEK))
    first = newest - timedelta(days=days - 1)
    oldest = max(filter(None, (min(rows, default=None), earliest)), default=first)
    while first > oldest and sum(count for day, count in rows.items() if first <= day <= newest) < MIN_ROWS:
        first = max(first - timedelta(days=WEEK), oldest)
    return first, newest


def scope_days(rows_per_day: float) -> int:
    """Return the days, in whole weeks, that hold ``MIN_ROWS`` rows."""
    return ceil(MIN_ROWS / (rows_per_day * WEEK)) * WEEK
