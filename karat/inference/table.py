"""One feature table read by keys, now or as of a past time: the same rows and statuses from either store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import FeatureNotFound, did_you_mean
from karat.features import Status, point_in_time_join
from karat.inference.events import EventTable
from karat.inference.reads import AT, KEY_TYPES
from karat.lake import Lake
from karat.names import TableName
from karat.online import EPOCH, MARGIN, KeySpace, OnlineStore, Row, RowReader, Tail, dtype_of, microseconds

_MICROSECOND = timedelta(microseconds=1)


class Taken(NamedTuple):
    """One row's values and statuses in the order of the columns asked for, and its time where it has one."""

    values: tuple[Any, ...]
    statuses: tuple[Status, ...]
    at: datetime | None


class TableReads:
    """Reads ``columns`` of one table. ``key``: the entity's columns and their types; ``time``: its time column and
    type, which a row may name instead of asking for what is known.

    Raises TableNotFound, FeatureNotFound; StoreUnreachable where what is known now is asked of a table that was never
    published.
    """

    def __init__(self, lake: Lake, store: OnlineStore, table: TableName, columns: Sequence[str]) -> None:
        self._lake, self._store, self.table, self.columns = lake, store, table, tuple(columns)
        self._reader: RowReader | None = None
        self.own: dict[str, str] = {}
        state = store.state(KeySpace(str(table)))
        if state is not None:
            self.key, types = dict(state.key), dict(state.columns)
            self.time, self._time_type = state.time, state.time_type
        else:
            info = lake.info(table)
            types = {f.name: dtype_of(f.type) for f in info.schema if f.name not in info.primary_key}
            self.key = {n: dtype_of(info.schema.field(n).type) for n in info.primary_key if n != info.timeseries}
            self.time, self._time_type = info.timeseries, ""
        for column in self.columns:
            if column not in types:
                raise FeatureNotFound(
                    f"feature {column!r} is not in {table}", where=str(table), remedy=did_you_mean(column, types)
                )

    @cached_property
    def time_type(self) -> str:
        if self._time_type or not self.time:
            return self._time_type
        return dtype_of(self._lake.info(self.table).schema.field(self.time).type)

    @property
    def key_types(self) -> dict[str, str]:
        """Every key column that a row may name -> its type."""
        return self.key | ({self.time: self.time_type} if self.time else {})

    def rows(self, keys: Sequence[Mapping[str, Any]], at: int, *, offline: bool) -> list[Taken]:
        """One for each of ``keys`` (typed values): the row known at ``at`` (microseconds UTC), from the online store
        or, with ``offline``, the lake; where the keys name the table's time, the row of that time."""
        exact = [i for i, row in enumerate(keys) if row.get(self.time or "") is not None]
        known = [i for i, row in enumerate(keys) if row.get(self.time or "") is None]
        out: dict[int, Taken] = {}
        for places, by_time in ((exact, False), (known, True)):
            some = [keys[i] for i in places]
            if not some:
                continue
            read = self._online(some, at) if by_time and not offline else self._offline(some, at, by_time)
            out |= dict(zip(places, read, strict=True))
        return [out[i] for i in range(len(keys))]

    def _online(self, keys: Sequence[Mapping[str, Any]], at: int) -> list[Taken]:
        if self._reader is None:
            self._reader = RowReader(self._store, KeySpace(str(self.table)), self.columns)
        rows = self._reader.read_many([[row.get(name) for name in self.key] for row in keys], at)
        return [_taken(row) for row in rows]

    def _offline(self, keys: Sequence[Mapping[str, Any]], at: int, by_time: bool) -> list[Taken]:
        moment = EPOCH + at * _MICROSECOND
        names = list(self.key) if by_time or self.time is None else [*self.key, self.time]
        types = {n: KEY_TYPES[self.key_types[n]] for n in names}
        spine = pl.DataFrame({n: [row.get(n) for row in keys] for n in names}, schema=types)
        spine = spine.with_columns(pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(AT))
        timed = by_time and self.time is not None
        rows = self._lake.scan(self.table)
        if timed and self.time:
            rows = rows.filter(pl.col(self.time) <= (moment if self.time_type == "timestamp" else moment.date()))
        for name in names:
            rows = rows.filter(pl.col(name).is_in(spine[name].drop_nulls().unique().implode()))
        needed = dict.fromkeys([*names, *([self.time] if self.time else []), *self.columns])
        looked = point_in_time_join(
            spine,
            rows.select(list(needed)).collect(),
            keys={n: n for n in names},
            time=(AT, self.time) if timed and self.time else None,
            lag=self._lake.info(self.table).lag,
            columns=list(self.columns),
        )
        ages = [None if age is None else moment - age for age in looked.age]
        statuses = [tuple(Status(s) for s in row) for row in looked.statuses.iter_rows()]
        return [Taken(*row) for row in zip(looked.values.iter_rows(), statuses, ages, strict=True)]


def _taken(row: Row) -> Taken:
    return Taken(row.values, row.statuses, None if row.time is None else EPOCH + row.time * _MICROSECOND)


class EventReads:
    """Reads ``columns`` of a table with a row per event: finished at the moment asked for. A row may bring values of
    its own event (``own``) and, by the table's time column, its own moment."""

    def __init__(self, lake: Lake, store: OnlineStore, table: EventTable) -> None:
        self._lake, self._store, self._table = lake, store, table
        self.key, self.own = table.key, table.own_types
        self._time = str(table.declared.time)
        self.key_types = self.key | {self._time: "timestamp"}

    def rows(self, keys: Sequence[Mapping[str, Any]], at: int, *, offline: bool) -> list[Taken]:
        """As ``TableReads.rows``."""
        moments = [at if row.get(self._time) is None else microseconds(row[self._time]) for row in keys]
        recent = microseconds(datetime.now(UTC) - MARGIN)
        online = [] if offline else [i for i, moment in enumerate(moments) if moment > recent]
        tails = self._tails([keys[i] for i in online])
        fetched = dict(zip(online, tails, strict=True))
        return [
            self._row(row, moment, fetched.get(i)) for i, (row, moment) in enumerate(zip(keys, moments, strict=True))
        ]

    def _tails(self, keys: Sequence[Mapping[str, Any]]) -> list[Tail]:
        if not keys:
            return []
        reader = self._table.reader(self._store)
        known = [None not in self._entity(row) for row in keys]
        wanted = [reader.encode(self._entity(row)) for row, whole in zip(keys, known, strict=True) if whole]
        found = iter(self._store.get_many(reader.space, wanted))
        return [reader.tail_of(next(found) if whole else None) for whole in known]

    def _row(self, row: Mapping[str, Any], at: int, tail: Tail | None) -> Taken:
        entity = self._entity(row)
        if None in entity:
            count = len(self._table.columns)
            return Taken((None,) * count, (Status.NOT_FOUND,) * count, None)
        event = self._table.event(row)
        if tail is None:
            return _taken(self._table.offline(self._lake, entity, at, event))
        return _taken(self._table.row(tail, entity, at, event))

    def _entity(self, row: Mapping[str, Any]) -> list[Any]:
        return [row.get(name) for name in self.key]


def reads_of(
    lake: Lake, store: OnlineStore, table: TableName, columns: Sequence[str], projects: ProjectCatalog
) -> TableReads | EventReads:
    """How ``columns`` of ``table`` are read."""
    declared = projects.by_event(table)
    if declared is None:
        return TableReads(lake, store, table, columns)
    return EventReads(lake, store, EventTable(*declared, columns))
