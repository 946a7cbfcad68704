"""Reads of the feature table's own rows: the latest known row, or the last N of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl

from karat.clock import MICROSECOND, from_microseconds
from karat.dtypes import POLARS, arrow_type, dtype_of
from karat.errors import InvalidRequest, SequenceTooShort, StoreUnreachable
from karat.features import Status, point_in_time_join, sequence_join
from karat.inference.feature_reader.table_read import TableRead, fill, slots, time_of
from karat.inference.feature_reader.vector import EntityRow, keys_text
from karat.lake import Lake
from karat.online import Index, Keys, KeySpace, OnlineStore, PublishState, Row, RowReader, Value
from karat.training_sets.lookups import PinnedLookup

_AS_OF = "__as_of__"


class StoredRead(TableRead):
    """A read of the feature table's own rows."""

    index: ClassVar[Index]

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        super().__init__(lookups, places, store, lake)
        self._lookup = lookups[0]

    @cached_property
    def reader(self) -> RowReader:
        """The reader of the online rows; made at the first use, since a table may be published later."""
        if self._store is None:
            raise StoreUnreachable("no online store was given", remedy="read as of a time, or give a store")
        return RowReader(self._store, self.space, self.columns, lookback=self._lookback, state=self._state)

    @cached_property
    def _state(self) -> PublishState | None:
        """What was published when the first read began; None if nothing was."""
        return None if self._store is None else self._store.state(self.space)

    @property
    def _lookback(self) -> timedelta | None:
        return None

    @cached_property
    def space(self) -> KeySpace:
        """Where the online store keeps the rows."""
        return KeySpace(str(self.table), self.index)

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The request's columns in the order of the online key."""
        return tuple(self._request_column[name] for name, _ in self.reader.state.key)

    @cached_property
    def _time(self) -> str | None:
        """The table's time column."""
        if self._lookup.time is not None:
            return self._lookup.time[1]
        return self._state.time if self._state is not None else self._lake.info(self.table).timeseries

    @cached_property
    def _time_column(self) -> str | None:
        """The request's column that may name a row's time."""
        return self._request_column.get(self._time) if self._time is not None else None

    @cached_property
    def optional(self) -> frozenset[str]:
        """The request's key columns that it may leave out."""
        event_id = self._request_column.get(str(self._lookup.event_id))
        return frozenset(c for c in (self._time_column, event_id) if c is not None)

    @property
    def is_timed(self) -> bool:
        """Whether the table's rows have a time."""
        return self._time is not None

    @property
    def is_of_row(self) -> bool:
        """Whether the keys of the lookup hold the table's time."""
        return self._time_column is not None

    @property
    def _lag(self) -> timedelta:
        """The table's own lag: when a row is known to somebody who asks now."""
        if self._state is not None:
            return timedelta(microseconds=self._state.lag)
        return self._lake.info(self.table).lag

    def is_online(self, keys: Keys) -> bool:
        """Whether the keys name no time: the online store has the rows known now."""
        return self._time_column is None or keys.get(self._time_column) is None

    def _stored(
        self, rows: Sequence[EntityRow], columns: Sequence[str], at: int, *, as_of: bool, version: int | None = None
    ) -> pl.DataFrame:
        """The lake's rows of these keys; of a point-in-time join those up to ``at``."""
        found = self._lake.scan(self.table, version)
        for column in columns:
            key, values = pl.col(self.pairs[column]), list({row.keys.get(column) for row in rows} - {None})
            asked = pl.Series(values, dtype=POLARS[self.key_types[column]])
            found = found.filter(key == values[0] if len(values) == 1 else key.is_in(asked.implode()))
        if as_of and self._time is not None:
            moment = from_microseconds(at)
            by_day = dtype_of(arrow_type(self._lookup.schema[self._time])) == "date"
            found = found.filter(pl.col(self._time) <= (moment.date() if by_day else moment))
        order = [c for c in (self._time, self._lookup.event_id) if as_of and c is not None]
        return found.select(list(dict.fromkeys([*(self.pairs[c] for c in columns), *order, *self.columns]))).collect()

    def _spine(self, rows: Sequence[EntityRow], columns: Sequence[str], at: int) -> pl.DataFrame:
        """The keys to be joined, with the moment of the point-in-time join."""
        types = {c: POLARS[self.key_types[c]] for c in columns}
        spine = pl.DataFrame({c: [r.keys.get(c) for r in rows] for c in columns}, schema=types)
        return spine.with_columns(pl.lit(from_microseconds(at), dtype=POLARS["timestamp"]).alias(_AS_OF))


class RowRead(StoredRead):
    """Reads the latest known row, or the row of the time that a key names.

    Serves point-in-time lookups, and exact ones whose request leaves the time out.
    """

    index = "latest"

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        super().__init__(lookups, places, store, lake)
        self._slots = slots(lookups, places, self.columns)
        self._given = {out for lookup in lookups for out in lookup.columns.values() if out in places}

    def online(self, rows: Sequence[EntityRow], records: Sequence[bytes | None], at: int) -> None:
        """Fill vectors from online records."""
        row_of = self.reader.row_of
        for row, record in zip(rows, records, strict=True):
            self._fill(row, row_of(record, at), at)

    def offline(self, rows: Sequence[EntityRow], at: int) -> None:
        """Fill vectors from the lake: the row of the named time, else the latest known at ``at``."""
        named = [row for row in rows if not self.is_online(row.keys)]
        known = [row for row in rows if self.is_online(row.keys)]
        version = self._version_at(at) if self._time is None else None
        for some, as_of in ((named, False), (known, self._time is not None)):
            if some:
                for row, stored in zip(some, self._joined(some, at, as_of=as_of, version=version), strict=True):
                    self._fill(row, stored, at)

    def read_known(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> Keys | None:
        """Fill the vector from the newest row known at ``at``; gives the row's time, if the lookup names it."""
        if online:
            stored = self.reader.row_of(record, at)
        elif self._time is None:
            if self._given <= row.event.keys():
                return None
            stored = self._joined([row], at, as_of=False, version=self._version_at(at))[0]
        else:
            stored = self._joined([row], at, as_of=True)[0]
        self._fill(row, stored, at)
        if self._time_column is None or stored.time is None:
            return None
        moment = from_microseconds(stored.time)
        return {self._time_column: moment.date() if self.key_types[self._time_column] == "date" else moment}

    def read_row(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> None:
        """Fill the vector with the row that the join of batch scoring takes for a row of the time ``at``."""
        if self._time is None:
            stored = self.reader.row_of(record, at) if online else self._joined([row], at, as_of=False)[0]
        elif (found := self._online_row(record, at) if online else None) is not None:
            stored = found
        else:
            as_of = not self.is_of_row
            (stored,) = self._joined([row], at, as_of=as_of, lag=self._lookup.lag)
            if not as_of and Status.NOT_FOUND not in stored.statuses:
                stored = stored._replace(time=at)
        self._fill(row, stored, at)

    def _online_row(self, record: bytes | None, at: int) -> Row | None:
        """The online row for a row of the time ``at``; None where the record does not reach back so far."""
        lag = timedelta(0) if self.is_of_row else self._lookup.lag
        stored = self.reader.row_of(record, at + (self._lag - lag) // MICROSECOND)
        if stored.time is None:
            return stored if record is None else None
        if self.is_of_row and stored.time != at:  # rows are stored newest first, without gaps
            return self.reader.row_of(None, at)
        return stored

    def _version_at(self, at: int) -> int:
        """The version of a table without time that was current at a past moment.

        Raises:
            InvalidRequest: The table did not exist then.
        """
        moment = from_microseconds(at)
        version = self._lake.version_at(self.table, moment)
        if version is None:
            raise InvalidRequest(
                f"{self.table} has no time and is younger than {moment:%Y-%m-%d %H:%M} UTC, so that its values of then "
                "are not known",
                where="as_of_date",
                remedy="leave as_of_date out, or give that table's features in the request",
            )
        return version

    def _fill(self, row: EntityRow, stored: Row, at: int) -> None:
        row.vector.record(self.table, stored)
        fill(row.vector, stored, self._slots, at)

    def _joined(
        self,
        rows: Sequence[EntityRow],
        at: int,
        *,
        as_of: bool,
        lag: timedelta | None = None,
        version: int | None = None,
    ) -> list[Row]:
        """The lake's rows by the join of training and batch scoring; ``lag`` is the table's own by default."""
        columns = [c for c in self.pairs if not (as_of and c in self.optional)]
        joined = point_in_time_join(
            self._spine(rows, columns, at),
            self._stored(rows, columns, at, as_of=as_of, version=version),
            keys={c: self.pairs[c] for c in columns},
            time=(_AS_OF, self._time) if as_of and self._time is not None else None,
            lag=self._lake.info(self.table).lag if lag is None else lag,
            event_id=self._lookup.event_id,
            columns=list(self.columns),
        )
        statuses = [tuple(map(Status, row)) for row in joined.statuses.iter_rows()]
        return [
            Row(values, status, time_of(at, age), None)
            for values, status, age in zip(joined.values.iter_rows(), statuses, joined.age, strict=True)
        ]


class SequenceRead(StoredRead):
    """Reads the last N known rows, for one lookup."""

    index = "sequence"

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        super().__init__(lookups, places, store, lake)
        self._places = [places.get(self._lookup.columns[c]) for c in self.columns]
        self._mask = places.get(self._lookup.mask) if self._lookup.mask else None
        self._length = self._lookup.sequence_length or 1

    @property
    def _lookback(self) -> timedelta | None:
        return self._lookup.lookback

    def online(self, rows: Sequence[EntityRow], records: Sequence[bytes | None], at: int) -> None:
        """Fill vectors from online records."""
        for row, record in zip(rows, records, strict=True):
            values, mask, newest = self.reader.sequence_of(record, at, self._length, step=self._lookup.step)
            self._put(row, values, mask, newest)

    def _put(self, row: EntityRow, values: np.ndarray, mask: np.ndarray, newest: Row) -> None:
        columns = [[None if math.isnan(v) else v for v in column] for column in values.T.tolist()]
        self._fill(row, columns, mask.tolist(), newest)

    def read_known(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> Keys | None:
        """Fill the vector from the last rows known at ``at``; gives the newest one's time under the spine's column."""
        if online:
            self.online([row], [record], at)
        else:
            self.offline([row], at)
        newest, time = row.vector.times.get(str(self.table)), self._lookup.time
        return None if newest is None or time is None else {time[0]: newest}

    def read_row(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> None:
        """Fill the vector with the sequence that batch scoring joins to a row of the time ``at``."""
        shift = (self._lag - self._lookup.lag) // MICROSECOND
        if online and not (shift and self._lookback):
            values, mask, newest = self.reader.sequence_of(record, at + shift, self._length, step=self._lookup.step)
            if record is None or mask.all():  # a shorter one may be cut off by what the store holds
                self._put(row, values, mask, newest)
                return
        self._offline([row], at, self._lookup.lag)

    def offline(self, rows: Sequence[EntityRow], at: int) -> None:
        """Fill vectors from the lake, by the sequence join of training and batch scoring."""
        self._offline(rows, at, self._lake.info(self.table).lag)

    def _offline(self, rows: Sequence[EntityRow], at: int, lag: timedelta) -> None:
        lookup, columns = self._lookup, list(self.pairs)
        assert lookup.time is not None
        joined = sequence_join(
            self._spine(rows, columns, at),
            self._stored(rows, columns, at, as_of=True),
            keys=lookup.keys,
            time=(_AS_OF, lookup.time[1]),
            length=self._length,
            step=lookup.step,
            lag=lag,
            lookback=lookup.lookback,
            event_id=lookup.event_id,
            columns=list(self.columns),
        )
        for i, row in enumerate(rows):
            statuses = tuple(map(Status, joined.statuses.row(i)))
            newest = Row((), statuses, time_of(at, joined.age[i]), None)
            self._fill(row, [list(v) for v in joined.values.row(i)], list(joined.mask[i]), newest)

    def _fill(self, row: EntityRow, values: Sequence[Value], mask: list[bool], newest: Row) -> None:
        if self._lookup.short == "refuse" and sum(mask) < self._length:
            raise SequenceTooShort(
                f"{sum(mask)} rows of {self.table} are known, and the model takes {self._length}",
                where=keys_text(row.keys),
                remedy="ask when the entity has more of them, or train with short='pad'",
            )
        vector = row.vector
        vector.record(self.table, newest)
        for place, value, status in zip(self._places, values, newest.statuses, strict=True):
            if place is not None:
                vector.values[place], vector.statuses[place] = value, status
        if self._mask is not None:
            found = next((s for s in newest.statuses if s not in (Status.PRESENT, Status.NULL)), Status.PRESENT)
            vector.values[self._mask], vector.statuses[self._mask] = mask, found
