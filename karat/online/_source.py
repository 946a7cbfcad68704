"""Offline rows of a publication: the records that the online store should hold, read from the lake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import numpy as np
import polars as pl

from karat.clock import microseconds
from karat.dtypes import POLARS
from karat.lake import Lake, TableInfo
from karat.online._rows import NO_TIME, Layout, encode_rows
from karat.online._store import PublishState
from karat.online._tails import EventSource

_FOREVER = (1 << 63) - 1


class OfflineRows:
    """One version of a table, as the records that ``state`` describes; ``at`` is what counts as now."""

    def __init__(
        self, lake: Lake, info: TableInfo, state: PublishState, at: datetime, events: EventSource | None = None
    ) -> None:
        self._lake, self._info, self._state, self._events = lake, info, state, events
        self.keep, self.by_entity = state.keep, state.by_entity
        #: a row of a later time than this is not known yet (microseconds UTC)
        self.known_until = microseconds(at) - state.lag if state.by_entity else _FOREVER
        #: rows of a later time than this are kept however many they are; None: no more than ``keep``
        self.horizon = None if state.span is None else self.known_until - state.span

    def records(self, days: Iterable[date] | None = None) -> dict[bytes, bytes]:
        """Key to record, of the rows of these days, or of all."""
        rows = self._scan()
        if days is not None:
            # The partition column itself, where there is one: whole files are left out by it.
            day = self._info.day_column if self._state.time == self._info.timeseries else None
            rows = rows.filter(
                (pl.col(day) if day else pl.col(str(self._state.time)).cast(pl.Date)).is_in(sorted(days))
            )
        return self._encode(self._newest(rows))

    def _scan(self) -> pl.LazyFrame:
        rows = self._lake.scan(self._info.name, self._info.version, hidden=True)
        return rows if self._events is None else self._events.rows(rows)

    def records_of(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The records of these keys alone, of any day."""
        if not keys:
            return {}
        values = [self._state.codec.decode(k) for k in keys]
        if any(v is None for v in values):  # keys so long that only their digest is online
            wanted = set(keys)
            return {k: r for k, r in self.records().items() if k in wanted}
        schema = {name: POLARS[dtype] for name, dtype in self._state.key}
        named = pl.LazyFrame([v for v in values if v is not None], schema=schema, orient="row")
        rows = self._scan()
        rows = rows.with_columns(pl.col(n).cast(t) for n, t in schema.items())
        return self._encode(self._newest(rows.join(named, on=list(schema), how="semi")))

    def _newest(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Of each entity the rows that are to be online: the newest known ones and all that are not known yet."""
        names = [n for n, _ in self._state.key]
        columns = [n for n, _ in self._state.columns]
        time, event = self._state.time, self._state.event_id
        order = [c for c in (time, event) if c is not None]
        rows = rows.select(list(dict.fromkeys([*names, *order, *columns])))
        if not self._state.by_entity or time is None:
            return rows.collect(engine="streaming")
        at = pl.col(time).cast(pl.Datetime("us", "UTC")).dt.timestamp("us")
        known = rows.filter(at <= self.known_until)
        kept = [rows.filter(at > self.known_until)]
        if self.horizon is not None:
            kept.append(known.filter(at > self.horizon))
            known = known.filter(at <= self.horizon).join(kept[-1], on=names, how="anti")
        if self.keep == 1:
            newest = known.group_by(names).agg(pl.col(time).max())
            kept.append(known.join(newest, on=[*names, time], how="semi"))
        else:
            kept.append(known.sort(order).group_by(names).tail(self.keep).select(rows.collect_schema().names()))
        return pl.concat(kept).collect(engine="streaming").sort(order)

    def _encode(self, frame: pl.DataFrame) -> dict[bytes, bytes]:
        state = self._state
        frame = frame.with_columns(pl.col(n).cast(POLARS[d]) for n, d in state.key)
        times = self._times(frame)
        rows = encode_rows(frame, Layout(state.columns), state.layout, times, self._info.version)
        keys = map(state.codec.encode, frame.select(n for n, _ in state.key).iter_rows())
        if not state.by_entity:
            return dict(zip(keys, rows, strict=True))
        found: dict[bytes, list[bytes]] = {}
        for key, row in zip(keys, rows, strict=True):
            found.setdefault(key, []).append(row)
        return {key: b"".join(reversed(some)) for key, some in found.items()}

    def _times(self, frame: pl.DataFrame) -> np.ndarray:
        if self._state.time is None:
            return np.full(frame.height, NO_TIME, dtype=np.int64)
        times = frame[self._state.time].cast(pl.Datetime("us", "UTC")).dt.timestamp("us")
        return times.to_numpy().astype(np.int64)
