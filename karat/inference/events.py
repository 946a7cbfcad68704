"""A table with a row per event, at the moment of a request: its features are finished from the tail of gold events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from karat.declare import FeatureTable, Project
from karat.errors import FeatureNotFound, did_you_mean
from karat.features import Status
from karat.features.request_features import event_columns, finish
from karat.lake import Lake
from karat.online import EPOCH, EventSource, KeySpace, OnlineStore, Row, Tail, TailReader

_MICROSECOND = timedelta(microseconds=1)


class EventTable:
    """``columns`` of one declared table. ``own``: the gold columns of the request's own event that they may read, and
    their types."""

    def __init__(self, project: Project, table: FeatureTable, columns: Sequence[str]) -> None:
        self.declared, self.columns = table, tuple(columns)
        self.source = EventSource.of(project, table)
        gold = project.gold[table.source]
        self.own = {c: gold.columns[c].dtype for c in event_columns(table) if c not in (table.time, table.event_id)}
        self.own_types = self.own | {str(table.event_id): gold.columns[str(table.event_id)].dtype}
        self.key = {e: gold.columns[e].dtype for e in table.entity}
        known = [f.name for f in table.stored]
        for column in columns:
            if column not in known:
                raise FeatureNotFound(
                    f"feature {column!r} is not in {self.source.name}",
                    where=str(self.source.name),
                    remedy=did_you_mean(column, known),
                )

    @property
    def space(self) -> KeySpace:
        return KeySpace(str(self.source.name), "events")

    def reader(self, store: OnlineStore) -> TailReader:
        return TailReader(store, self.space)

    def event(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The request's own event: what ``values`` holds of it; None where that is nothing beside its id."""
        return {n: values.get(n) for n in self.own_types} if any(n in values for n in self.own) else None

    def row(self, tail: Tail, key: Sequence[Any], at: int, current: dict[str, Any] | None) -> Row:
        """The features at ``at`` (microseconds UTC) and the time of the last event before it.

        An entity without an event is NOT_FOUND, unless the request brings one itself.
        """
        newest = tail.newest(at)
        if newest is None and current is None:
            count = len(self.columns)
            return Row((None,) * count, (Status.NOT_FOUND,) * count, None, None)
        entity = dict(zip(self.declared.entity, key, strict=True))
        event = None if current is None else current | entity
        values = tuple(finish(self.declared, tail.columns, at, event, self.columns))
        return Row(values, tuple(Status.NULL if v is None else Status.PRESENT for v in values), newest, None)

    def offline(self, lake: Lake, key: Sequence[Any], at: int, current: dict[str, Any] | None) -> Row:
        """The same from the gold table, as of ``at``."""
        return self.row(self.source.offline(lake, key, at), key, at, current)

    def stored(self, lake: Lake, named: Mapping[str, Any]) -> Row | None:
        """The row of one event, by its whole key, as the feature table has it; None where it has none yet."""
        rows = lake.scan(self.source.name).filter([pl.col(n) == v for n, v in named.items()])
        found = rows.select(str(self.declared.time), *self.columns).collect()
        if not found.height:
            return None
        time, *values = found.row(0)
        statuses = tuple(Status.NULL if v is None else Status.PRESENT for v in values)
        return Row(tuple(values), statuses, (time - EPOCH) // _MICROSECOND, None)
