"""LMDB: one memory-mapped file, read without a lock by any number of processes while one of them writes."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

import lmdb

from karat.errors import DiskFull, StoreError, StoreUnreachable, is_disk_full
from karat.online._store import KeySpace, OnlineStore, PublishState
from karat.settings import Settings

_STATES, _RECORDS = b"\x00", b"\x01"
_READERS = 1024
_ALL_BUT = 1 << 20
# A process may open an LMDB environment only once, and a forked child may not use its parent's.
_open: dict[tuple[Path, int], Store] = {}
_opening = threading.Lock()


class Store(OnlineStore):
    """Store in the LMDB environment at ``path``.

    The sparse map has ``map_size`` bytes in every process: a map that grows makes readers fail.
    """

    kind: ClassVar[str] = "lmdb"

    def __init__(self, path: Path, map_size: int) -> None:
        self.path = path
        with _typed(path):
            path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(str(path), map_size=map_size, max_readers=_READERS, readahead=False)
            self._env.reader_check()  # frees the slots of readers that were killed

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store of these settings; one process gets the same object each time."""
        place = (settings.home / "online" / "lmdb", os.getpid())
        with _opening:
            store = _open.get(place)
            if not isinstance(store, cls):
                store = cls(place[0], settings.online.map_size)
                _open[place] = store
            return store

    def getter(self, space: KeySpace) -> Callable[[bytes], bytes | None]:
        """Make a function from key to record: the fast path of a single read."""
        begin, prefix, path = self._env.begin, _RECORDS + space.prefix, self.path

        def get(key: bytes) -> bytes | None:
            try:
                with begin() as txn:
                    return txn.get(prefix + key)
            except lmdb.Error as error:
                raise _unreachable(path, error) from error

        return get

    def get_many(self, space: KeySpace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the records of ``keys`` in order, all from one state of the store."""
        prefix = _RECORDS + space.prefix
        with _typed(self.path), self._env.begin() as txn:
            return [txn.get(prefix + key) for key in keys]

    def scan(self, space: KeySpace) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and record of the space, each key once."""
        prefix = _RECORDS + space.prefix
        with _typed(self.path), self._env.begin() as txn:
            cursor = txn.cursor()
            if not cursor.set_range(prefix):
                return
            for key, record in cursor:
                if not key.startswith(prefix):
                    return
                yield key[len(prefix) :], record

    def state(self, space: KeySpace) -> PublishState | None:
        """Give the published state; None if nothing was ever published."""
        with _typed(self.path), self._env.begin() as txn:
            raw = txn.get(_STATES + space.prefix)
        return PublishState.load(raw) if raw is not None else None

    def states(self) -> list[PublishState]:
        """List the states of all spaces, sorted by table and index."""
        with _typed(self.path), self._env.begin() as txn:
            cursor = txn.cursor()
            cursor.first()
            raw = [bytes(value) for key, value in cursor if key.startswith(_STATES)]
        return sorted((PublishState.load(r) for r in raw), key=lambda s: (s.table, s.index))

    def apply(self, state: PublishState, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> None:
        """Write records, delete keys and store the state, all or nothing."""
        prefix = _RECORDS + state.space.prefix
        with _typed(self.path), self._env.begin(write=True) as txn:
            for key in deletes:
                txn.delete(prefix + key)
            for key, record in puts:
                txn.put(prefix + key, record)
            txn.put(_STATES + state.space.prefix, state.dump())

    def drop(self, space: KeySpace) -> None:
        """Remove the space with its state."""
        prefix = _RECORDS + space.prefix
        with _typed(self.path), self._env.begin(write=True) as txn:
            cursor = txn.cursor()
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()
            txn.delete(_STATES + space.prefix)

    @contextmanager
    def lock(self, space: KeySpace) -> Iterator[None]:
        """Hold the space's lock; the kernel releases it when the process dies."""
        with (self.path / f"publish-{space.prefix.hex()}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go of by the kernel when the process dies
            yield

    def close(self) -> None:
        """Release the connection or file."""
        with _opening:
            _open.pop((self.path, os.getpid()), None)
            self._env.close()


def _unreachable(path: Path, error: Exception) -> StoreError:
    return StoreUnreachable(
        f"the online store can't be read or written: {error}",
        where=str(path),
        remedy="see that the folder is there, is this user's and is not on a network drive; "
        "a store that is damaged can be removed and published again",
    )


@contextmanager
def _typed(path: Path) -> Iterator[None]:
    """LMDB's errors as Karat's."""
    try:
        yield
    except lmdb.MapFullError as error:
        raise DiskFull(
            "the online store's map is full; what was published before is untouched",
            where=str(path),
            remedy="raise KARAT_ONLINE__MAP_SIZE (bytes) for every process, restart the platform and publish again",
        ) from error
    except (lmdb.Error, OSError) as error:
        if is_disk_full(error) or ("input/output error" in str(error).lower() and _no_room(path)):
            raise DiskFull(
                "no space is left for the online store; what was published before is untouched",
                where=str(path),
                remedy="make room on that volume and publish again",
            ) from error
        raise _unreachable(path, error) from error


def _no_room(path: Path) -> bool:
    """Whether the volume is nearly full or the file nearly at the process' limit.

    LMDB reports a write without room as an error of the device.
    """
    limit, size = resource.getrlimit(resource.RLIMIT_FSIZE)[0], (path / "data.mdb").stat().st_size
    at_limit = limit != resource.RLIM_INFINITY and size + _ALL_BUT >= limit
    return at_limit or shutil.disk_usage(path).free < _ALL_BUT
