"""What a reader of features should say, by plain loops over the rows of a feature table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from karat.training_sets.lookups import PinnedLookup

Rows = Sequence[Mapping[str, Any]]
Said = tuple[list[Any], list[str]]


def moment(value: date) -> datetime:
    """A date is its midnight UTC."""
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)


def said(lookup: PinnedLookup, rows: Rows, keys: Mapping[str, Any], at: datetime) -> Said:
    """Values and statuses of one key; of a point-in-time lookup as of ``at``. ``rows`` are those of its entity."""
    if lookup.sequence_length is not None:
        return _sequence(lookup, _known(lookup, rows, keys, at), at)
    row = _row(lookup, rows, keys, at)
    values: list[Any] = []
    statuses = []
    for column in lookup.columns:
        value = row.get(column) if isinstance(row, Mapping) else None
        status = row if isinstance(row, str) else "NULL" if value is None else "PRESENT"
        if status in ("NOT_FOUND", "EXPIRED") and column in lookup.defaults:
            value, status = lookup.defaults[column], "DEFAULTED"
        values.append(value)
        statuses.append(status)
    return values, statuses


def _matching(lookup: PinnedLookup, rows: Rows, keys: Mapping[str, Any]) -> Rows:
    if any(keys[column] is None for column in lookup.keys):
        return []
    return [row for row in rows if all(row[key] == keys[column] for column, key in lookup.keys.items())]


def _known(lookup: PinnedLookup, rows: Rows, keys: Mapping[str, Any], at: datetime) -> Rows:
    """The rows known at ``at``, by their time."""
    assert lookup.time is not None
    time = lookup.time[1]
    known = [row for row in _matching(lookup, rows, keys) if moment(row[time]) + lookup.lag <= at]
    return sorted(known, key=lambda row: moment(row[time]))


def _row(lookup: PinnedLookup, rows: Rows, keys: Mapping[str, Any], at: datetime) -> Mapping[str, Any] | str:
    """The row to be used, or the status that says why there is none."""
    if lookup.time is None:
        same = _matching(lookup, rows, keys)
        assert len(same) < 2
        return same[0] if same else "NOT_FOUND"
    known = _known(lookup, rows, keys, at)
    if not known:
        return "NOT_FOUND"
    return "EXPIRED" if _expired(lookup, known[-1], at) else known[-1]


def _expired(lookup: PinnedLookup, row: Mapping[str, Any], at: datetime) -> bool:
    assert lookup.time is not None
    return lookup.lookback is not None and moment(row[lookup.time[1]]) < at - lookup.lookback


def _sequence(lookup: PinnedLookup, known: Rows, at: datetime) -> Said:
    """The last rows, oldest first and padded in front, and the mask; a wide gap or the lookback ends them."""
    assert lookup.time is not None
    assert lookup.sequence_length is not None
    taken: list[Mapping[str, Any]] = []
    for row in reversed(known):
        gap = moment(taken[-1][lookup.time[1]]) - moment(row[lookup.time[1]]) if taken else timedelta(0)
        wide = lookup.step is not None and gap > lookup.step
        if len(taken) == lookup.sequence_length or wide or _expired(lookup, row, at):
            break
        taken.append(row)
    padding = lookup.sequence_length - len(taken)
    found = "PRESENT" if taken else "EXPIRED" if known else "NOT_FOUND"
    values, statuses = [], []
    for column in lookup.columns:
        line = [None if row[column] is None else float(row[column]) for row in reversed(taken)]
        values.append([None] * padding + line)
        statuses.append(found if not taken else "NULL" if taken[0][column] is None else "PRESENT")
    mask = [False] * padding + [True] * len(taken)
    return [*values, *([mask] if lookup.mask else [])], [*statuses, *([found] if lookup.mask else [])]
