"""One read of one table, shared by its lookups by the same keys: a row, or a sequence of rows, from either store."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import polars as pl

from karat.declare import FeatureTable, Project
from karat.errors import FeatureLookupFailed, SequenceTooShort
from karat.features import Status, point_in_time_join, sequence_join
from karat.inference.events import EventTable
from karat.lake import Lake
from karat.online import EPOCH, MARGIN, Index, KeySpace, OnlineStore, Row, RowReader, TailReader, dtype_of, microseconds
from karat.training_sets.lookups import PinnedLookup, arrow_type

_MICROSECOND = timedelta(microseconds=1)
KEY_TYPES: dict[str, Any] = {
    "string": pl.String,
    "int64": pl.Int64,
    "date": pl.Date,
    "timestamp": pl.Datetime("us", "UTC"),
}
AT = "__as_of__"


class Vector(NamedTuple):
    """Values and statuses in the order of the features asked for; that of a sequence is a list, oldest first, with None
    where no row is. ``times``: of each table the (newest) row that was taken, None where there is none or the table has
    no time; ``found``: whether a table has a row of these keys at all. ``given``: what the request brings
    itself."""

    values: list[Any]
    statuses: list[Status]
    times: dict[str, datetime | None]
    found: dict[str, bool]
    given: Mapping[str, Any]

    @classmethod
    def empty(cls, count: int, given: Mapping[str, Any] | None = None) -> Vector:
        return cls([None] * count, [Status.NOT_FOUND] * count, {}, {}, given or {})


class _Taken(NamedTuple):
    """One feature of a lookup: its place in the vector and in the row that was read."""

    place: int
    source: int
    default: Any
    has_default: bool


_Lookup = tuple[timedelta | None, list[_Taken]]


class Read(ABC):
    """``pairs``: the request's columns and the table's; ``keys``: the request's in the order of the store's key;
    ``optional``: those of the request's columns that it may leave out."""

    reader: RowReader | TailReader
    keys: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    def __init__(self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], lake: Lake) -> None:
        self.table, self.pairs, self._lake = lookups[0].table, lookups[0].keys, lake
        wanted = (c for lk in lookups for c, out in lk.columns.items() if out in places)
        self.columns = tuple(dict.fromkeys(wanted)) or tuple(lookups[0].columns)[:1]  # of a mask alone
        self._types = {c: dtype_of(arrow_type(lookups[0].schema[key])) for c, key in self.pairs.items()}
        self._of_key = {key: column for column, key in self.pairs.items()}

    @abstractmethod
    def online(self, vector: Vector, keys: Mapping[str, Any], at: int, record: bytes | None) -> None:
        """Puts values and statuses into their places, from what the online store has under ``key``."""

    @abstractmethod
    def offline(self, vector: Vector, keys: Mapping[str, Any], at: int) -> None:
        """The same from the lake, as of ``at`` or of the time that the keys name."""

    def key(self, keys: Mapping[str, Any]) -> list[Any]:
        """The values of the store's key."""
        return [keys[k] for k in self.keys]

    @property
    def space(self) -> KeySpace:
        return self.reader.space

    @abstractmethod
    def is_online(self, keys: Mapping[str, Any]) -> bool:
        """Whether what these keys ask for is in the online store."""

    def _tell(self, vector: Vector, row: Row) -> None:
        vector.times[str(self.table)] = None if row.time is None else EPOCH + row.time * _MICROSECOND
        vector.found[str(self.table)] = Status.NOT_FOUND not in row.statuses


def _taken(lookups: Sequence[PinnedLookup], places: Mapping[str, int], columns: Sequence[str]) -> list[_Lookup]:
    order = {name: i for i, name in enumerate(columns)}
    return [
        (
            lk.lookback,
            [
                _Taken(places[out], order[c], lk.defaults.get(c), c in lk.defaults)
                for c, out in lk.columns.items()
                if out in places
            ],
        )
        for lk in lookups
    ]


class _StoredRead(Read):
    """A read of the feature table's own rows."""

    index: ClassVar[Index]
    reader: RowReader

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        super().__init__(lookups, places, lake)
        assert store is not None
        self.reader = RowReader(
            store, KeySpace(str(self.table), self.index), self.columns, lookback=self._lookback(lookups)
        )
        self.time = self.reader.state.time
        self.keys = tuple(self._of_key[name] for name, _ in self.reader.state.key)
        self.optional = frozenset(self._of_key[t] for t in [self.time] if t in self._of_key)

    @staticmethod
    def _lookback(lookups: Sequence[PinnedLookup]) -> timedelta | None:
        return None

    def is_online(self, keys: Mapping[str, Any]) -> bool:
        return self.optional.isdisjoint(keys)

    def _stored(self, keys: Mapping[str, Any], names: Sequence[str]) -> pl.DataFrame:
        """The lake's rows of these keys."""
        pairs = {c: key for c, key in self.pairs.items() if c in keys}
        rows = self._lake.scan(self.table).filter([pl.col(key) == keys[c] for c, key in pairs.items()])
        needed = dict.fromkeys([*pairs.values(), *([self.time] if self.time else []), *names, *self.columns])
        return rows.select(list(needed)).collect()

    def _spine(self, keys: Mapping[str, Any], at: int) -> pl.DataFrame:
        pairs = [c for c in self.pairs if c in keys]
        spine = pl.DataFrame({c: [keys[c]] for c in pairs}, schema={c: KEY_TYPES[self._types[c]] for c in pairs})
        return spine.with_columns(pl.lit(EPOCH + at * _MICROSECOND, dtype=pl.Datetime("us", "UTC")).alias(AT))


class RowRead(_StoredRead):
    """The latest row known, for as-of lookups and for exact ones that leave the time to be the latest."""

    index = "latest"

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        super().__init__(lookups, places, store, lake)
        self._lookups = _taken(lookups, places, self.columns)

    def online(self, vector: Vector, keys: Mapping[str, Any], at: int, record: bytes | None) -> None:
        self._fill(vector, self.reader.row_of(record, at), at)

    def offline(self, vector: Vector, keys: Mapping[str, Any], at: int) -> None:
        self._fill(vector, self._offline(keys, at), at)

    def _fill(self, vector: Vector, row: Row, at: int) -> None:
        self._tell(vector, row)
        for lookback, taken in self._lookups:
            _fill(vector, row, taken, expired=_expired(row, lookback, at))

    def _offline(self, keys: Mapping[str, Any], at: int) -> Row:
        """From the lake: the row of the time that the request names, else the latest one known at ``at``."""
        by_time = self.time is not None and self.is_online(keys)
        looked = point_in_time_join(
            self._spine(keys, at),
            self._stored(keys, ()),
            keys={c: key for c, key in self.pairs.items() if c in keys},
            time=(AT, self.time) if by_time and self.time else None,
            lag=self._lake.info(self.table).lag,
            columns=list(self.columns),
        )
        age = looked.age[0]
        statuses = tuple(Status(s) for s in looked.statuses.row(0))
        time = None if age is None else at - age // _MICROSECOND
        return Row(looked.values.row(0), statuses, time, None)


class SequenceRead(_StoredRead):
    """The last N rows known, of one lookup."""

    index = "sequence"

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        (self._lookup,) = lookups
        super().__init__(lookups, places, store, lake)
        self._places = [places.get(self._lookup.columns[c]) for c in self.columns]
        self._mask = places.get(self._lookup.mask) if self._lookup.mask else None
        self._length = self._lookup.sequence_length or 1

    @staticmethod
    def _lookback(lookups: Sequence[PinnedLookup]) -> timedelta | None:
        return lookups[0].lookback

    def online(self, vector: Vector, keys: Mapping[str, Any], at: int, record: bytes | None) -> None:
        values, mask, row = self.reader.sequence_of(record, at, self._length, step=self._lookup.step)
        columns = [[None if math.isnan(v) else v for v in column] for column in values.T.tolist()]
        self._fill(vector, keys, columns, mask.tolist(), row)

    def offline(self, vector: Vector, keys: Mapping[str, Any], at: int) -> None:
        self._fill(vector, keys, *self._offline(keys, at))

    def _fill(
        self, vector: Vector, keys: Mapping[str, Any], values: list[list[Any]], mask: list[bool], row: Row
    ) -> None:
        if self._lookup.short == "refuse" and sum(mask) < self._length:
            raise SequenceTooShort(
                f"{sum(mask)} rows of {self.table} are known, and the model takes {self._length}",
                where=", ".join(f"{column}={value!r}" for column, value in keys.items()),
                remedy="ask when the entity has more of them, or train with short='pad'",
            )
        self._tell(vector, row)
        for place, column, status in zip(self._places, values, row.statuses, strict=True):
            if place is not None:
                vector.values[place], vector.statuses[place] = column, status
        if self._mask is not None:
            found = next((s for s in row.statuses if s not in (Status.PRESENT, Status.NULL)), Status.PRESENT)
            vector.values[self._mask], vector.statuses[self._mask] = mask, found

    def _offline(self, keys: Mapping[str, Any], at: int) -> tuple[list[list[Any]], list[bool], Row]:
        one = self._lookup
        assert one.time is not None
        made = sequence_join(
            self._spine(keys, at),
            self._stored(keys, [one.event_id] if one.event_id else []),
            keys=one.keys,
            time=(AT, one.time[1]),
            length=self._length,
            step=one.step,
            lag=self._lake.info(self.table).lag,
            lookback=one.lookback,
            event_id=one.event_id,
            columns=list(self.columns),
        )
        age, statuses = made.age[0], tuple(Status(s) for s in made.statuses.row(0))
        row = Row((), statuses, None if age is None else at - age // _MICROSECOND, None)
        return [list(v) for v in made.values.row(0)], list(made.mask[0]), row


class EventRead(Read):
    """A table with a row per event, finished at the moment of the request or at the time that its keys name; where
    they name a past event whole, its row."""

    def __init__(
        self,
        lookups: Sequence[PinnedLookup],
        places: Mapping[str, int],
        store: OnlineStore | None,
        lake: Lake,
        declared: tuple[Project, FeatureTable],
    ) -> None:
        super().__init__(lookups, places, lake)
        _check_definition(lookups, declared[1])
        self._table = EventTable(*declared, self.columns)
        self._store = store
        table = declared[1]
        self.keys = tuple(self._of_key[e] for e in table.entity)
        self.optional = frozenset(c for c, key in self.pairs.items() if key not in table.entity)
        # An as-of lookup does not name them: "" is no column.
        self._event_id, self._time = (self._of_key.get(str(c), "") for c in (table.event_id, table.time))
        self._lookups = _taken(lookups, places, self.columns)

    @cached_property
    def reader(self) -> TailReader:  # type: ignore[override]
        """Made at the first use: a past moment needs no store."""
        assert self._store is not None
        return self._table.reader(self._store)

    def is_online(self, keys: Mapping[str, Any]) -> bool:
        return self._time not in keys or keys[self._time] > datetime.now(UTC) - MARGIN

    def online(self, vector: Vector, keys: Mapping[str, Any], at: int, record: bytes | None) -> None:
        moment = self._moment(keys, at)
        row = self._table.row(self.reader.tail_of(record), self.key(keys), moment, self._event(vector, keys))
        self._fill(vector, row, moment)

    def offline(self, vector: Vector, keys: Mapping[str, Any], at: int) -> None:
        moment, row = self._moment(keys, at), None
        if self._time in keys and self._event_id in keys:
            row = self._table.stored(self._lake, {key: keys[c] for c, key in self.pairs.items()})
        if row is None:
            row = self._table.offline(self._lake, self.key(keys), moment, self._event(vector, keys))
        self._fill(vector, row, moment)

    def _moment(self, keys: Mapping[str, Any], at: int) -> int:
        return microseconds(keys[self._time]) if self._time in keys else at

    def _event(self, vector: Vector, keys: Mapping[str, Any]) -> dict[str, Any] | None:
        event = self._table.event(vector.given)
        if event is not None and self._event_id in keys:
            event[str(self._table.declared.event_id)] = keys[self._event_id]
        return event

    def _fill(self, vector: Vector, row: Row, at: int) -> None:
        self._tell(vector, row)
        for lookback, taken in self._lookups:
            _fill(vector, row, taken, expired=_expired(row, lookback, at))


def _check_definition(lookups: Sequence[PinnedLookup], table: FeatureTable) -> None:
    """Raises FeatureLookupFailed where the declaration is another than the one the model learned from."""
    pinned = lookups[0].definition_hash
    if pinned and pinned != table.definition_hash:
        raise FeatureLookupFailed(
            f"the definition of {table.name!r} is another than the one the model was trained with",
            where=f"definition {table.definition_hash}, in the model {pinned}",
            remedy="train the model again; a new meaning needs a new name",
        )


def _expired(row: Row, lookback: timedelta | None, moment: int) -> bool:
    return lookback is not None and row.time is not None and row.time < moment - lookback // _MICROSECOND


def _fill(vector: Vector, row: Row, taken: list[_Taken], *, expired: bool) -> None:
    for place, source, default, has_default in taken:
        value, status = row.values[source], row.statuses[source]
        if expired:
            value, status = None, Status.EXPIRED
        if has_default and status in (Status.NOT_FOUND, Status.EXPIRED):
            value, status = default, Status.DEFAULTED
        vector.values[place], vector.statuses[place] = value, status
