"""A model's feature vector from keys: one read per table and key, from the online store or as of a past time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import FeatureLookupFailed, KaratError, SequenceTooShort
from karat.inference.events import EventTable
from karat.inference.reads import EventRead, Read, RowRead, SequenceRead, Vector
from karat.lake import Lake
from karat.names import TableName
from karat.online import OnlineStore, dtype_of, microseconds
from karat.training_sets.lookups import PinnedLookup, arrow_type

__all__ = ["Vector", "VectorReader"]


class VectorReader:
    """Reads ``outputs`` (the model's features) through a model's pinned lookups.

    An exact lookup whose key holds the table's time takes the latest known row where the request does not name the
    time. Raises FeatureLookupFailed, naming table and keys, where a store can't be read.
    """

    def __init__(
        self,
        lookups: Sequence[PinnedLookup],
        outputs: Sequence[str],
        store: OnlineStore | None,
        lake: Lake,
        projects: ProjectCatalog | None = None,
    ) -> None:
        """``projects`` declare the tables with a row per event, whose features are finished at the request: for past
        moments of these alone no ``store`` is needed."""
        wanted = set(outputs)
        self._lookups = [lk for lk in lookups if wanted & set(lk.outputs)]
        self._store, self._lake, self._count = store, lake, len(outputs)
        self._place = {name: i for i, name in enumerate(outputs)}
        self._reads: list[Read] | None = None
        self._projects = projects or ProjectCatalog()
        self.looked_up = frozenset(out for lk in self._lookups for out in lk.outputs if out in wanted)
        #: every key column that a request may name -> its type
        self.key_types = {
            column: dtype_of(arrow_type(lk.schema[key])) for lk in self._lookups for column, key in lk.keys.items()
        }

    @property
    def time_columns(self) -> frozenset[str]:
        """Key columns that may name a time, as their type says; no store is read for it."""
        return frozenset(c for c, dtype in self.key_types.items() if dtype in ("date", "timestamp"))

    def optional_keys(self) -> frozenset[str]:
        """The key columns that a request may leave out: times. Raises FeatureLookupFailed."""
        return frozenset(column for read in self._prepared() for column in read.optional)

    def own_types(self) -> dict[str, str]:
        """What a request may bring of its own event, by name and type; no store is read for it."""
        types: dict[str, str] = {}
        for lk in self._lookups:
            declared = self._projects.by_event(lk.table) if lk.event_id is not None else None
            if declared is not None:
                types |= EventTable(*declared, tuple(lk.columns)).own_types
        return types

    def _prepared(self) -> list[Read]:
        """The reads, prepared at the first use: a table may be published later than its model is loaded."""
        if self._reads is None:
            grouped: dict[Any, list[PinnedLookup]] = {}
            for lk in self._lookups:
                alone = id(lk) if lk.sequence_length is not None else None
                grouped.setdefault((lk.table, tuple(lk.keys.items()), alone), []).append(lk)
            self._reads = [self._prepare(some) for some in grouped.values()]
        return self._reads

    def _prepare(self, lookups: list[PinnedLookup]) -> Read:
        one = lookups[0]
        with _Naming([one.table], {}):
            if one.sequence_length is not None:
                return SequenceRead(lookups, self._place, self._store, self._lake)
            declared = self._projects.by_event(one.table) if one.event_id is not None else None
            if declared is not None:
                return EventRead(lookups, self._place, self._store, self._lake, declared)
            return RowRead(lookups, self._place, self._store, self._lake)

    def read(self, keys: Mapping[str, Any], at: datetime | None, given: Mapping[str, Any] | None = None) -> Vector:
        """``keys``: typed values. ``at`` None: what is known now, from the online store; else as of then, offline.
        ``given``: what the request brings itself, of which the values of its own event are read."""
        vector = Vector.empty(self._count, given)
        moment = microseconds(datetime.now(UTC) if at is None else at)
        reads = self._prepared()
        online = [r for r in reads if at is None and r.is_online(keys)]
        fetched = self._fetched(online, keys) if len(online) > 1 else None
        for read in reads:
            with _Naming([read.table], keys):
                if read not in online:
                    read.offline(vector, keys, moment)
                elif fetched is not None:
                    read.online(vector, keys, moment, fetched[read])
                else:
                    read.online(vector, keys, moment, read.reader.fetch(read.key(keys)))
        return vector

    def _fetched(self, reads: list[Read], keys: Mapping[str, Any]) -> dict[Read, bytes | None] | None:
        """The records of all tables in one round trip; None where a store is at hand, and reads cost nothing."""
        if self._store is None or not self._store.remote:
            return None
        with _Naming([r.table for r in reads], keys):
            wanted = [(r.space, [r.reader.encode(r.key(keys))]) for r in reads]
            found = self._store.get_across(wanted)
        return {read: records[0] for read, records in zip(reads, found, strict=True)}


class _Naming:
    """What fails in reading is FeatureLookupFailed, with its table and keys. (A generator would cost half a read.)"""

    def __init__(self, tables: Sequence[TableName], keys: Mapping[str, Any]) -> None:
        self.tables, self.keys = tables, keys

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, KaratError | OSError | pl.exceptions.PolarsError) or isinstance(
            error, SequenceTooShort
        ):
            return
        what, remedy = (error.what, error.remedy) if isinstance(error, KaratError) else (str(error), "")
        shown = ", ".join(f"{column}={value!r}" for column, value in self.keys.items())
        tables = ", ".join(map(str, self.tables))
        raise FeatureLookupFailed(
            f"the features of {tables} could not be read: {what}",
            where=f"{tables}{f', keys {shown}' if shown else ''}",
            remedy=remedy or "look at: karat status",
        ) from error
