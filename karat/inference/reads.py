"""One read of one table, shared by its lookups by the same keys: a row, or a sequence of rows, from either store."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from karat.errors import SequenceTooShort
from karat.features import Status, lookup, sequences
from karat.lake import Lake
from karat.online import EPOCH, OnlineStore, Reader, Row, Space, dtype_of
from karat.training.lookups import PinnedLookup, arrow_type

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
    no time; ``found``: whether a table has a row of these keys at all."""

    values: list[Any]
    statuses: list[Status]
    times: dict[str, datetime | None]
    found: dict[str, bool]

    @classmethod
    def empty(cls, count: int) -> Vector:
        return cls([None] * count, [Status.NOT_FOUND] * count, {}, {})


class _Taken(NamedTuple):
    """One feature of a lookup: its place in the vector and in the row that was read."""

    place: int
    source: int
    default: Any
    has_default: bool


class Read(ABC):
    """``pairs``: the request's columns and the table's; ``keys``: the request's in the order of the store's key;
    ``named``: the request's column that names the table's time, if any does."""

    def __init__(self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore, lake: Lake):
        self.table, self.pairs, self._lake = lookups[0].table, lookups[0].keys, lake
        wanted = (c for lk in lookups for c, out in lk.columns.items() if out in places)
        self.columns = tuple(dict.fromkeys(wanted)) or tuple(lookups[0].columns)[:1]  # of a mask alone
        self.reader = Reader(store, self.space, self.columns)
        self.time = self.reader.state.time
        of_key = {key: column for column, key in self.pairs.items()}
        self.keys = tuple(of_key[name] for name, _ in self.reader.state.key)
        self.named = of_key.get(self.time) if self.time else None
        self._types = {c: dtype_of(arrow_type(lookups[0].schema[key])) for c, key in self.pairs.items()}

    @property
    @abstractmethod
    def space(self) -> Space: ...

    @abstractmethod
    def online(self, vector: Vector, keys: Mapping[str, Any], at: int, record: bytes | None) -> None:
        """Puts values and statuses into their places, from what the online store has under ``key``."""

    @abstractmethod
    def offline(self, vector: Vector, keys: Mapping[str, Any], at: int) -> None:
        """The same from the lake, as of ``at`` or of the time that the keys name."""

    def key(self, keys: Mapping[str, Any]) -> list[Any]:
        """The values of the store's key."""
        return [keys[k] for k in self.keys]

    def _tell(self, vector: Vector, row: Row) -> None:
        vector.times[str(self.table)] = None if row.time is None else EPOCH + row.time * _MICROSECOND
        vector.found[str(self.table)] = Status.NOT_FOUND not in row.statuses

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


class RowRead(Read):
    """The latest row known, for as-of lookups and for exact ones that leave the time to be the latest."""

    def __init__(self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore, lake: Lake):
        super().__init__(lookups, places, store, lake)
        order = {name: i for i, name in enumerate(self.columns)}
        self._lookups = [
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

    @property
    def space(self) -> Space:
        return Space(str(self.table))

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
        by_time = self.time is not None and self.named not in keys
        looked = lookup(
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


class SequenceRead(Read):
    """The last N rows known, of one lookup."""

    def __init__(self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore, lake: Lake):
        (self._lookup,) = lookups
        super().__init__(lookups, places, store, lake)
        self.reader = Reader(store, self.space, self.columns, lookback=self._lookup.lookback)
        self._places = [places.get(self._lookup.columns[c]) for c in self.columns]
        self._mask = places.get(self._lookup.mask) if self._lookup.mask else None
        self._length = self._lookup.sequence_length or 1

    @property
    def space(self) -> Space:
        return Space(str(self.table), "sequence")

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
        made = sequences(
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
