"""Aggregations as SQL, a row per event: windows of time that end at each event, or a delay before it.

A window is one of time alone, ``RANGE`` over whole microseconds: of several events of one time each has the same
window, which holds all of them where it is closed on the right, and none where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from karat.clock import MICROSECOND
from karat.declare import EventFeatureTable, Feature
from karat.features.aggregates import AGGREGATES, Aggregation, form_of
from karat.features.expressions import key_list
from karat.sql import quote

#: Microseconds since 1970, and the place of a row among all: by time, then by its gold key.
TIME, PLACE = "__t", "__n"


@dataclass
class EventQuery:
    """The SQL of one table of events: values that features share, windows, one output expression a feature."""

    table: EventFeatureTable
    values: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    windows: dict[str, str] = field(default_factory=dict)

    def own(self, feature: Feature, value: str) -> None:
        """Add a feature of the event's own row."""
        self.outputs[feature.name] = self._value(value)

    def add(self, aggregation: Aggregation) -> None:
        """Add an aggregated feature."""
        feature = aggregation.feature
        if feature.function == "count" and aggregation.value is None and feature.where is None:
            self.outputs[feature.name] = f"count(*) OVER {self._window(feature)}"  # the frame's size: nothing is read
            return
        assert feature.function is not None
        aggregate = AGGREGATES[feature.function]
        self.outputs[feature.name] = form_of(feature.function, "event", aggregate.event).format(
            v=self._value(_aggregated(aggregation, aggregate.event_value(aggregation))),
            w=self._window(feature),
            n=PLACE,
        )

    def _value(self, sql: str) -> str:
        return self.values.setdefault(sql, f"__v{len(self.values)}")

    def _window(self, feature: Feature) -> str:
        assert feature.window is not None
        delay, window = (_microseconds(d) for d in (self.table.delay_of(feature), feature.window))
        open_left = self.table.closed_of(feature) == "right"
        far, near = (delay + window - 1, delay) if open_left else (delay + window, delay + 1)
        name = f"__w{far}_{near}"
        self.windows[name] = (
            f"{name} AS (PARTITION BY {key_list(self.table.entity)} ORDER BY {TIME} "
            f"RANGE BETWEEN {far} PRECEDING AND {near} PRECEDING)"
        )
        return name

    def only(self, name: str) -> EventQuery:
        """The same query with one feature, to find which of many fails."""
        return replace(self, outputs={name: self.outputs[name]})

    def render(self, relation: str, first: int, last: int) -> str:
        """One SELECT of key columns, time and features of the events from ``first`` up to ``last`` (microseconds)."""
        table = self.table
        known = " AND ".join(f"{quote(c)} IS NOT NULL" for c in table.entity)
        where = f" AND ({table.where}\n)" if table.where else ""
        ids = () if table.event_id == table.time else (table.event_id,)
        keys = f"{key_list((*table.entity, *ids))}, {TIME}"
        columns = ", ".join([keys, PLACE, *(f"{sql} AS {name}" for sql, name in self.values.items())])
        outputs = ", ".join([keys, *(f"{sql} AS {quote(name)}" for name, sql in self.outputs.items())])
        windows = f" WINDOW {', '.join(self.windows.values())}" if self.windows else ""
        return (
            f"WITH rows AS (SELECT {columns} FROM {relation} WHERE {known}{where}) "
            f"SELECT * FROM (SELECT {outputs} FROM rows{windows}) WHERE {TIME} >= {first} AND {TIME} < {last}"
        )


def _microseconds(span: timedelta) -> int:
    return span // MICROSECOND


def _aggregated(a: Aggregation, value: str) -> str:
    """The value that the aggregation reads of a row: null for rows that its condition leaves out."""
    return f"(CASE WHEN ({a.feature.where}\n) THEN {value} END)" if a.feature.where else value
