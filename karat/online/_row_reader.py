"""Row reader: one table's features by key, each with a status; prepared once, then microseconds per read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np

from karat.clock import EPOCH, EPOCH_ORDINAL, MICROSECOND, microseconds, utc_now
from karat.errors import FeatureNotFound, StoreUnreachable, WrongCall, did_you_mean
from karat.features import Status
from karat.online._expiry import is_expired, lookback_microseconds, oldest_time
from karat.online._rows import HEADER, NO_TIME, Layout, unpack_rest
from karat.online._store import KeySpace, OnlineStore, PublishState
from karat.online._values import KeyValue, Value

_CONVERT: dict[str, Callable[[int], date]] = {
    "timestamp": lambda us: EPOCH + us * MICROSECOND,
    "date": lambda day: date.fromordinal(day + EPOCH_ORDINAL),
}


class Row(NamedTuple):
    """One stored row as it was read.

    Attributes:
        values: In the order of the reader's columns.
        statuses: One per value.
        time: The row's time, microseconds UTC; None if there is no row or the table has no time.
        version: The Delta version that the row was copied from; None if there is no row.
    """

    values: tuple[Value, ...]
    statuses: tuple[Status, ...]
    time: int | None
    version: int | None


class _Picker:
    """How the wanted columns are taken from a row of one layout."""

    def __init__(self, layout: Layout, columns: Sequence[str]) -> None:
        self.layout = layout
        self.whole = layout.unpack
        order = {name: i for i, name in enumerate(layout.order)}
        # A column that this layout does not have yet is read from the place after the last, which holds a None.
        self.places = tuple(order.get(name, len(order)) for name in columns)
        self.pick: Callable[[Sequence[Value]], tuple[Value, ...]] = _tuple_getter(self.places)
        dtypes = dict(layout.columns)
        self.convert = [(i, _CONVERT[dtypes[n]]) for i, n in enumerate(columns) if dtypes.get(n) in _CONVERT]
        self.plain = not layout.rest and all(p < len(order) for p in self.places) and not self.convert
        count, self.float_start = layout.floats
        self.float_count = count
        all_floats = self.plain and all(p < count for p in self.places)
        self.float_places = np.array(self.places, dtype=np.intp) if all_floats else None
        self.in_order = self.places == tuple(range(count))

    def null_places(self, bitmap: bytes) -> list[int]:
        """Which of the wanted columns are null in the row."""
        bits = int.from_bytes(bitmap, "little") | (1 << len(self.layout.columns))
        return [i for i, place in enumerate(self.places) if bits >> place & 1]


def _tuple_getter(places: tuple[int, ...]) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    if len(places) == 1:
        (only,) = places
        return lambda values: (values[only],)
    return itemgetter(*places) if places else lambda values: ()


class RowReader:
    """The features ``columns`` of one space. ``lookback``: a row older than that at the time of reading is EXPIRED.

    Raises StoreUnreachable where the table was never published, FeatureNotFound where it has no such feature.
    """

    def __init__(
        self,
        store: OnlineStore,
        space: KeySpace,
        columns: Sequence[str],
        *,
        lookback: timedelta | None = None,
        state: PublishState | None = None,
    ) -> None:
        self.columns = tuple(columns)
        self._store, self._space, self._get = store, space, store.getter(space)
        self._lookback = lookback_microseconds(lookback)
        self._pickers: dict[int, _Picker] = {}
        self.state = self._load(state)
        self._all = (Status.PRESENT,) * len(columns)
        nothing = (None,) * len(columns)
        self._missing = Row(nothing, (Status.NOT_FOUND,) * len(columns), None, None)
        self._expired = Row(nothing, (Status.EXPIRED,) * len(columns), None, None)

    def _load(self, state: PublishState | None = None) -> PublishState:
        state = state or self._store.state(self._space)
        if state is None:
            raise StoreUnreachable(
                f"the table {self._space.table} is not in the online store",
                where=f"index {self._space.index}",
                remedy="publish it: publish_table, or the project's inference pipeline",
            )
        known = [name for name, _ in state.columns]
        for column in self.columns:
            if column not in known:
                raise FeatureNotFound(
                    f"the online table {self._space.table} has no feature {column!r}",
                    remedy=did_you_mean(column, known),
                )
        self._pickers = {n: _Picker(layout, self.columns) for n, layout in state.compiled().items()}
        self._codec, self._lag = state.codec, state.lag if state.by_entity else None
        self.state = state
        return state

    def _picker(self, number: int) -> _Picker:
        if number not in self._pickers:  # published anew since, with other columns
            self._load()
        return self._pickers[number]

    def _known(self, record: bytes, at: int) -> int:
        """Where the newest row begins that is known at ``at``; -1 where none is."""
        if self._lag is None:
            return 0
        start, end, latest = 0, len(record), at - self._lag
        while start < end:
            size, time, _, _ = HEADER.unpack_from(record, start)
            if time <= latest:
                return start
            start += size
        return -1

    @property
    def space(self) -> KeySpace:
        return self._space

    def encode(self, key: Sequence[KeyValue | None]) -> bytes:
        """``key`` as the store has it: what ``get_across`` takes."""
        return self._codec.encode(key)

    def fetch(self, key: Sequence[KeyValue | None]) -> bytes | None:
        """The record of ``key``, for ``row_of`` or ``sequence_of``; None where there is none."""
        return self._get(self._codec.encode(key))

    def _taken(self, record: bytes | None, at: int) -> tuple[bytes, int, int, int, int] | Row:
        """(record, start, time, version, layout) of the row to take, or the Row that says why there is none."""
        if record is None:
            return self._missing
        start = self._known(record, at)
        if start < 0:
            return self._missing
        _, time, version, number = HEADER.unpack_from(record, start)
        if self._lookback is not None and time != NO_TIME and is_expired(time, at, self._lookback):
            return self._expired._replace(time=time, version=version)
        return record, start, time, version, number

    def read(self, key: Sequence[KeyValue | None], at: int) -> Row:
        """Read the row of ``key`` that was known at ``at``.

        Args:
            key: Values of the declared types, in the order of ``state.key``.
            at: Microseconds UTC.

        Returns:
            Values and statuses in the order of the columns.
        """
        return self._row(self._taken(self._get(self._codec.encode(key)), at))

    def row_of(self, record: bytes | None, at: int) -> Row:
        """``read`` of a record that was fetched already."""
        return self._row(self._taken(record, at))

    def read_many(self, keys: Sequence[Sequence[KeyValue | None] | None], at: int) -> list[Row]:
        """Read many keys in one round trip and from one state of the store.

        A key that is None or holds a None finds nothing.
        """
        encode, places = self._codec.encode, [i for i, k in enumerate(keys) if k is not None and None not in k]
        records = self._store.get_many(self._space, [encode(keys[i]) for i in places])  # type: ignore[arg-type]
        rows = [self._missing] * len(keys)
        for place, record in zip(places, records, strict=True):
            rows[place] = self._row(self._taken(record, at))
        return rows

    def _row(self, found: tuple[bytes, int, int, int, int] | Row) -> Row:
        if isinstance(found, Row):
            return found
        record, start, time, version, number = found
        picker = self._picker(number)
        bitmap, *fixed = picker.whole.unpack_from(record, start)
        moment = None if time == NO_TIME else time
        if picker.plain and bitmap == picker.layout.no_nulls:
            return Row(picker.pick(fixed), self._all, moment, version)
        if picker.layout.rest:
            fixed += unpack_rest(record, picker.layout, start)
        return Row(*self._marked(picker, bitmap, fixed), moment, version)

    def _marked(
        self, picker: _Picker, bitmap: bytes, stored: list[Value]
    ) -> tuple[tuple[Value, ...], tuple[Status, ...]]:
        """Values and statuses of a row with nulls, texts or dates."""
        values, statuses = list(picker.pick([*stored, None])), list(self._all)
        for i, convert in picker.convert:
            values[i] = convert(cast(int, values[i]))
        for i in picker.null_places(bitmap):
            values[i], statuses[i] = None, Status.NULL
        return tuple(values), tuple(statuses)

    def read_array(self, key: Sequence[KeyValue | None], at: int) -> tuple[np.ndarray, tuple[Status, ...]]:
        """Like ``read`` for columns that are all numbers: float64 (n,), NaN where there is no value."""
        found = self._taken(self._get(self._codec.encode(key)), at)
        if isinstance(found, Row):
            return np.full(len(self.columns), np.nan), found.statuses
        record, start, _, _, number = found
        picker = self._picker(number)
        bitmap_start = start + HEADER.size
        bitmap = record[bitmap_start : bitmap_start + len(picker.layout.no_nulls)]
        if picker.float_places is None or bitmap != picker.layout.no_nulls:
            row = self.read(key, at)
            return np.array([np.nan if v is None else v for v in row.values], dtype=np.float64), row.statuses
        floats = np.frombuffer(record, "<f8", picker.float_count, start + picker.float_start)
        return (floats if picker.in_order else floats[picker.float_places]), self._all

    def read_sequence(
        self, key: Sequence[KeyValue | None], at: int, length: int, *, step: timedelta | None = None
    ) -> tuple[np.ndarray, np.ndarray, Row]:
        """Read the last ``length`` rows known at ``at``, oldest first.

        Args:
            key: Values of the declared types.
            at: Microseconds UTC.
            length: How many rows.
            step: A wider gap between two rows ends the sequence, as the lookback does.

        Returns:
            Values, float64 ``(length, columns)``, padded in front with NaN; a mask ``(length,)``, true where a row is;
            and the newest row, whose statuses are those of the sequence.

        Raises:
            WrongCall: Fewer rows are online than asked for, or a column is no number.
        """
        return self.sequence_of(self.fetch(key), at, length, step=step)

    def sequence_of(
        self, record: bytes | None, at: int, length: int, *, step: timedelta | None = None
    ) -> tuple[np.ndarray, np.ndarray, Row]:
        """``read_sequence`` of a record that was fetched already."""
        values, mask = np.full((length, len(self.columns)), np.nan), np.zeros(length, dtype=np.bool_)
        self._check_sequence(length)
        found = self._taken(record, at)
        if isinstance(found, Row):
            return values, mask, found
        record, start, latest, _, _ = found
        oldest = oldest_time(at, self._lookback)
        widest = (1 << 63) - 1 if step is None else step // MICROSECOND
        place, last = length, latest
        while place and start < len(record):
            size, time, _, number = HEADER.unpack_from(record, start)
            if time < oldest or last - time > widest:
                break
            place, last = place - 1, time
            values[place], mask[place] = self._numbers(record, start, number), True
            start += size
        return values, mask, self._row(found)

    def _numbers(self, record: bytes, start: int, number: int) -> np.ndarray | tuple[Value, ...]:
        """One row's wanted columns, which are all numbers: NaN where one is null."""
        picker = self._picker(number)
        bitmap, *fixed = picker.whole.unpack_from(record, start)
        values = picker.pick([*fixed, *([None] * len(picker.layout.rest)), None])
        if picker.plain and bitmap == picker.layout.no_nulls:
            return values
        out = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        out[picker.null_places(bitmap)] = np.nan
        return out

    def _check_sequence(self, length: int) -> None:
        dtypes = dict(self.state.columns)
        wrong = [c for c in self.columns if dtypes[c] not in ("float64", "int64", "bool")]
        if wrong:
            raise WrongCall(
                f"the feature {wrong[0]!r} is of type {dtypes[wrong[0]]}, and a sequence holds numbers",
                where=self._space.table,
                remedy="leave it out",
            )
        if length > self.state.keep and length > self._load().keep:
            raise WrongCall(
                f"sequences of {length} rows are asked for, and {self.state.keep} of {self._space.table} are online",
                where=f"index {self._space.index}",
                remedy=f"publish them: publish_table(..., sequence_length={length})",
            )

    def read_dict(self, key: Sequence[KeyValue | None], at: int) -> dict[str, tuple[Value, Status]]:
        """Like ``read``, as feature name -> (value, status)."""
        row = self.read(key, at)
        return dict(zip(self.columns, zip(row.values, row.statuses, strict=True), strict=True))


def now() -> int:
    """This moment in microseconds UTC, as ``read`` takes it."""
    return microseconds(utc_now())
