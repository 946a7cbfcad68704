"""Event tail: an entity's latest gold events, which belong online, and how they are read back by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from karat.clock import SECOND_MICROSECONDS
from karat.declare import EventFeatureTable, Project
from karat.dtypes import NUMPY, dtype_of
from karat.errors import StoreUnreachable
from karat.features.request_features import tail_columns, tail_span
from karat.lake import Lake
from karat.names import TableName
from karat.online._rows import HEADER, Layout, unpack_rest
from karat.online._store import KeySpace, OnlineStore, PublishState
from karat.online._values import KeyValue, Value
from karat.quality.gold_check import valid_rows

#: How much longer than its window an event stays online, so that a request may name its own time of since then.
MARGIN = timedelta(days=1)


class Tail(NamedTuple):
    """An entity's events, oldest first.

    ``columns`` are those that ``karat.features.request_features.finish`` takes; ``times`` (n,) in microseconds UTC.
    """

    columns: dict[str, np.ndarray]
    times: np.ndarray

    def newest(self, at: int) -> int | None:
        """The time of the latest event that is known at ``at``; None where there is none."""
        known = int(np.searchsorted(self.times, at, "right"))
        return int(self.times[known - 1]) if known else None

    def last(self, at: int, named: Mapping[str, Value]) -> int | None:
        """The place of the latest event up to ``at`` whose columns are as ``named``; None if there is none."""
        known = range(int(np.searchsorted(self.times, at, "right")) - 1, -1, -1)
        return next((i for i in known if all(self.columns[c][i] == v for c, v in named.items())), None)

    def place(self, at: int, id_column: str, event_id: Value) -> int | None:
        """The place of the event at ``at`` with this id; without an id that of the last of that time."""
        first, end = (int(np.searchsorted(self.times, at, side)) for side in ("left", "right"))
        if event_id is None:
            return end - 1 if first < end else None
        ids = self.columns[id_column][first:end].tolist()
        return first + ids.index(event_id) if event_id in ids else None


@dataclass(frozen=True)
class EventSource:
    """Where the tails of a table with a row per event come from: its gold table, and the rows of it that count."""

    name: TableName
    gold: TableName
    table: EventFeatureTable
    counts: pl.Expr | None

    @classmethod
    def of(cls, project: Project, table: EventFeatureTable) -> EventSource:
        source = project.gold[table.source]
        return cls(project.table_name(table.name), project.gold_name(table.source), table, valid_rows(source))

    def rows(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        """Of a scan of the gold table the rows that are events: whole keys, and nothing that was set aside."""
        rows = scan if self.counts is None else scan.filter(self.counts)
        return rows.drop_nulls([*self.table.entity, self.table.time, self.table.event_id])

    def columns(self, lake: Lake) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of what a tail holds besides the time."""
        schema = lake.info(self.gold).schema
        return tuple((c, dtype_of(schema.field(c).type)) for c in tail_columns(self.table) if c != self.table.time)

    def state(self, lake: Lake, known: PublishState | None) -> PublishState:
        """The state with one more layout; it is not needed where ``known`` means the same."""
        schema, table = lake.info(self.gold).schema, self.table
        layouts = dict(known.layouts) if known is not None else {}
        number = max(layouts, default=0) + 1
        return PublishState(
            table=str(self.name),
            index="events",
            key=tuple((e, dtype_of(schema.field(e).type)) for e in table.entity),
            time=table.time,
            # What is younger stays, however many; of what is older the tail of a request that long ago is kept.
            lag=round(MARGIN.total_seconds() * SECOND_MICROSECONDS),
            layouts={**layouts, number: self.columns(lake)},
            layout=number,
            span=round(tail_span(table).total_seconds() * SECOND_MICROSECONDS),
            event_id=table.event_id,
        )

    def offline(self, lake: Lake, key: Sequence[KeyValue | None], at: int) -> Tail:
        """Read the tail of one entity as of ``at`` from the gold table.

        It includes the last event before the window, so that an idle entity is known.
        """
        table, time = self.table, self.table.time
        rows = self.rows(lake.scan(self.gold)).filter(
            [pl.col(e) == v for e, v in zip(table.entity, key, strict=True)],
            pl.col(time).dt.timestamp("us") <= at,
        )
        names = list(dict.fromkeys([*tail_columns(table)]))
        frame = rows.select(names).sort(time, table.event_id).collect()
        start = int(frame[time].dt.timestamp("us").search_sorted(at - round(tail_span(table).total_seconds() * 1e6)))
        frame = frame.slice(max(min(start, frame.height - 1), 0))
        times = frame[time].dt.timestamp("us").to_numpy()
        return Tail({n: times if n == time else _array(frame[n]) for n in names}, times)


def _array(column: pl.Series) -> np.ndarray:
    """A column as ``finish`` takes it."""
    if column.dtype == pl.Float64:
        return column.fill_null(float("nan")).to_numpy()
    if column.dtype in (pl.Date, pl.Datetime):
        return column.dt.replace_time_zone(None).to_numpy() if column.dtype == pl.Datetime else column.to_numpy()
    if column.null_count() == 0 and (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return column.to_numpy()
    out = np.empty(len(column), dtype=object)
    out[:] = column.to_list()
    return out


class TailReader:
    """Reads the tails of one space. Raises StoreUnreachable where none were published."""

    def __init__(self, store: OnlineStore, space: KeySpace) -> None:
        self._store, self._space = store, space
        self._get: Callable[[bytes], bytes | None] = store.getter(space)
        self._layouts: dict[int, _Columns] = {}
        self.state = self._load()

    @property
    def space(self) -> KeySpace:
        return self._space

    def _load(self) -> PublishState:
        state = self._store.state(self._space)
        if state is None:
            raise StoreUnreachable(
                f"the events of {self._space.table} are not in the online store",
                where=f"index {self._space.index}",
                remedy="publish them: publish_table, or the project's inference pipeline",
            )
        self._layouts = {n: _Columns(layout, state) for n, layout in state.compiled().items()}
        self.state = state
        return state

    def encode(self, key: Sequence[KeyValue | None]) -> bytes:
        return self.state.codec.encode(key)

    def fetch(self, key: Sequence[KeyValue | None]) -> bytes | None:
        return self._get(self.state.codec.encode(key))

    def tail_of(self, record: bytes | None) -> Tail:
        """The events of a record, oldest first; none where there is no record."""
        if not record:
            return self._columns(self.state.layout).tail([])
        size, _, _, number = HEADER.unpack_from(record, 0)
        columns = self._columns(number)
        if columns.fixed and len(record) % size == 0:
            block = np.frombuffer(record, columns.dtype)[::-1]
            if (block["layout"] == number).all():
                return columns.tail_of(block)
        return self._mixed(record)

    def _mixed(self, record: bytes) -> Tail:
        """Rows of several layouts, or with texts: one by one."""
        rows, at = [], 0
        while at < len(record):
            size, time, _, number = HEADER.unpack_from(record, at)
            rows.append((time, self._columns(number).row(record, at)))
            at += size
        return self._columns(self.state.layout).tail(rows[::-1])

    def _columns(self, number: int) -> _Columns:
        if number not in self._layouts:
            self._load()
        return self._layouts[number]


class _Columns:
    """How the rows of one layout become columns."""

    def __init__(self, layout: Layout, state: PublishState) -> None:
        self._layout, self._time = layout, str(state.time)
        self.dtype, self.fixed = layout.dtype, not layout.rest
        self._dtypes = dict(layout.columns)
        self._bits = {name: i for i, name in enumerate(layout.order)}

    def tail_of(self, block: np.ndarray) -> Tail:
        times = block["time"].astype(np.int64)
        columns: dict[str, np.ndarray] = {self._time: times}
        any_null = bool(block["nulls"].any())
        for i, (name, dtype) in enumerate(self._layout.fixed):
            values = block[f"c{i}"]
            if dtype in ("timestamp", "date"):
                values = values.astype("datetime64[us]" if dtype == "timestamp" else "datetime64[D]")
            if any_null:
                byte, bit = divmod(self._bits[name], 8)
                values = _with_nulls(values, (block["nulls"][:, byte] >> bit & 1).astype(np.bool_))
            columns[name] = values
        return Tail(columns, times)

    def row(self, record: bytes, at: int) -> dict[str, Value]:
        """One row's values by name; None where one is null."""
        bitmap, *fixed = self._layout.unpack.unpack_from(record, at)
        rest = unpack_rest(record, self._layout, at) if self._layout.rest else []
        bits = int.from_bytes(bitmap, "little")
        values = zip(self._layout.order, [*fixed, *rest], strict=True)
        return {name: None if bits >> i & 1 else value for i, (name, value) in enumerate(values)}

    def tail(self, rows: Sequence[tuple[int, dict[str, Value]]]) -> Tail:
        times = np.array([time for time, _ in rows], dtype=np.int64)
        columns: dict[str, np.ndarray] = {self._time: times}
        for name, dtype in self._dtypes.items():
            columns[name] = _typed([row.get(name) for _, row in rows], dtype)
        return Tail(columns, times)


def _typed(values: list[Value], dtype: str) -> np.ndarray:
    if dtype in ("timestamp", "date"):
        stored = np.array([0 if v is None else v for v in values], dtype=np.int64).astype(NUMPY[dtype])
        return _with_nulls(stored, np.array([v is None for v in values], dtype=np.bool_))
    if dtype == "float64":
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if dtype in NUMPY and None not in values:
        return np.array(values, dtype=NUMPY[dtype])
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _with_nulls(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    if not null.any():
        return values
    if values.dtype.kind == "M":
        return np.where(null, np.array("NaT", dtype=values.dtype), values)
    if values.dtype.kind == "f":
        return np.where(null, np.nan, values)
    out = values.astype(object)
    out[null] = None
    return out
