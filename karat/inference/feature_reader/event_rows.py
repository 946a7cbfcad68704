"""Reads of a table with a row per event: features are finished at the request from the entity's gold events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl

from karat.clock import EPOCH, MICROSECOND, from_microseconds, microseconds, utc_now
from karat.declare import EventFeatureTable, Project
from karat.errors import FeatureLookupFailed, FeatureNotFound, InvalidRequest, StoreUnreachable, did_you_mean
from karat.features import Status
from karat.features.request_features import event_columns, finish, raw_columns
from karat.inference.feature_reader.table_read import TableRead, fill, slots
from karat.inference.feature_reader.vector import EntityRow
from karat.lake import Lake
from karat.names import TableName
from karat.online import MARGIN, EventSource, Keys, KeySpace, KeyValue, OnlineStore, Row, Tail, TailReader, Value
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
        self.own_types = {c: gold[c].dtype for c in (*event_columns(table), table.event_id) if c != table.time}
        self._own_features = frozenset(f.name for f in table.features if f.event)
        self._outputs = {c: [lk.columns[c] for lk in lookups if c in lk.columns] for c in self.columns}
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
            self._fill(row, self.reader.tail_of(record), self._moment(row.keys, at))

    def offline(self, rows: Sequence[EntityRow], at: int) -> None:
        """Fill vectors from the gold table; a past event that is named whole, from the feature table."""
        self._check_definition()
        for row in rows:
            moment, stored = self._moment(row.keys, at), self._stored(row.keys)
            if stored is not None:
                self._put(row, stored, moment)
            else:
                self._fill(row, self._offline_tail(row.keys, moment), moment)

    @property
    def is_of_row(self) -> bool:
        """Whether the keys of the lookup hold the event's time."""
        return bool(self._time)

    @property
    def time_column(self) -> str:
        """The request's column of the event's time; "" if the lookup names none."""
        return self._time

    @property
    def gold(self) -> TableName:
        """The gold table of the events."""
        return self._source.gold

    def is_new(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> bool:
        """Whether the request is of an event that is not stored.

        It is if it brings the event's own columns, if it names a time at which no event is stored, and if it overrides
        what only an event has without naming one.
        """
        if not self.is_of_row:
            return False
        if any(name in row.event for name in self._own):
            return True
        if row.keys.get(self._time) is None:
            if row.keys.get(self._event_id) is not None:
                return True
            return any(out in row.event for name in self._own_features for out in self._outputs.get(name, ()))
        if self._stored(row.keys) is not None:
            return False
        tail = self._tail(row.keys, at, record, online=online)
        return tail is None or self._place(tail, row.keys, at) is None

    def named_by_id(self, keys: Keys) -> datetime | None:
        """The time of the event that the keys name by its id alone; None if they don't, or if it is not stored."""
        event_id, entity = keys.get(self._event_id), self.key(keys)
        if event_id is None or keys.get(self._time) is not None or None in entity:
            return None
        named = dict(zip(self._declared.entity, entity, strict=True)) | {self._declared.event_id: event_id}
        rows = self._source.rows(self._lake.scan(self.gold)).filter([pl.col(n) == v for n, v in named.items()])
        return cast(datetime | None, rows.select(pl.col(self._declared.time).max()).collect().item())

    def read_known(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> Keys | None:
        """Fill the vector from the newest event known at ``at``; gives its time and id, if the lookup names them."""
        self._check_definition()
        recent = microseconds(utc_now() - MARGIN)
        tail = self.reader.tail_of(record) if online else None
        of_event = self._named_columns(row.keys)
        place = None if tail is None else tail.last(at, of_event)
        if tail is not None and place is not None and (newest := int(tail.times[place])) > recent:
            self._put_event(row, tail, place, expires=at)
            return self._named(newest, _plain(tail.columns[self._declared.event_id][place]))
        # The windows of an older event begin before what is online.
        stored = None if record is None and online else self._newest_stored(row.keys, at)
        if stored is None:
            count = len(self.columns)
            self._put(row, Row((None,) * count, (Status.NOT_FOUND,) * count, None, None), at)
            return None
        found, event_id = stored
        self._put(row, found, at)
        assert found.time is not None
        return self._named(found.time, event_id)

    def _named_columns(self, keys: Keys) -> dict[str, KeyValue]:
        """The event's own columns that the keys name beside its entity, as a payment's terminal."""
        own = [f.name for f in self._declared.stored if f.event == f.name] if self.is_of_row else []
        return {c: v for c in own if c not in self.pairs and (v := keys.get(c)) is not None}

    def _named(self, time: int, event_id: KeyValue | None) -> Keys | None:
        named = {self._event_id: event_id, self._time: from_microseconds(time)}  # the time may be the id
        return named if self.is_of_row else None

    def read_row(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> None:
        """Fill the vector from the event that the keys name, a new event, or the newest one up to ``at``."""
        self._check_definition()
        if row.gold == self.gold:
            self._finish_new(row, at, record, online=online)
            return
        if not self.is_of_row:
            self.read_known(row, at, record, online=online)
            return
        stored = None if online else self._stored(row.keys)
        tail = None if stored is not None else self._tail(row.keys, at, record, online=online)
        place = None if tail is None else self._place(tail, row.keys, at)
        if stored is not None:
            self._put(row, stored, at)
        elif tail is not None and place is not None:
            self._put_event(row, tail, place, expires=at)
        else:
            self._finish_new(row, at, record, online=online)

    def _finish_new(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> None:
        """Finish the features of an event that is not stored.

        Raises:
            InvalidRequest: The request lacks columns of the event without which they can't be computed.
        """
        stored = None if online else self._stored(row.keys)
        if stored is not None:
            self._put(row, stored, at)
            return
        asked = tuple(c for c in self.columns if any(out not in row.event for out in self._outputs[c]))
        raw = raw_columns(self._declared, asked) if asked else ()
        missing = [c for c in raw if c not in row.event and c not in row.keys]
        if missing:
            raise InvalidRequest(
                f"no event of {self.gold} is stored at {from_microseconds(at).isoformat()}, and the features of a new "
                f"one can't be computed without its {', '.join(missing)}",
                where="features",
                remedy=f"give {', '.join(missing)} under 'features', null where it is not known; or leave the event's "
                "own features out, which gives the newest event that is stored",
            )
        self._fill(row, self._tail(row.keys, at, record, online=online), at, is_new=True)

    def _place(self, tail: Tail, keys: Keys, at: int) -> int | None:
        named = None if self._event_id == self._time else keys.get(self._event_id)
        return tail.place(at, self._declared.event_id, named)

    def _tail(self, keys: Keys, at: int, record: bytes | None, *, online: bool) -> Tail | None:
        """The entity's events up to ``at``: online where they reach back far enough."""
        if online and from_microseconds(at) > utc_now() - MARGIN:
            return self.reader.tail_of(record)
        return self._offline_tail(keys, at)

    def _offline_tail(self, keys: Keys, at: int) -> Tail | None:
        key = self.key(keys)
        return None if None in key else self._source.offline(self._lake, key, at)

    def _newest_stored(self, keys: Keys, at: int) -> tuple[Row, KeyValue] | None:
        """The feature table's row of the newest event up to ``at``, and the event's id."""
        key, time, event_id = self.key(keys), self._declared.time, self._declared.event_id
        if None in key:
            return None
        rows = self._lake.scan(self.table).filter(
            [pl.col(e) == v for e, v in zip(self._declared.entity, key, strict=True)]
            + [pl.col(c) == v for c, v in self._named_columns(keys).items()],
            pl.col(time) <= from_microseconds(at),
        )
        found = rows.select(list(dict.fromkeys([time, event_id, *self.columns]))).collect().sort(time, event_id).tail(1)
        if not found.height:
            return None
        values = tuple(found.select(self.columns).row(0))
        return Row(values, _statuses(values), microseconds(found[time][0]), None), found[event_id][0]

    def _put_event(self, row: EntityRow, tail: Tail, place: int, *, expires: int) -> None:
        """Fill the vector with the features of a stored event of the tail; its age is that at ``expires``."""
        at = int(tail.times[place])
        event: dict[str, Value] = {name: _plain(values[place]) for name, values in tail.columns.items()}
        event |= dict(zip(self._declared.entity, self.key(row.keys), strict=True))
        values = tuple(finish(self._declared, tail.columns, at, event, self.columns))
        self._put(row, Row(values, _statuses(values), at, None), expires)

    def _fill(self, row: EntityRow, tail: Tail | None, moment: int, *, is_new: bool = False) -> None:
        """Finish the features; an entity without an event is NOT_FOUND unless the request is of a new one.

        The row is as old as its newest event; one that ``is_new`` is of this moment, as it is once it is stored, and
        counts where its own windows hold it, also where no column of its own is read.
        """
        key, event = self.key(row.keys), self._event(row, is_new=is_new)
        newest = None if tail is None else tail.newest(moment)
        if tail is None or None in key or (newest is None and event is None):
            count = len(self.columns)
            self._put(row, Row((None,) * count, (Status.NOT_FOUND,) * count, None, None), moment)
            return
        current = None if event is None else event | dict(zip(self._declared.entity, key, strict=True))
        values = tuple(finish(self._declared, tail.columns, moment, current, self.columns))
        statuses = _statuses(values)
        if current is None:  # what is the event's own is not null: nothing says it
            own = self._own_features
            statuses = tuple(Status.NOT_FOUND if c in own else s for c, s in zip(self.columns, statuses, strict=True))
        self._put(row, Row(values, statuses, newest if current is None else moment, None), moment)

    def _put(self, row: EntityRow, stored: Row, at: int) -> None:
        row.vector.record(self.table, stored)
        fill(row.vector, stored, self._slots, at)

    def _moment(self, keys: Keys, at: int) -> int:
        named = keys.get(self._time)
        return microseconds(named) if isinstance(named, datetime) else at

    def _event(self, row: EntityRow, *, is_new: bool) -> dict[str, Value] | None:
        """The request's own event; None if it is of no new one, and brings nothing beside its id."""
        if not is_new and not any(name in row.event for name in self._own):
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


def _plain(value: object) -> KeyValue | None:
    """A value of an event as Python has it; NaN and NaT are None."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else pl.Series([value]).dt.replace_time_zone("UTC")[0]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else cast(KeyValue, plain)


def _statuses(values: Sequence[Value]) -> tuple[Status, ...]:
    return tuple(Status.NULL if v is None else Status.PRESENT for v in values)
