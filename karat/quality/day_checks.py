"""Checks of a table's days: freshness and volume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from statistics import median

from karat.clock import DAY
from karat.declare.base import format_duration
from karat.declare.checks import Fresh, Volume
from karat.quality.check_results import EXAMPLES, CheckResult
from karat.quality.unfinished_day import UnfinishedDay


def check_freshness(check: Fresh, newest: date | datetime | None, now: datetime) -> CheckResult:
    """Check the age of the newest row.

    Args:
        check: The check.
        newest: The newest time in the table (a date means 00:00 UTC); None if it has no rows.
        now: The current time; the check's ``as_of`` takes precedence.

    Returns:
        The result, for one row.
    """
    if check.as_of is not None:
        now = _instant(check.as_of) + DAY
    if newest is None:
        return CheckResult(check, 1, 1, ('{"newest":null}',))
    age = now - _instant(newest)
    example = {"newest": str(newest), "age": format_duration(timedelta(hours=age // timedelta(hours=1)))}
    stale = age > check.within
    return CheckResult(check, 1, int(stale), (json.dumps(example),) if stale else ())


def check_volume(check: Volume, rows: Mapping[date, int] | int, unfinished: UnfinishedDay | None = None) -> CheckResult:
    """Check the number of rows per day.

    Args:
        check: The check.
        rows: Rows of each day that has any; the number of all rows if the table has no time column.
        unfinished: A newest day that has not ended. It is left out, and an example says why.

    Returns:
        The result: ``rows`` and ``failed`` count days.
    """
    if isinstance(rows, int):
        broken = not _within(rows, check.low, check.high)
        return CheckResult(check, 1, int(broken), (json.dumps({"rows": rows}),) if broken else ())
    if not rows:
        return CheckResult(check, 1, 1, ('{"rows":0}',))
    newest, first = max(rows), min(rows)
    partial = unfinished.day if unfinished is not None and unfinished.day == newest else None
    days = [newest - n * DAY for n in range(check.last) if newest - n * DAY >= first and newest - n * DAY != partial]
    broken_days = [problem for day in days if (problem := _check_day(check, rows, day)) is not None]
    told = broken_days[:EXAMPLES]
    if unfinished is not None and partial is not None:
        told = [*told, {"day": str(partial), "rows": rows[partial], "left_out": unfinished.reason}]
    return CheckResult(check, len(days), len(broken_days), tuple(json.dumps(t) for t in told))


def _check_day(check: Volume, rows: Mapping[date, int], day: date) -> dict[str, object] | None:
    """What is wrong with the day, or None."""
    has = rows.get(day, 0)
    problem: dict[str, object] = {"day": str(day), "rows": has}
    if not has and check.gaps:
        return None
    if not has or not _within(has, check.low, check.high):
        return problem
    before = [rows[d] for n in range(1, check.days + 1) if (d := day - n * DAY) in rows]
    if not check.relative or not before:
        return None
    usual = median(before)
    low = None if check.fall is None else (1 - check.fall) * usual
    high = None if check.rise is None else (1 + check.rise) * usual
    return None if _within(has, low, high) else {**problem, "median": usual}


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _instant(value: date | datetime) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)
