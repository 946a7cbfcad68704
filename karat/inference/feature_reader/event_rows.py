"""Reads of a table with a row per event: features are finished at the request from the entity's gold events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

import polars as pl

from karat.clock import EPOCH, MICROSECOND, microseconds, utc_now
from karat.declare import EventFeatureTable, Project
from karat.errors import FeatureLookupFailed, FeatureNotFound, StoreUnreachable, did_you_mean
from karat.features import Status
from karat.features.request_features import event_columns, finish
from karat.inference.feature_reader.table_read import TableRead, fill, slots
from karat.inference.feature_reader.vector import EntityRow
from karat.lake import Lake
from karat.online import MARGIN, EventSource, Keys, KeySpace, OnlineStore, Row, Tail, TailReader, Value
from karat.training_sets.lookups import PinnedLookup


class EventRead(TableRead):
    """Finishes features at the moment of the request, or at the time that its keys name.

    Keys that name a past event whole get the row that the feature table has for it.

    Attributes:
        own_types: Gold columns of the request's own event that it may bring -> declared type.
    """

    def __init__(
        self,
        lookups: Sequence[PinnedLookup],
        places: Mapping[str, int],
        store: OnlineStore | None,
        lake: Lake,
        declared: tuple[Project, EventFeatureTable],
    ) -> None:
        super().__init__(lookups, places, store, lake)
        project, table = declared
        self._declared, self._source, self._definition = (
            table,
            EventSource.of(project, table),
            lookups[0].definition_hash,
        )
        gold = project.gold[table.source].columns
        self._own = {c for c in event_columns(table) if c not in (table.time, table.event_id)}
        self.own_types = {c: gold[c].dtype for c in (*event_columns(table), str(table.event_id)) if c != table.time}
        self._check_columns()
        self._slots = slots(lookups, places, self.columns)
        # A point-in-time lookup names neither: "" is no column.
        self._time = self._request_column.get(str(table.time), "")
        self._event_id = self._request_column.get(str(table.event_id), "")

    def _check_columns(self) -> None:
        known = [f.name for f in self._declared.stored]
        for column in self.columns:
            if column not in known:
                raise FeatureNotFound(
                    f"feature {column!r} is not in {self.table}",
                    where=str(self.table),
                    remedy=did_you_mean(column, known),
                )

    @cached_property
    def reader(self) -> TailReader:
        """The reader of the online events; made at the first use, since a past moment needs no store."""
        if self._store is None:
            raise StoreUnreachable("no online store was given", remedy="read as of a time, or give a store")
        return TailReader(self._store, self.space)

    @cached_property
    def space(self) -> KeySpace:
        """Where the online store keeps the events."""
        return KeySpace(str(self.table), "events")

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The request's columns of the entity."""
        return tuple(self._request_column[name] for name in self._declared.entity)

    @property
    def optional(self) -> frozenset[str]:
        """The request's columns of the event's time and id."""
        return frozenset(c for c in (self._time, self._event_id) if c)

    def is_online(self, keys: Keys) -> bool:
        """Whether the online events reach back to the time that the keys name."""
        moment = keys.get(self._time)
        return not isinstance(moment, datetime) or moment > utc_now() - MARGIN

    def online(self, rows: Sequence[EntityRow], records: Sequence[bytes | None], at: int) -> None:
        """Fill vectors from online events."""
        self._check_definition()
        for row, record in zip(rows, records, strict=True):
            self._fill(row, self.reader.tail_of(record), at)

    def offline(self, rows: Sequence[EntityRow], at: int) -> None:
        """Fill vectors from the gold table; a past event that is named whole, from the feature table."""
        self._check_definition()
        for row in rows:
            stored = self._stored(row.keys)
            if stored is not None:
                self._put(row, stored, self._moment(row.keys, at))
            else:
                key, moment = self.key(row.keys), self._moment(row.keys, at)
                self._fill(row, None if None in key else self._source.offline(self._lake, key, moment), at)

    def _fill(self, row: EntityRow, tail: Tail | None, at: int) -> None:
        """Finish the features; an entity without an event is NOT_FOUND unless the request brings one itself."""
        moment, key, event = self._moment(row.keys, at), self.key(row.keys), self._event(row)
        newest = None if tail is None else tail.newest(moment)
        if tail is None or None in key or (newest is None and event is None):
            count = len(self.columns)
            self._put(row, Row((None,) * count, (Status.NOT_FOUND,) * count, None, None), moment)
            return
        current = None if event is None else event | dict(zip(self._declared.entity, key, strict=True))
        values = tuple(finish(self._declared, tail.columns, moment, current, self.columns))
        self._put(row, Row(values, _statuses(values), newest, None), moment)

    def _put(self, row: EntityRow, stored: Row, at: int) -> None:
        row.vector.record(self.table, stored)
        fill(row.vector, stored, self._slots, at)

    def _moment(self, keys: Keys, at: int) -> int:
        named = keys.get(self._time)
        return microseconds(named) if isinstance(named, datetime) else at

    def _event(self, row: EntityRow) -> dict[str, Value] | None:
        """The request's own event; None if it brings nothing of it beside its id."""
        if not any(name in row.event for name in self._own):
            return None
        event = {name: row.event.get(name) for name in self.own_types}
        event_id = row.keys.get(self._event_id)
        return event if event_id is None else event | {str(self._declared.event_id): event_id}

    def _stored(self, keys: Keys) -> Row | None:
        """The feature table's row of an event that is named whole; None if it has none yet."""
        named = {key: keys.get(column) for column, key in self.pairs.items()}
        if not (self._time and self._event_id) or None in named.values():
            return None
        rows = self._lake.scan(self.table).filter([pl.col(n) == v for n, v in named.items()])
        found = rows.select(str(self._declared.time), *self.columns).collect()
        if not found.height:
            return None
        time, *values = found.row(0)
        return Row(tuple(values), _statuses(values), (time - EPOCH) // MICROSECOND, None)

    def _check_definition(self) -> None:
        """Raises FeatureLookupFailed if the model learned from another definition of the table."""
        current = self._declared.definition_hash
        if self._definition and self._definition != current:
            raise FeatureLookupFailed(
                f"the definition of {self._declared.name!r} is another than the one the model was trained with",
                where=f"definition {current}, in the model {self._definition}",
                remedy="train the model again; a new meaning needs a new name",
            )


def _statuses(values: Sequence[Value]) -> tuple[Status, ...]:
    return tuple(Status.NULL if v is None else Status.PRESENT for v in values)
