"""Which days of a feature table a change of gold touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from karat.clock import DAY
from karat.declare import FeatureTable
from karat.features.engine import Days


def affected_days(table: FeatureTable, changed: Iterable[date], before: date | None, now: date | None) -> list[date]:
    """The days whose rows a change of gold's ``changed`` days can touch, sorted.

    A gold row of day d is in the windows of d to d + w - 1; of a table of events in those of d itself, and of the days
    from d + delay to d + delay + w. No row lies after gold's last day (``before`` the change,
    or ``now``); where that has moved, idle entities gain or lose the days in between.
    """
    ends = [day for day in (before, now) if day is not None]
    if not ends:
        return []
    last, touched = max(ends), [timedelta(days=n) for n in table.affected_offsets]
    found = {day + after for day in changed for after in touched if day + after <= last}
    if len(ends) == 2 and before != now and table.fills_idle_days:
        found.update(_each_day(min(ends) + DAY, last))
    return sorted(found)


def _each_day(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def stretches(days: Sequence[date], *, bridge: timedelta) -> list[Days]:
    """Join sorted days to (first, last) pairs, across gaps of up to ``bridge``: the lookback is read anyway."""
    found: list[Days] = []
    for day in days:
        if found and day - found[-1][1] <= bridge:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
