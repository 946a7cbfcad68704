"""Online store interface: typed spaces of keys and records, written atomically with their published state."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self

import msgpack

from karat.online._keys import KeyCodec
from karat.online._rows import Layout
from karat.settings import Settings

#: ``latest``: one record per entity with its newest row, for as-of lookups; ``sequence``: with its last N rows;
#: ``events``: with the tail of its gold events; ``exact``: one record per full primary key.
Index = Literal["latest", "exact", "sequence", "events"]


@dataclass(frozen=True)
class KeySpace:
    """The online rows of one feature table under one index."""

    table: str
    index: Index = "latest"

    @property
    def prefix(self) -> bytes:
        """Eight bytes that stand for the space in a backend's keys."""
        return hashlib.blake2b(f"{self.table}\x00{self.index}".encode(), digest_size=8).digest()


@dataclass(frozen=True)
class PublishState:
    """State of a published space.

    Attributes:
        table: The feature table.
        index: The index.
        key: (column, dtype) of the key.
        time: The table's time column.
        lag: How long after its time a row is known, in microseconds.
        layouts: Layout number -> (column, dtype) of each feature.
        layout: The current layout.
        version: The Delta version that is published whole; None before the first.
        pending: Versions that publications have begun with since and not ended.
        rows: How many keys are online.
        published_at: ISO time of the last publication.
        keep: How many of an entity's known rows are online.
        span: In microseconds; all rows younger than that are online too.
        horizon: Rows later than this (microseconds UTC) are kept for the span.
        event_id: The column that orders rows of the same time.
        time_type: The time column's dtype.
    """

    table: str
    index: Index
    key: tuple[tuple[str, str], ...]
    time: str | None
    lag: int
    layouts: dict[int, tuple[tuple[str, str], ...]]
    layout: int
    version: int | None = None
    pending: tuple[int, ...] = ()
    rows: int = 0
    published_at: str = ""
    keep: int = 1
    span: int | None = None
    horizon: int | None = None
    event_id: str | None = None
    time_type: str = ""
    codec: KeyCodec = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        columns, dtypes = zip(*self.key, strict=True)
        object.__setattr__(self, "codec", KeyCodec(columns, dtypes))

    @property
    def space(self) -> KeySpace:
        return KeySpace(self.table, self.index)

    @property
    def by_entity(self) -> bool:
        """Whether a record holds rows of several times of one entity, those not known yet among them."""
        return self.index != "exact" and self.time is not None

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of the features in the table's order."""
        return self.layouts[self.layout]

    def compiled(self) -> dict[int, Layout]:
        return {number: Layout(columns) for number, columns in self.layouts.items()}

    def dump(self) -> bytes:
        fields = {k: v for k, v in asdict(self).items() if k != "codec"}
        packed: bytes = msgpack.packb(fields)
        return packed

    @classmethod
    def load(cls, raw: bytes) -> PublishState:
        fields: dict[str, Any] = msgpack.unpackb(raw, strict_map_key=False)
        fields["key"], fields["pending"] = tuple(map(tuple, fields["key"])), tuple(fields["pending"])
        fields["layouts"] = {n: tuple(map(tuple, c)) for n, c in fields["layouts"].items()}
        return cls(**fields)


class OnlineStore(ABC):
    """Keys and records are bytes (``_keys.py``, ``_rows.py``); a backend only keeps them.

    Every method raises StoreUnreachable where the store can't be reached, writes DiskFull where there is no room.
    """

    kind: ClassVar[str]
    #: Whether a read goes over a network, so that several are worth to be made at once.
    remote: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def open(cls, settings: Settings) -> Self:
        """The store of these settings; within one process the same object each time."""

    @abstractmethod
    def getter(self, space: KeySpace) -> Callable[[bytes], bytes | None]:
        """A function from key to record, None where there is none: the fast path of a single read."""

    @abstractmethod
    def get_many(self, space: KeySpace, keys: Sequence[bytes]) -> list[bytes | None]:
        """The records of ``keys`` in order, all as of one moment."""

    def get_across(self, wanted: Sequence[tuple[KeySpace, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """``get_many`` of several spaces; a store that is reached over a network does it in one round trip."""
        return [self.get_many(space, keys) for space, keys in wanted]

    @abstractmethod
    def scan(self, space: KeySpace) -> Iterator[tuple[bytes, bytes]]:
        """Every key and record of the space, each key once; as of one moment for who holds the space's lock."""

    @abstractmethod
    def state(self, space: KeySpace) -> PublishState | None:
        """The published state, None where nothing was ever published."""

    @abstractmethod
    def states(self) -> list[PublishState]:
        """The states of all spaces, sorted by table and index."""

    @abstractmethod
    def apply(self, state: PublishState, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> None:
        """Writes records, deletes keys and stores the state, all or nothing."""

    @abstractmethod
    def drop(self, space: KeySpace) -> None:
        """Forgets the space, its state included."""

    @abstractmethod
    def lock(self, space: KeySpace) -> AbstractContextManager[None]:
        """Held by the one thread that publishes the space; let go of when its process dies."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection or file."""
