"""Table read: the base of what reads one table for all lookups that share its key columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, cast

from karat.clock import MICROSECOND
from karat.dtypes import arrow_type, dtype_of
from karat.features import Status
from karat.inference.feature_reader.vector import EntityRow, FeatureVector
from karat.lake import Lake
from karat.online import (
    Keys,
    KeySpace,
    KeyValue,
    OnlineStore,
    Row,
    RowReader,
    TailReader,
    Value,
    is_expired,
    lookback_microseconds,
)
from karat.training_sets.lookups import PinnedLookup


class Slot(NamedTuple):
    """One feature's place in the vector and in the stored row, with its default."""

    place: int
    source: int
    default: Value
    has_default: bool


class LookupSlots(NamedTuple):
    """The features that one lookup fills.

    Attributes:
        lookback: In microseconds; None if rows never expire.
        slots: One per feature.
        block: Where the features stand in the vector, if they do so side by side in the order of the stored row.
        has_defaults: Whether any feature has a default.
    """

    lookback: int | None
    slots: list[Slot]
    block: slice | None
    has_defaults: bool


class TableRead(ABC):
    """Reads one table by one set of key columns.

    Attributes:
        table: The feature table.
        pairs: Key column of the request -> key column of the table.
        columns: The features that are read, each once.
        key_types: Key column of the request -> declared type.
    """

    def __init__(
        self, lookups: Sequence[PinnedLookup], places: Mapping[str, int], store: OnlineStore | None, lake: Lake
    ) -> None:
        first = lookups[0]
        self.table, self.pairs, self._store, self._lake = first.table, first.keys, store, lake
        wanted = (c for lookup in lookups for c, out in lookup.columns.items() if out in places)
        self.columns = tuple(dict.fromkeys(wanted)) or tuple(first.columns)[:1]  # a mask is asked for alone
        self.key_types = {c: dtype_of(arrow_type(first.schema[key])) for c, key in self.pairs.items()}
        self._request_column = {key: column for column, key in self.pairs.items()}

    @property
    @abstractmethod
    def reader(self) -> RowReader | TailReader:
        """The reader of the online rows. Raises StoreUnreachable if the table is not published."""

    @property
    @abstractmethod
    def space(self) -> KeySpace:
        """Where the online store keeps the rows."""

    @property
    @abstractmethod
    def key_columns(self) -> tuple[str, ...]:
        """The request's columns in the order of the online key."""

    @property
    @abstractmethod
    def optional(self) -> frozenset[str]:
        """The request's key columns that it may leave out: a time, an event id."""

    @abstractmethod
    def is_online(self, keys: Keys) -> bool:
        """Whether the online store has what these keys ask for now."""

    @abstractmethod
    def online(self, rows: Sequence[EntityRow], records: Sequence[bytes | None], at: int) -> None:
        """Fill vectors from online records, as of ``at`` (microseconds UTC)."""

    @abstractmethod
    def offline(self, rows: Sequence[EntityRow], at: int) -> None:
        """Fill vectors from the lake, as of ``at`` (microseconds UTC) or of the time that the keys name."""

    @property
    def is_of_row(self) -> bool:
        """Whether the lookup names the time of the model's row: the row that its keys mean is found here."""
        return False

    @property
    def is_timed(self) -> bool:
        """Whether the table's rows have a time."""
        return True

    @abstractmethod
    def read_known(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> Keys | None:
        """Fill the vector from the newest row known at ``at``.

        Args:
            row: The key, which names no time.
            at: The moment of asking, microseconds UTC.
            record: The online record.
            online: Whether the record may be used; False reads the lake.

        Returns:
            The request's columns that name the row, if ``is_of_row`` and there is one; else None.
        """

    @abstractmethod
    def read_row(self, row: EntityRow, at: int, record: bytes | None, *, online: bool) -> None:
        """Fill the vector as training and batch scoring do for a row of the time ``at``.

        Args:
            row: The key, which names the row where it has one.
            at: The time of the model's row, microseconds UTC.
            record: The online record.
            online: Whether the record may be used, where it reaches back that far.
        """

    def key(self, keys: Keys) -> list[KeyValue | None]:
        """The values of the online key."""
        return [keys.get(column) for column in self.key_columns]

    def fetch(self, keys: Keys) -> bytes | None:
        """The online record of one key; None if a key value is null or the key unknown."""
        key = self.key(keys)
        return None if None in key else self.reader.fetch(key)

    def encode(self, keys: Keys) -> bytes | None:
        """The online key as bytes; None if a value of it is null."""
        key = self.key(keys)
        return None if None in key else self.reader.encode(key)


def slots(lookups: Sequence[PinnedLookup], places: Mapping[str, int], columns: Sequence[str]) -> list[LookupSlots]:
    """The features that each lookup fills, given the order of the stored columns."""
    order = {name: i for i, name in enumerate(columns)}
    return [_slots(lookup, places, order) for lookup in lookups]


def _slots(lookup: PinnedLookup, places: Mapping[str, int], order: Mapping[str, int]) -> LookupSlots:
    some = [
        Slot(places[out], order[c], cast(Value, lookup.defaults.get(c)), c in lookup.defaults)
        for c, out in lookup.columns.items()
        if out in places
    ]
    first = some[0].place if some else 0
    whole = [(s.place, s.source) for s in some] == [(first + i, i) for i in range(len(order))]
    return LookupSlots(
        lookback_microseconds(lookup.lookback),
        some,
        slice(first, first + len(some)) if whole else None,
        any(s.has_default for s in some),
    )


def fill(vector: FeatureVector, row: Row, lookups: Sequence[LookupSlots], at: int) -> None:
    """Put a stored row into the vector: expired rows hold nothing, defaults replace what is missing."""
    values, statuses = vector.values, vector.statuses
    for lookback, some, block, has_defaults in lookups:
        expired = lookback is not None and is_expired(row.time, at, lookback)
        if block is not None and not expired and not has_defaults:
            values[block], statuses[block] = row.values, row.statuses
            continue
        for place, source, default, has_default in some:
            value, status = row.values[source], row.statuses[source]
            if expired:
                value, status = None, Status.EXPIRED
            if has_default and status in (Status.NOT_FOUND, Status.EXPIRED):
                value, status = default, Status.DEFAULTED
            values[place], statuses[place] = value, status


def time_of(at: int, age: timedelta | None) -> int | None:
    """The time of a row of this age (microseconds UTC); None if there is none."""
    return None if age is None else at - age // MICROSECOND
