"""A model's feature vector from keys: one read per table and key, from the online store or as of a past time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from karat.errors import FeatureLookupFailed, KaratError
from karat.features import Status, lookup
from karat.lake import Lake
from karat.names import TableName
from karat.online import EPOCH, OnlineStore, Reader, Row, Space, dtype_of, microseconds
from karat.training.lookups import PinnedLookup, arrow_type

_MICROSECOND = timedelta(microseconds=1)
_POLARS: dict[str, Any] = {
    "string": pl.String,
    "int64": pl.Int64,
    "date": pl.Date,
    "timestamp": pl.Datetime("us", "UTC"),
}
_AT = "__as_of__"


class Vector(NamedTuple):
    """Values and statuses in the order of the features asked for. ``times``: of each table the row that was taken,
    None where there is none or the table has no time; ``found``: whether a table has a row of these keys at all."""

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


@dataclass
class _Read:
    """One read, shared by all lookups of a table by the same keys. ``keys``: the request's columns in the order of the
    store's key; ``time``: the table's time column, and ``named``: the request's column that names it, if any does."""

    table: TableName
    pairs: dict[str, str]
    reader: Reader
    lookups: list[tuple[timedelta | None, list[_Taken]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.time = self.reader.state.time
        of_key = {key: column for column, key in self.pairs.items()}
        self.keys = tuple(of_key[name] for name, _ in self.reader.state.key)
        self.named = of_key.get(self.time) if self.time else None


class VectorReader:
    """Reads ``outputs`` (the model's features) through a model's pinned lookups.

    An exact lookup whose key holds the table's time takes the latest known row where the request does not name the
    time. Raises FeatureLookupFailed, naming table and keys, where a store can't be read.
    """

    def __init__(self, lookups: Sequence[PinnedLookup], outputs: Sequence[str], store: OnlineStore, lake: Lake) -> None:
        wanted = set(outputs)
        self._lookups = [lk for lk in lookups if wanted & set(lk.columns.values())]
        self._store, self._lake, self._count = store, lake, len(outputs)
        self._place = {name: i for i, name in enumerate(outputs)}
        self._reads: list[_Read] | None = None
        self.looked_up = frozenset(out for lk in self._lookups for out in lk.columns.values() if out in wanted)
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
        return frozenset(read.named for read in self._prepared() if read.named)

    def _prepared(self) -> list[_Read]:
        """The reads, prepared at the first use: a table may be published later than its model is loaded."""
        if self._reads is None:
            grouped: dict[Any, list[PinnedLookup]] = {}
            for lk in self._lookups:
                grouped.setdefault((lk.table, tuple(lk.keys.items())), []).append(lk)
            self._reads = [self._prepare(some) for some in grouped.values()]
        return self._reads

    def _prepare(self, lookups: list[PinnedLookup]) -> _Read:
        one = lookups[0]
        columns = tuple(dict.fromkeys(c for lk in lookups for c, out in lk.columns.items() if out in self._place))
        with _Naming(one, {}):
            read = _Read(one.table, one.keys, Reader(self._store, Space(str(one.table)), columns))
        order = {name: i for i, name in enumerate(columns)}
        for lk in lookups:
            taken = [
                _Taken(self._place[out], order[c], lk.defaults.get(c), c in lk.defaults)
                for c, out in lk.columns.items()
                if out in self._place
            ]
            read.lookups.append((lk.lookback, taken))
        return read

    def read(self, keys: Mapping[str, Any], at: datetime | None) -> Vector:
        """``keys``: typed values. ``at`` None: what is known now, from the online store; else as of then, offline."""
        vector = Vector.empty(self._count)
        moment = microseconds(datetime.now(UTC) if at is None else at)
        for read in self._prepared():
            with _Naming(read, keys):
                if at is None and read.named not in keys:
                    row = read.reader.read([keys[k] for k in read.keys], moment)
                else:
                    row = self._offline(read, keys, moment)
            vector.times[str(read.table)] = None if row.time is None else EPOCH + row.time * _MICROSECOND
            vector.found[str(read.table)] = Status.NOT_FOUND not in row.statuses
            for lookback, taken in read.lookups:
                _fill(vector, row, taken, expired=_expired(row, lookback, moment))
        return vector

    def _offline(self, read: _Read, keys: Mapping[str, Any], moment: int) -> Row:
        """From the lake: the row of the time that the request names, else the latest one known at ``moment``."""
        pairs = {c: key for c, key in read.pairs.items() if c in keys}
        columns = read.reader.columns
        rows = self._lake.scan(read.table).filter([pl.col(key) == keys[c] for c, key in pairs.items()])
        needed = dict.fromkeys([*pairs.values(), *([read.time] if read.time else []), *columns])
        frame = rows.select(list(needed)).collect()
        spine = pl.DataFrame({c: [keys[c]] for c in pairs}, schema={c: _POLARS[self.key_types[c]] for c in pairs})
        by_time = read.time is not None and read.named not in keys
        time = (_AT, read.time) if by_time and read.time else None
        at = EPOCH + moment * _MICROSECOND
        looked = lookup(
            spine.with_columns(pl.lit(at, dtype=pl.Datetime("us", "UTC")).alias(_AT)),
            frame,
            keys=pairs,
            time=time,
            lag=self._lake.info(read.table).lag,
            columns=list(columns),
        )
        age = looked.age[0]
        statuses = tuple(Status(s) for s in looked.statuses.row(0))
        return Row(looked.values.row(0), statuses, None if age is None else microseconds(at - age), None)


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


class _Naming:
    """What fails in reading is FeatureLookupFailed, with its table and keys. (A generator would cost half a read.)"""

    def __init__(self, read: _Read | PinnedLookup, keys: Mapping[str, Any]) -> None:
        self.table, self.keys = read.table, keys

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, KaratError | OSError | pl.exceptions.PolarsError):
            return
        what, remedy = (error.what, error.remedy) if isinstance(error, KaratError) else (str(error), "")
        shown = ", ".join(f"{column}={value!r}" for column, value in self.keys.items())
        raise FeatureLookupFailed(
            f"the features of {self.table} could not be read: {what}",
            where=f"{self.table}{f', keys {shown}' if shown else ''}",
            remedy=remedy or "look at: karat status",
        ) from error
