"""Feature reader: lookups for one key or many, from the online store or as of a past time from the offline one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import compress
from operator import not_
from types import TracebackType

import polars as pl

from karat.clock import microseconds, utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import FeatureLookupFailed, KaratError, SequenceTooShort
from karat.inference.feature_reader.event_rows import EventRead
from karat.inference.feature_reader.stored_rows import RowRead, SequenceRead
from karat.inference.feature_reader.table_read import TableRead
from karat.inference.feature_reader.vector import EntityRow, FeatureVector
from karat.lake import Lake
from karat.names import TableName
from karat.online import Keys, OnlineStore, Values
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
    ) -> None:
        self._store, self._lake, self._count = store, lake, len(outputs)
        self._places = {name: i for i, name in enumerate(outputs)}
        self._projects = projects or ProjectCatalog()
        needed = [lookup for lookup in lookups if not self._places.keys().isdisjoint(lookup.outputs)]
        self._reads = [self._read_of(some) for some in _by_key(needed)]
        self.looked_up = frozenset(out for lookup in needed for out in lookup.outputs if out in self._places)
        self.key_types = {c: dtype for read in self._reads for c, dtype in read.key_types.items()}

    def _read_of(self, lookups: list[PinnedLookup]) -> TableRead:
        first = lookups[0]
        if first.sequence_length is not None:
            return SequenceRead(lookups, self._places, self._store, self._lake)
        declared = self._projects.event_table(first.table) if first.event_id is not None else None
        if declared is not None:
            return EventRead(lookups, self._places, self._store, self._lake, declared)
        return RowRead(lookups, self._places, self._store, self._lake)

    @property
    def time_columns(self) -> frozenset[str]:
        """Key columns that may name a time, by their type; no store is read for it."""
        return frozenset(c for c, dtype in self.key_types.items() if dtype in ("date", "timestamp"))

    @property
    def own_types(self) -> dict[str, str]:
        """Columns that a request may bring of its own event -> declared type; no store is read for it."""
        return {c: t for read in self._reads if isinstance(read, EventRead) for c, t in read.own_types.items()}

    def optional_keys(self) -> frozenset[str]:
        """Key columns that a request may leave out: a time, an event id.

        Raises:
            FeatureLookupFailed: A table's state can't be read.
        """
        found: set[str] = set()
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
        if len(self._reads) > 1 and self._is_remote:
            return self.read_many([keys], at, [event or {}])[0]
        now = utc_now()
        moment, past = microseconds(at or now), at is not None and at < now
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


class _LookupErrors:
    """Turns what fails in reading into FeatureLookupFailed. A generator would cost half a read."""

    def __init__(self, tables: TableName | str, keys: Keys) -> None:
        self._tables, self._keys = tables, keys

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SequenceTooShort):
            return
        if not isinstance(error, KaratError | OSError | pl.exceptions.PolarsError):
            return
        what, remedy = (error.what, error.remedy) if isinstance(error, KaratError) else (str(error), "")
        shown = ", ".join(f"{column}={value!r}" for column, value in self._keys.items())
        raise FeatureLookupFailed(
            f"the features of {self._tables} could not be read: {what}",
            where=f"{self._tables}{f', keys {shown}' if shown else ''}",
            remedy=remedy or "look at: karat status",
        ) from error
