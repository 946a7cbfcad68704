"""Redis: one hash a space, one more for the states; for replicas on several machines.

What is written together is written in one MULTI, which Redis does whole or not at all. Who publishes holds a lock that
its process renews: it runs out when the process dies, and who lost it (a machine that slept) can write nothing more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import LockError
from redis.lock import Lock
from redis.retry import Retry

from karat.errors import CommitConflict, DiskFull, StoreError, StoreUnreachable, WrongCall
from karat.online._store import KeySpace, OnlineStore, PublishState
from karat.settings import OnlineSettings, Settings

_SCANNED = 2_000
_WRITE_SECONDS = 30.0
#: A lock runs out after so many seconds unless its holder renews it.
LOCK_SECONDS, RENEW_SECONDS, WAIT_SECONDS = 10.0, 2.5, 0.05
_FULL = "MISCONF"  # what Redis says when it has no room for its own file
_open: dict[tuple[str, str, int], Store] = {}
_opening = threading.Lock()


class Store(OnlineStore):
    """The keys ``NAMESPACE:...`` of one Redis. Nothing is sent before the first use."""

    kind: ClassVar[str] = "redis"
    remote: ClassVar[bool] = True

    def __init__(self, url: str, namespace: str, timeout: float) -> None:
        self._url, self._namespace, self.place = url, namespace, _without_password(url)
        self._client = _client(url, timeout)
        self._writer = _client(url, max(timeout, _WRITE_SECONDS), connect=timeout)
        self._held = threading.local()

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store of these settings; one process gets the same object each time."""
        online = settings.online
        url = _url(online)
        key = (url, online.namespace, os.getpid())
        with _opening:
            store = _open.get(key)
            if not isinstance(store, cls):
                store = cls(url, online.namespace, online.timeout)
                _open[key] = store
            return store

    # ---- reading

    def getter(self, space: KeySpace) -> Callable[[bytes], bytes | None]:
        """Make a function from key to record: the fast path of a single read."""
        hget, name = self._client.hget, self._records(space)

        def get(key: bytes) -> bytes | None:
            try:
                record: bytes | None = hget(name, key)
            except (redis.RedisError, OSError) as error:
                raise self._failure(error) from error
            return record

        return get

    def get_many(self, space: KeySpace, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the records of ``keys`` in order, all from one state of the store."""
        return self.get_across([(space, keys)])[0]

    def get_across(self, wanted: Sequence[tuple[KeySpace, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """Read keys of several spaces in one round trip."""
        with self._typed():
            pipe = self._client.pipeline(transaction=False)
            asked = [(space, list(keys)) for space, keys in wanted]
            for space, keys in asked:
                if keys:
                    pipe.hmget(self._records(space), keys)
            answers = iter(pipe.execute())
        return [next(answers) if keys else [] for _, keys in asked]

    def scan(self, space: KeySpace) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and record of the space, each key once."""
        seen: set[bytes] = set()  # Redis may tell of a key twice while its hash grows
        cursor = 0
        while True:
            with self._typed():
                cursor, found = self._client.hscan(self._records(space), cursor, count=_SCANNED)
            for key, record in found.items():
                if key not in seen:
                    seen.add(key)
                    yield key, record
            if cursor == 0:
                return

    def state(self, space: KeySpace) -> PublishState | None:
        """Give the published state; None if nothing was ever published."""
        with self._typed():
            raw: Any = self._client.hget(self._states, space.prefix.hex())
        return PublishState.load(raw) if raw is not None else None

    def states(self) -> list[PublishState]:
        """List the states of all spaces, sorted by table and index."""
        with self._typed():
            raw: Any = self._client.hvals(self._states)
        return sorted((PublishState.load(r) for r in raw), key=lambda s: (s.table, s.index))

    # ---- writing

    def apply(self, state: PublishState, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> None:
        """Write records, delete keys and store the state, all or nothing."""
        for part in (*(p for pair in puts for p in pair), *deletes):
            if not isinstance(part, bytes):
                raise TypeError(f"keys and records are bytes, not {type(part).__name__}")
        name = self._records(state.space)

        def write(pipe: Any) -> None:
            if deletes:
                pipe.hdel(name, *deletes)
            if puts:
                pipe.hset(name, mapping=dict(puts))
            pipe.hset(self._states, state.space.prefix.hex(), state.dump())

        self._write(state.space, write)

    def drop(self, space: KeySpace) -> None:
        """Remove the space with its state."""

        def write(pipe: Any) -> None:
            pipe.unlink(self._records(space))
            pipe.hdel(self._states, space.prefix.hex())

        self._write(space, write)

    def _write(self, space: KeySpace, commands: Callable[[Any], None]) -> None:
        """All of ``commands`` or none; none where this thread has lost the lock that it took."""
        lock, token = self._lock_name(space), self._tokens().get(space)
        with self._typed(), self._writer.pipeline(transaction=True) as pipe:
            while True:
                if token is not None:
                    pipe.watch(lock)
                    if pipe.get(lock) != token:
                        raise _lost(space)
                    pipe.multi()
                commands(pipe)
                # The lock's own renewal changes what is watched, as its loss does: the next turn tells which it was.
                with suppress(redis.WatchError):
                    pipe.execute()
                    return

    # ---- the lock

    @contextmanager
    def lock(self, space: KeySpace) -> Iterator[None]:
        """Hold the space's lock and renew it in a thread; it runs out when this process dies."""
        held = self._lock_of(self._writer, space)
        with self._typed():
            held.acquire()
        renewal = self._lock_of(self._client, space)
        renewal.local.token = token = held.local.token
        done = threading.Event()
        keeper = threading.Thread(target=_renew, args=(renewal, done), name="online-lock", daemon=True)
        keeper.start()
        self._tokens()[space] = token
        try:
            yield
        finally:
            done.set()
            self._tokens().pop(space, None)
            keeper.join()
            # Lost or out of reach: the lock runs out by itself, and what is under way has its own error.
            with suppress(redis.RedisError, OSError):
                held.release()

    def _lock_of(self, client: redis.Redis, space: KeySpace) -> Lock:
        return Lock(client, self._lock_name(space), timeout=LOCK_SECONDS, sleep=WAIT_SECONDS, thread_local=False)

    def _tokens(self) -> dict[KeySpace, bytes]:
        if not hasattr(self._held, "tokens"):
            self._held.tokens = {}
        tokens: dict[KeySpace, bytes] = self._held.tokens
        return tokens

    def close(self) -> None:
        """Release the connection or file."""
        with _opening:
            _open.pop((self._url, self._namespace, os.getpid()), None)
        self._client.close()
        self._writer.close()

    # ---- names and errors

    @property
    def _states(self) -> str:
        return f"{self._namespace}:states"

    def _records(self, space: KeySpace) -> str:
        return f"{self._namespace}:rows:{space.prefix.hex()}"

    def _lock_name(self, space: KeySpace) -> str:
        return f"{self._namespace}:lock:{space.prefix.hex()}"

    def _failure(self, error: Exception) -> StoreError:
        if isinstance(error, redis.OutOfMemoryError) or (
            isinstance(error, redis.ResponseError) and _FULL in str(error)
        ):
            return DiskFull(
                f"Redis has no room; what was published before is untouched: {error}",
                where=self.place,
                remedy="raise its maxmemory, or make room on the volume that it saves to, and publish again",
            )
        return StoreUnreachable(
            f"the online store can't be read or written: {str(error) or type(error).__name__}",
            where=self.place,
            remedy="see that Redis runs, and that KARAT_ONLINE__URL names it with its password",
        )

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Redis' errors as Karat's."""
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise self._failure(error) from error


def _renew(lock: Lock, done: threading.Event) -> None:
    """Renew the lock until ``done``; a lost one is left, and the next write says so."""
    while not done.wait(min(RENEW_SECONDS, LOCK_SECONDS / 4)):
        try:
            lock.reacquire()
        except LockError:
            return
        except (redis.RedisError, OSError):
            continue


def _client(url: str, timeout: float, connect: float | None = None) -> Any:  # its types are those of text and bytes
    # A connection that broke is made anew once; a server that keeps silent is not asked again.
    again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=connect or timeout, retry=again)


def _url(online: OnlineSettings) -> str:
    if online.url is None:
        raise WrongCall(
            "the online store is Redis, and nothing says where it is",
            where="KARAT_ONLINE__KIND=redis",
            remedy="set KARAT_ONLINE__URL, as in redis://:password@host:6379/0",
        )
    url = online.url.get_secret_value()
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise WrongCall(
            "KARAT_ONLINE__URL is no address of a Redis",
            remedy="write redis://host:6379/0, rediss:// for TLS, or unix:///path/to/socket",
        )
    return url


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _lost(space: KeySpace) -> CommitConflict:
    return CommitConflict(
        f"the lock of {space.table} ran out while it was being published; nothing more was written",
        where=f"index {space.index}",
        remedy="publish again: it goes on behind what is written",
    )
