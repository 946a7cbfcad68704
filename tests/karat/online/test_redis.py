"""What only a store behind a network can meet: it is away, silent, full, or somebody else's by now."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from pydantic import SecretStr

import karat.online.redis as backend
from karat.errors import CommitConflict, DiskFull, StoreUnreachable, WrongCall
from karat.online import KeySpace, OnlineStore, PublishState, open_store
from karat.settings import Settings
from tests.services import RedisServer, free_port, use_store

SPACE = KeySpace("shop_dev.features.sales")
STATE = PublishState(SPACE.table, "latest", (("shop", "string"),), "day", 0, {1: (("n", "float64"),)}, 1)
CALLS: dict[str, Callable[[OnlineStore], Any]] = {
    "get": lambda s: s.getter(SPACE)(b"a"),
    "get_many": lambda s: s.get_many(SPACE, [b"a"]),
    "scan": lambda s: list(s.scan(SPACE)),
    "state": lambda s: s.state(SPACE),
    "states": lambda s: s.states(),
    "apply": lambda s: s.apply(STATE, [(b"a", b"1")], []),
    "drop": lambda s: s.drop(SPACE),
    "lock": lambda s: s.lock(SPACE).__enter__(),
}


@pytest.fixture
def own(redis_server: RedisServer, tmp_path) -> Iterator[RedisServer]:
    """A server that a test may take away: the fixture before it has seen to the package."""
    server = RedisServer(free_port(), tmp_path)
    server.start("--maxmemory", "8mb")
    yield server
    server.stop()


@pytest.fixture
def store(own: RedisServer, settings: Settings) -> Iterator[OnlineStore]:
    settings.online.kind, settings.online.url, settings.online.timeout = "redis", SecretStr(own.url), 0.5
    store = open_store(settings)
    yield store
    store.close()


def test_away_silent_and_back(own: RedisServer, store: OnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_WRITE_SECONDS", 0.5)
    store.apply(STATE, [(b"a", b"1")], [])
    own.stop()
    for name, call in CALLS.items():
        began = time.monotonic()
        with pytest.raises(StoreUnreachable) as raised:
            call(store)
        assert time.monotonic() - began < 1, name
        assert own.password not in str(raised.value)
        assert f"127.0.0.1:{own.port}" in raised.value.where
    own.start()
    assert store.state(SPACE) is None, "it came back empty, and by itself"
    store.apply(STATE, [(b"a", b"1")], [])
    assert own.process is not None
    os.kill(own.process.pid, signal.SIGSTOP)
    try:
        for name in ("get", "get_many", "state"):
            began = time.monotonic()
            with pytest.raises(StoreUnreachable):
                CALLS[name](store)
            assert time.monotonic() - began < 1.5, name
    finally:
        os.kill(own.process.pid, signal.SIGCONT)
    assert store.getter(SPACE)(b"a") == b"1"


def test_a_wrong_password_is_out_of_reach_and_not_shown(own: RedisServer, settings: Settings) -> None:
    settings.online.kind = "redis"
    settings.online.url = SecretStr(own.url.replace(own.password, "not-this-one"))
    store = open_store(settings)
    with pytest.raises(StoreUnreachable) as raised:
        store.states()
    assert "not-this-one" not in str(raised.value)
    store.close()


def test_full_it_keeps_what_was_there(store: OnlineStore) -> None:
    store.apply(STATE, [(b"a", b"1")], [])

    def fill() -> None:
        for n in range(20):
            store.apply(STATE, [(b"%d" % n, bytes(1 << 20))], [b"a"] if n > 15 else [])

    with pytest.raises(DiskFull, match="no room"):
        fill()
    assert store.getter(SPACE)(b"a") == b"1"


def test_who_lost_the_lock_writes_nothing(own: RedisServer, store: OnlineStore) -> None:
    store.apply(STATE, [(b"a", b"1")], [])
    with store.lock(SPACE):
        store.apply(STATE, [(b"a", b"2")], [])
        (name,) = redis.Redis.from_url(own.url).scan_iter("karat:lock:*")
        redis.Redis.from_url(own.url).set(name, b"another")
        for write in (lambda: store.apply(STATE, [(b"a", b"3")], []), lambda: store.drop(SPACE)):
            with pytest.raises(CommitConflict, match=r"lock of .*sales ran out"):
                write()
    assert store.getter(SPACE)(b"a") == b"2"
    assert redis.Redis.from_url(own.url).get(name) == b"another", "only its own lock is let go of"


def test_a_lock_renewed_in_the_middle_of_a_write_is_not_lost(own: RedisServer, store: OnlineStore) -> None:
    client = redis.Redis.from_url(own.url)
    turns: list[int] = []

    def commands(pipe: Any) -> None:
        if not turns:  # between WATCH and EXEC, as the keeper of the lock does it
            (lock,) = client.keys("*:lock:*")
            client.pexpire(lock, 60_000)
        turns.append(len(turns))
        pipe.set("written", len(turns))

    with store.lock(SPACE):
        store._write(SPACE, commands)  # type: ignore[attr-defined]
    assert (turns, client.get("written")) == ([0, 1], b"2")


def test_a_lock_is_renewed_while_it_is_held(own: RedisServer, store: OnlineStore, monkeypatch) -> None:
    monkeypatch.setattr(backend, "LOCK_SECONDS", 0.4)
    monkeypatch.setattr(backend, "RENEW_SECONDS", 0.1)
    with store.lock(SPACE):
        time.sleep(1)
        store.apply(STATE, [(b"a", b"1")], [])
    assert list(redis.Redis.from_url(own.url).scan_iter("karat:lock:*")) == []


@pytest.mark.parametrize(("url", "says"), [(None, "nothing says where"), ("http://:pass@h", "no address of a Redis")])
def test_an_address_is_needed(settings: Settings, url: str | None, says: str) -> None:
    settings.online.kind, settings.online.url = "redis", SecretStr(url) if url else None
    with pytest.raises(WrongCall, match=says) as raised:
        open_store(settings)
    assert "pass@" not in str(raised.value)


def test_namespaces_share_a_server(redis_server: RedisServer, settings: Settings, request) -> None:
    stores = [open_store(use_store("redis", settings.model_copy(deep=True), request)) for _ in range(2)]
    stores[0].apply(STATE, [(b"a", b"1")], [])
    assert stores[1].states() == []
    assert stores[1].getter(SPACE)(b"a") is None
    for store in stores:
        store.close()
