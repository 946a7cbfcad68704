"""Feature reader: lookups for one key or many, from the online store or as of a past time from the offline one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import compress
from operator import not_
from types import TracebackType

import polars as pl

from karat.clock import from_microseconds, microseconds, utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import Dtype
from karat.errors import FeatureLookupFailed, InvalidRequest, KaratError, SequenceTooShort
from karat.inference.feature_reader.event_rows import EventRead
from karat.inference.feature_reader.stored_rows import RowRead, SequenceRead
from karat.inference.feature_reader.table_read import TableRead
from karat.inference.feature_reader.vector import EntityRow, FeatureVector, keys_text
from karat.lake import Lake
from karat.names import TableName
from karat.online import MARGIN, Keys, KeyValue, OnlineStore, Values
from karat.training_sets.lookups import PinnedLookup


class FeatureReader:
    """Reads features through pinned lookups, with one read per table and key.

    ``/v1/predict`` reads a model's lookups, ``/v1/features`` lookups by reference. A point-in-time lookup takes the
    latest row known; so does an exact lookup whose key holds the table's time, if the request leaves the time out.
    Safe to use from several threads.

    Args:
        lookups: The lookups, as they are pinned to their tables.
        outputs: The features to be read, in the order of the answer.
        store: The online store; None if everything is read as of a past time.
        lake: The offline store.
        projects: The declarations, for tables with a row per event: their features are finished at the request.
        row_of: The feature table whose rows a model predicts for. All tables are then read as batch scoring reads them
            for one row of it: the newest row known, or the one that the keys name. "" is any table whose keys hold a
            time. None reads each table by itself.
        row_types: Column of the model's rows -> declared type. The time of point-in-time lookups, if it is among them,
            may be a key.

    Attributes:
        looked_up: The outputs that a lookup brings.
        key_types: Key column of a request -> declared type.
    """

    def __init__(
        self,
        lookups: Sequence[PinnedLookup],
        outputs: Sequence[str],
        store: OnlineStore | None,
        lake: Lake,
        projects: ProjectCatalog | None = None,
        *,
        row_of: str | None = None,
        row_types: Mapping[str, Dtype] | None = None,
    ) -> None:
        self._row_of = row_of
        self._store, self._lake, self._count = store, lake, len(outputs)
        self._places = {name: i for i, name in enumerate(outputs)}
        self._projects = projects or ProjectCatalog()
        needed = [lookup for lookup in lookups if not self._places.keys().isdisjoint(lookup.outputs)]
        self._reads = [self._read_of(some) for some in _by_key(needed)]
        self.looked_up = frozenset(out for lookup in needed for out in lookup.outputs if out in self._places)
        self.key_types = {c: dtype for read in self._reads for c, dtype in read.key_types.items()}
        times = [lookup.time[0] for lookup in needed if lookup.time]
        self._spine_times: dict[str, Dtype] = {
            c: t for c in times if c not in self.key_types and (t := (row_types or {}).get(c))
        }
        self.key_types |= self._spine_times

    def _read_of(self, lookups: list[PinnedLookup]) -> TableRead:
        first = lookups[0]
        if first.sequence_length is not None:
            return SequenceRead(lookups, self._places, self._store, self._lake)
        declared = self._projects.event_table(first.table) if first.event_id is not None else None
        if declared is not None:
            return EventRead(lookups, self._places, self._store, self._lake, declared)
        return RowRead(lookups, self._places, self._store, self._lake)

    @cached_property
    def _row_times(self) -> list[str]:
        """The request's columns that name the time of the model's row."""
        found: list[str] = []
        for read in self._reads:
            with _LookupErrors(read.table, {}):
                found += [c for c in read.optional if self.key_types[c] in ("date", "timestamp")]
        return list(dict.fromkeys([*found, *self._spine_times]))

    @property
    def reads_events(self) -> bool:
        """Whether a table has a row per event: its older events are read from the lake."""
        return any(isinstance(read, EventRead) for read in self._reads)

    @property
    def event_times(self) -> list[str]:
        """The key columns that name the time of an event, which need not be stored yet."""
        times = (read.time_column for read in self._reads if isinstance(read, EventRead))
        return list(dict.fromkeys(column for column in times if column))

    @property
    def time_columns(self) -> frozenset[str]:
        """Key columns that may name a time, by their type; no store is read for it."""
        return frozenset(c for c, dtype in self.key_types.items() if dtype in ("date", "timestamp"))

    @property
    def own_types(self) -> dict[str, str]:
        """Columns that a request may bring of its own event -> declared type; no store is read for it."""
        return {c: t for read in self._reads if isinstance(read, EventRead) for c, t in read.own_types.items()}

    @property
    def reads(self) -> tuple[TableRead, ...]:
        """The tables that are read."""
        return tuple(self._reads)

    def optional_keys(self) -> frozenset[str]:
        """Key columns that a request may leave out: a time, an event id.

        Raises:
            FeatureLookupFailed: A table's state can't be read.
        """
        found: set[str] = {*self._spine_times}
        for read in self._reads:
            with _LookupErrors(read.table, {}):
                found |= read.optional
        return frozenset(found)

    def read(self, keys: Keys, at: datetime | None = None, event: Values | None = None) -> FeatureVector:
        """Read the features of one key.

        Args:
            keys: Key column -> value of the declared type; a null finds no row.
            at: The moment to read as of; None is now. A past moment is read from the offline store.
            event: Columns of the request's own event.

        Returns:
            Values and statuses in the order of the outputs.

        Raises:
            FeatureLookupFailed: A store can't be read; names table and keys.
            SequenceTooShort: Fewer rows are known than the lookup demands.
        """
        now = utc_now()
        moment, past = microseconds(at or now), at is not None and at < now
        if self._row_of is not None:
            return self._read_row(keys, moment, event or {}, past=past)
        if len(self._reads) > 1 and self._is_remote:
            return self.read_many([keys], at, [event or {}])[0]
        row = EntityRow(keys, event or {}, FeatureVector.empty(self._count))
        for read in self._reads:
            with _LookupErrors(read.table, keys):
                if past or not read.is_online(keys):
                    read.offline([row], moment)
                else:
                    read.online([row], [read.fetch(keys)], moment)
        return row.vector

    def read_many(
        self, keys: Sequence[Keys], at: datetime | None = None, events: Sequence[Values] | None = None
    ) -> list[FeatureVector]:
        """Read the features of many keys, as ``read`` does; the answer is in their order."""
        if self._row_of is not None:
            return [self.read(k, at, e) for k, e in zip(keys, events or [{}] * len(keys), strict=True)]
        now = utc_now()
        moment, past = microseconds(at or now), at is not None and at < now
        rows = [
            EntityRow(k, e, FeatureVector.empty(self._count))
            for k, e in zip(keys, events or [{}] * len(keys), strict=True)
        ]
        if not rows:
            return []
        splits = {read: ([], rows) if past else self._split(read, rows) for read in self._reads}
        records = self._fetch({read: online for read, (online, _) in splits.items() if online})
        for read, (online, offline) in splits.items():
            with _LookupErrors(read.table, keys[0]):
                if online:
                    read.online(online, records[read], moment)
                if offline:
                    read.offline(offline, moment)
        return [row.vector for row in rows]

    def _read_row(self, keys: Keys, at: int, event: Values, *, past: bool) -> FeatureVector:
        """Read every table for one row of the model, as batch scoring does.

        Keys that name a time name the row, and every table is read as of that time. Other keys mean the newest row
        known at ``at``; every other table is read as of that row's time. A new event is a row at ``at``.
        """
        row = EntityRow(keys, event, FeatureVector.empty(self._count))
        named = self._named_time(keys)
        moment = at if named is None else microseconds(named)
        online = not past and (named is None or named > utc_now() - MARGIN)
        records = self._records(row) if online else {}
        if named is not None:  # by the event's id, perhaps
            row = row._replace(keys={**dict.fromkeys(self._row_times, named), **keys})
        row = self._new_event(row, moment, records, online=online)
        left = self._reads
        if named is None and row.gold is None:
            found, left = self._read_newest(row, at, records, online=online)
            named = _time_in(found) if found else None
        else:
            found = {c: from_microseconds(moment) for c in self._row_times if c not in keys}
        row.vector.row.update({c: v for c, v in found.items() if v is not None})
        row = row._replace(keys={**keys, **found})
        row_at = microseconds(named) if named is not None else None if row.gold is None else moment
        for read in left:
            with _LookupErrors(read.table, keys):
                if read.is_timed and row_at is not None:
                    read.read_row(row, row_at, records.get(read), online=online)
                else:
                    read.read_known(row, at, records.get(read), online=bool(records))
        return row.vector

    def _named_time(self, keys: Keys) -> datetime | None:
        """The time of the model's row that the keys name, by itself or by the event's id."""
        value = next((v for c in self._row_times if isinstance(v := keys.get(c), date)), None)
        if value is not None:
            return from_microseconds(microseconds(value))
        for read in self._reads:
            if isinstance(read, EventRead):
                with _LookupErrors(read.table, keys):
                    if (time := read.named_by_id(keys)) is not None:
                        return time
        return None

    def _new_event(
        self, row: EntityRow, at: int, records: Mapping[TableRead, bytes | None], *, online: bool
    ) -> EntityRow:
        """The row, with the gold table of which the request is a new event."""
        for read in self._reads:
            if isinstance(read, EventRead):
                with _LookupErrors(read.table, row.keys):
                    if read.is_new(row, at, records.get(read), online=online):
                        return row._replace(gold=read.gold)
        return row

    def _read_newest(
        self, row: EntityRow, at: int, records: Mapping[TableRead, bytes | None], *, online: bool
    ) -> tuple[dict[str, KeyValue | None], list[TableRead]]:
        """Read the model's newest row: the columns that name it, and the tables that are still to be read as of it."""
        with _LookupErrors(", ".join(str(read.table) for read in self._reads), row.keys):
            timed = [read for read in self._reads if read.is_of_row]
        of_spine = [read for read in self._reads if read.table.table == self._row_of and read.is_timed]
        anchors = of_spine or timed
        named: dict[TableRead, Keys] = {}
        for read in anchors:
            with _LookupErrors(read.table, row.keys):
                named[read] = read.read_known(row, at, records.get(read), online=online) or {}
        newest = max(named.values(), key=_time_in, default={})
        return dict(newest), [read for read in self._reads if read not in named or named[read] != newest]

    def _records(self, row: EntityRow) -> dict[TableRead, bytes | None]:
        """The online record of every table, in one round trip where the store is another process."""
        if self._is_remote and len(self._reads) > 1:
            return {read: records[0] for read, records in self._fetch({read: [row] for read in self._reads}).items()}
        found: dict[TableRead, bytes | None] = {}
        for read in self._reads:
            with _LookupErrors(read.table, row.keys):
                found[read] = read.fetch(row.keys)
        return found

    def _split(self, read: TableRead, rows: list[EntityRow]) -> tuple[list[EntityRow], list[EntityRow]]:
        """The rows that a read takes from the online store, and those that it takes from the offline one."""
        with _LookupErrors(read.table, rows[0].keys):
            places = [read.is_online(row.keys) for row in rows]
        return list(compress(rows, places)), list(compress(rows, map(not_, places)))

    @property
    def _is_remote(self) -> bool:
        return self._store is not None and self._store.remote

    def _fetch(self, online: dict[TableRead, list[EntityRow]]) -> dict[TableRead, list[bytes | None]]:
        """The records of all reads in one round trip to the store."""
        if self._store is None or not online:
            return {}
        first = next(iter(online.values()))[0]
        with _LookupErrors(", ".join(str(read.table) for read in online), first.keys):
            keys = {read: [read.encode(row.keys) for row in rows] for read, rows in online.items()}
            wanted = [(read.space, [key for key in some if key is not None]) for read, some in keys.items()]
            answers = [iter(records) for records in self._store.get_across(wanted)]
        return {
            read: [None if key is None else next(answer) for key in some]
            for (read, some), answer in zip(keys.items(), answers, strict=True)
        }


def _by_key(lookups: Sequence[PinnedLookup]) -> list[list[PinnedLookup]]:
    """Lookups of one table by the same keys share a read; a sequence has one of its own."""
    grouped: dict[tuple[object, ...], list[PinnedLookup]] = {}
    for lookup in lookups:
        alone = id(lookup) if lookup.sequence_length is not None else None
        grouped.setdefault((lookup.table, tuple(lookup.keys.items()), alone), []).append(lookup)
    return list(grouped.values())


def _time_in(named: Keys) -> datetime:
    """The time among the columns that name a row."""
    times = [from_microseconds(microseconds(v)) for v in named.values() if isinstance(v, date)]
    return max(times, default=datetime.min.replace(tzinfo=UTC))


class _LookupErrors:
    """Turns what fails in reading into FeatureLookupFailed. A generator would cost half a read."""

    def __init__(self, tables: TableName | str, keys: Keys) -> None:
        self._tables, self._keys = tables, keys

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SequenceTooShort | InvalidRequest):
            return
        if not isinstance(error, KaratError | OSError | pl.exceptions.PolarsError):
            return
        what, remedy = (error.what, error.remedy) if isinstance(error, KaratError) else (str(error), "")
        shown = keys_text(self._keys)
        raise FeatureLookupFailed(
            f"the features of {self._tables} could not be read: {what}",
            where=f"{self._tables}{f', keys {shown}' if shown else ''}",
            remedy=remedy or "look at: karat status",
        ) from error
