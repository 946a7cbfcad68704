"""A last day that has not ended in the data: drift checks leave it out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from karat.quality.unfinished_day import MAX_DAYS, MIN_DAYS, UnfinishedDay

#: A day with less than this share of the fewest rows of the days before has not ended.
SHARE = 0.5


def find_unfinished_day(rows: Mapping[date, int], of_gold: UnfinishedDay | None) -> UnfinishedDay | None:
    """Find a last day that has clearly not ended.

    It has not if gold's last day has not, or if it has less than half of the fewest rows of the 28 days before.

    Args:
        rows: Rows of each day that has any.
        of_gold: The unfinished day of the gold table that the rows are computed from.

    Returns:
        The day and the reason; None if the last day has ended.
    """
    if not rows:
        return None
    *before, last = sorted(rows)
    if of_gold is not None and of_gold.day <= last:
        return of_gold
    if len(before) < MIN_DAYS:
        return None
    fewest = min(rows[d] for d in before[-MAX_DAYS:])
    if rows[last] < SHARE * fewest:
        return UnfinishedDay(last, f"it has {rows[last]:,} rows, and the days before have at least {fewest:,}")
    return None
