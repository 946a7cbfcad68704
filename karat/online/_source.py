"""What of an offline table belongs online: the records that the store should hold, read from the lake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import numpy as np
import polars as pl

from karat.lake import Lake, TableInfo
from karat.online._keys import microseconds
from karat.online._rows import NO_TIME, Layout, encode_rows
from karat.online._store import State

_FOREVER = (1 << 63) - 1
_KEY_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "string": pl.String,
    "int64": pl.Int64,
    "date": pl.Date,
    "timestamp": pl.Datetime("us", "UTC"),
}


class Source:
    """One version of a table, as the records that ``state`` describes; ``at`` is what counts as now."""

    def __init__(self, lake: Lake, info: TableInfo, state: State, at: datetime) -> None:
        self._lake, self._info, self._state = lake, info, state
        self._timed = state.index == "latest" and state.time is not None
        #: a row of a later time than this is not known yet (microseconds UTC)
        self.known_until = microseconds(at) - state.lag if self._timed else _FOREVER

    def records(self, days: Iterable[date] | None = None) -> dict[bytes, bytes]:
        """Key to record, of the rows of these days, or of all."""
        rows = self._lake.scan(self._info.name, self._info.version, hidden=True)
        if days is not None:
            # The partition column itself, where there is one: whole files are left out by it.
            day = self._info.day_column
            rows = rows.filter(
                (pl.col(day) if day else pl.col(str(self._state.time)).cast(pl.Date)).is_in(sorted(days))
            )
        return self._encode(self._newest(rows))

    def records_of(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The records of these keys alone, of any day."""
        if not keys:
            return {}
        values = [self._state.codec.decode(k) for k in keys]
        if any(v is None for v in values):  # keys so long that only their digest is online
            wanted = set(keys)
            return {k: r for k, r in self.records().items() if k in wanted}
        schema = {name: _KEY_TYPES[dtype] for name, dtype in self._state.key}
        named = pl.LazyFrame([v for v in values if v is not None], schema=schema, orient="row")
        rows = self._lake.scan(self._info.name, self._info.version)
        rows = rows.with_columns(pl.col(n).cast(t) for n, t in schema.items())
        return self._encode(self._newest(rows.join(named, on=list(schema), how="semi")))

    def _newest(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Of each entity the newest known row and all that are not known yet."""
        names = [n for n, _ in self._state.key]
        columns = [n for n, _ in self._state.columns]
        if not self._timed:
            time = [self._state.time] if self._state.time and self._state.time not in names else []
            return rows.select(*names, *time, *columns).collect(engine="streaming")
        time_column = str(self._state.time)
        rows = rows.select(*names, time_column, *columns)
        late = pl.col(time_column).cast(pl.Datetime("us", "UTC")).dt.timestamp("us") > self.known_until
        known = rows.filter(~late)
        newest = known.group_by(names).agg(pl.col(time_column).max())
        newest_rows = known.join(newest, on=[*names, time_column], how="semi")
        return pl.concat([newest_rows, rows.filter(late)]).collect(engine="streaming")

    def _encode(self, frame: pl.DataFrame) -> dict[bytes, bytes]:
        state = self._state
        frame = frame.with_columns(pl.col(n).cast(_KEY_TYPES[d]) for n, d in state.key)
        times = self._times(frame)
        rows = encode_rows(frame, Layout(state.columns), state.layout, times, self._info.version)
        keys = map(state.codec.encode, frame.select(n for n, _ in state.key).iter_rows())
        if not self._timed:
            return dict(zip(keys, rows, strict=True))
        found: dict[bytes, list[tuple[int, bytes]]] = {}
        for key, time, row in zip(keys, times.tolist(), rows, strict=True):
            found.setdefault(key, []).append((time, row))
        return {key: b"".join(row for _, row in sorted(some, reverse=True)) for key, some in found.items()}

    def _times(self, frame: pl.DataFrame) -> np.ndarray:
        if self._state.time is None:
            return np.full(frame.height, NO_TIME, dtype=np.int64)
        times = frame[self._state.time].cast(pl.Datetime("us", "UTC")).dt.timestamp("us")
        return times.to_numpy().astype(np.int64)
