"""The features of one entity at the moment of a request, from the tail of its gold events.

What the engine computes of all events, this computes of one: the same windows by the same rules, on NumPy arrays of the
entity's last events. Plain columns take some microseconds a feature; an expression (``where``, a condition, an SQL
feature) goes through DuckDB, as in the engine, and takes about a millisecond for all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np

from karat.clock import from_microseconds
from karat.declare import EventFeatureTable, Feature
from karat.declare.features import Function
from karat.features.event_values import MaskedValues, finite, reduced, typed, values_of
from karat.features.request_expressions import derived, evaluated, evaluated_own
from karat.features.request_plan import RequestPlan, TableIdentity, columns_of, plan_of


def tail_columns(table: EventFeatureTable) -> tuple[str, ...]:
    """The gold columns that a tail of ``table`` holds: time, event id, and what its features read of gold."""
    own = [n for f in table.features if f.event for n in columns_of(f.event)]
    return tuple(dict.fromkeys([table.time, table.event_id, *_aggregated_columns(table), *own]))


def _aggregated_columns(table: EventFeatureTable) -> list[str]:
    texts = [t for f in table.features if f.function for t in (f.column, f.where)]
    return [n for t in (table.where, *texts) if t for n in columns_of(t)]


def event_columns(table: EventFeatureTable) -> tuple[str, ...]:
    """The gold columns of the request's own event that the features read.

    These are the columns of ``from_event``, and those of a tail if the event is in its own window.
    """
    own = [n for f in table.features if f.event for n in columns_of(f.event)]
    counts = any(f.function and table.closed_of(f) == "right" and not table.delay_of(f) for f in table.features)
    counted = [table.time, table.event_id, *_aggregated_columns(table)] if counts else []
    return tuple(dict.fromkeys([*counted, *own]))


def raw_columns(table: EventFeatureTable, features: Sequence[str]) -> tuple[str, ...]:
    """The gold columns of a new event without which ``features`` can't be computed; its key is left out.

    These are the columns of ``from_event``, and what is aggregated in a window that holds the event itself.
    """
    plan = plan_of(TableIdentity(table), tuple(features))
    texts = [str(f.event) for f in plan.own]
    for feature, (delay, _, closed) in plan.aggregated:
        if closed == "right" and not delay:
            texts += [t for t in (feature.column, feature.where, table.where) if t]
    names = dict.fromkeys(n for text in texts for n in columns_of(text))
    return tuple(n for n in names if n not in table.primary_key)


def tail_span(table: EventFeatureTable) -> timedelta:
    """How far back a tail must reach: the widest window with its delay."""
    return table.lookback


def finish(
    table: EventFeatureTable,
    tail: Mapping[str, np.ndarray],
    at: int,
    current: Mapping[str, Any] | None,
    features: Sequence[str],
) -> list[Any]:
    """The values of ``features`` for one entity at ``at`` (microseconds UTC), in the order asked.

    ``tail`` holds ``tail_columns`` of the entity's events, sorted by time and event id: time as int64 microseconds or
    datetime64; a missing value is NaN in floats, NaT in times, None in arrays of objects. Events after ``at`` do not
    count. ``current`` is the request's own event (gold columns; its time is ``at``), which counts where the window is
    closed on the right; one that is in the tail already, by its event id, counts once. Without it ``from_event``
    features are None. Derived features read the entity's own columns from ``current`` too.
    Raises FeatureNotFound, and DeclarationError where a value is not of its declared type.
    """
    plan = plan_of(TableIdentity(table), tuple(features))
    moments = _microseconds(tail[table.time])
    rows: Mapping[str, np.ndarray] = tail
    if current is not None and plan.counts_current:
        moments, rows = _with(plan, tail, moments, at, current)
    found = _aggregates(plan, rows, moments, at)
    if plan.own:
        found |= _own(plan, current, at)
    if plan.derived:
        keys = {
            **{e: current.get(e) if current else None for e in plan.key},
            table.time: from_microseconds(at),
        }
        found = derived(plan, found, keys)
    return [found[name] for name in features]


def _microseconds(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[us]").view(np.int64) if times.dtype.kind == "M" else times


def _with(
    plan: RequestPlan, tail: Mapping[str, np.ndarray], moments: np.ndarray, at: int, current: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The tail with the request's own event in its place: after those of its time with a lower event id."""
    table = plan.table
    first, end = np.searchsorted(moments, at, "left"), np.searchsorted(moments, at, "right")
    place, after, own = int(end), int(end), current.get(table.event_id)
    if table.event_id == table.time:  # the one event of that time is this one
        place = int(first)
    elif first < end and own is not None:
        ids = tail[table.event_id][first:end].tolist()
        place = int(first) + sum(i < own for i in ids)
        after = place + ids.count(own)  # what is there already is not counted twice
    rows = {c: _spliced(tail[c], current.get(c), place, after) for c in plan.columns}
    return np.concatenate([moments[:place], [at], moments[after:]]), rows


def _spliced(column: np.ndarray, value: Any, place: int, after: int) -> np.ndarray:
    one: np.ndarray
    if column.dtype.kind == "f":
        one = np.array([np.nan if value is None else value], dtype=np.float64)
    elif column.dtype.kind == "M":
        plain = value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
        one = np.array([plain], dtype=column.dtype)
    elif value is None or column.dtype.kind == "O":
        one = np.array([None], dtype=object)
        one[0] = value
    else:
        one = np.array([value])
    return np.concatenate([column[:place], one, column[after:]])


def _aggregates(plan: RequestPlan, rows: Mapping[str, np.ndarray], moments: np.ndarray, at: int) -> dict[str, object]:
    time = plan.table.time
    values = {c: values_of(moments.view("datetime64[us]") if c == time else rows[c]) for c in plan.plain}
    if plan.expressions:
        values |= evaluated(plan, rows, moments)
    moments, values = _kept(plan, moments, values)
    bounds = {w: _bounds(moments, at, *w) for w in plan.windows}
    return {
        f.name: typed(
            reduced(cast(Function, f.function), f.dtype, _read(f, values), bounds[w]), f.dtype, plan.table.name, f.name
        )
        for f, w in plan.aggregated
    }


def _read(feature: Feature, values: dict[str, MaskedValues]) -> MaskedValues | None:
    """What it aggregates, without the rows that its ``where`` leaves out; None counts rows."""
    value = values[feature.column] if feature.column else None
    if feature.where is None:
        return value
    where = values[feature.where]
    holds = where.true
    if value is None:
        return MaskedValues(np.ones(len(holds), dtype=np.int8), holds)
    return MaskedValues(value.array, holds if value.valid is None else holds & value.valid)


def _kept(
    plan: RequestPlan, moments: np.ndarray, values: dict[str, MaskedValues]
) -> tuple[np.ndarray, dict[str, MaskedValues]]:
    """The rows of the table's own condition."""
    if plan.table.where is None:
        return moments, values
    holds = values[plan.table.where].true
    return moments[holds], {c: v.of(holds) for c, v in values.items()}


def _bounds(moments: np.ndarray, at: int, delay: int, window: int, closed: str) -> tuple[int, int]:
    # Closed on the left [start, end), on the right (start, end]: the side on which equal times fall.
    side: Any = closed
    ends = np.array([at - delay - window, at - delay])
    low, high = np.searchsorted(moments, ends, side).tolist()
    return low, high


def _own(plan: RequestPlan, current: Mapping[str, Any] | None, at: int) -> dict[str, object]:
    """The features that are the event's own."""
    if current is None:
        return {f.name: None for f in plan.own}
    moment = from_microseconds(at)
    row = {**current, plan.table.time: moment}
    found = {c: row.get(c) for c in plan.own_plain}
    if plan.own_expressions:
        found |= evaluated_own(plan, row)
    return {f.name: typed(finite(found[str(f.event)]), f.dtype, plan.table.name, f.name) for f in plan.own}
