"""One suite over every online store, found by its file name."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from karat.errors import WrongCall
from karat.online import KeySpace, OnlineStore, PublishState, backends, open_store
from karat.settings import Settings
from tests import warm
from tests.services import use_store

SPACE = KeySpace("shop_dev.features.sales")
STATE = PublishState(SPACE.table, "latest", (("shop", "string"),), "day", 0, {1: (("n", "float64"),)}, 1)


@pytest.fixture(params=backends())
def stored(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return use_store(request.param, settings, request)


@pytest.fixture
def store(stored: Settings) -> Iterator[OnlineStore]:
    store = open_store(stored)
    yield store
    store.close()


def test_an_unknown_kind_names_the_nearest(settings: Settings) -> None:
    settings.online.kind = "lmbd"
    with pytest.raises(WrongCall, match="Did you mean 'lmdb'"):
        open_store(settings)


def test_opened_twice_it_is_one_store(store: OnlineStore, stored: Settings) -> None:
    assert open_store(stored) is store


def test_a_space_never_published_is_empty_and_has_no_state(store: OnlineStore) -> None:
    assert store.state(SPACE) is None
    assert store.states() == []
    assert list(store.scan(SPACE)) == []
    assert store.getter(SPACE)(b"a") is None
    assert store.get_many(SPACE, [b"a"]) == [None]


def test_records_and_state_come_back_as_they_were(store: OnlineStore) -> None:
    state = replace(STATE, version=7, rows=3, published_at="2026-01-01T00:00:00+00:00")
    store.apply(state, [(b"a", b"1"), (b"b\x00c", b""), (b"\xff" * 480, b"3" * 100_000)], [])
    assert store.state(SPACE) == state
    assert store.states() == [state]
    assert store.get_many(SPACE, [b"b\x00c", b"x", b"a"]) == [b"", None, b"1"]
    assert dict(store.scan(SPACE)) == {b"a": b"1", b"b\x00c": b"", b"\xff" * 480: b"3" * 100_000}
    store.apply(state, [(b"a", b"2")], [b"b\x00c", b"never there"])
    assert store.getter(SPACE)(b"a") == b"2"
    assert store.getter(SPACE)(b"b\x00c") is None


def test_spaces_do_not_see_each_other(store: OnlineStore) -> None:
    other, exact = KeySpace("shop_dev.features.sale"), KeySpace(SPACE.table, "exact")
    store.apply(STATE, [(b"a", b"1")], [])
    store.apply(replace(STATE, table=other.table), [(b"a", b"2")], [])
    store.apply(replace(STATE, index="exact"), [(b"a", b"3")], [])
    assert [store.getter(s)(b"a") for s in (SPACE, other, exact)] == [b"1", b"2", b"3"]
    store.drop(SPACE)
    assert [store.getter(s)(b"a") for s in (SPACE, other, exact)] == [None, b"2", b"3"]
    assert [(s.table, s.index) for s in store.states()] == [(other.table, "latest"), (SPACE.table, "exact")]


def test_a_write_that_fails_leaves_nothing(store: OnlineStore) -> None:
    store.apply(STATE, [(b"a", b"1")], [])
    with pytest.raises(TypeError):
        store.apply(replace(STATE, version=9), [(b"a", b"2"), (b"b", 5)], [])  # type: ignore[list-item]
    assert dict(store.scan(SPACE)) == {b"a": b"1"}
    assert store.state(SPACE) == STATE


def test_many_spaces_are_read_at_once(store: OnlineStore) -> None:
    other = KeySpace("shop_dev.features.other")
    store.apply(STATE, [(b"a", b"1")], [])
    store.apply(replace(STATE, table=other.table), [(b"a", b"2"), (b"b", b"3")], [])
    wanted = [(other, [b"b", b"a", b"c"]), (SPACE, []), (SPACE, [b"a"])]
    assert store.get_across(wanted) == [[b"3", b"2", None], [], [b"1"]]


def test_many_records_are_scanned_once_each(store: OnlineStore) -> None:
    wanted = {b"%05d" % i: b"%d" % i for i in range(5000)}
    for at in range(0, 5000, 1000):
        store.apply(STATE, sorted(wanted.items())[at : at + 1000], [])
    found = list(store.scan(SPACE))
    assert len(found) == 5000
    assert dict(found) == wanted


def test_no_settings_of_a_store_are_shown_but_plain_ones(store: OnlineStore, stored: Settings) -> None:
    for secret in stored.secrets().values():
        password = secret.rpartition("@")[0].rpartition(":")[2]
        assert password not in f"{stored!r} {stored.as_environment()} {vars(store).get('place')}"


WRITER = """
import sys
from dataclasses import replace
from karat.online import open_store
from karat.settings import Settings
from tests_state import STATE
store = open_store(Settings())
for n in range(1, 200):
    value = b"%06d" % n * 50
    store.apply(replace(STATE, version=n), [(b"k%03d" % i, value) for i in range(50)], [])
"""


def test_readers_see_whole_records_while_another_process_writes(store: OnlineStore, stored: Settings, tmp_path) -> None:
    (tmp_path / "tests_state.py").write_text(
        f"from karat.online import PublishState\n"
        f"STATE = PublishState({STATE.table!r}, 'latest', {STATE.key!r}, 'day', 0, "
        f"{STATE.layouts!r}, 1)\n"
    )
    environment = {
        **os.environ,
        **stored.as_environment(),
        **stored.secrets(),
        "PYTHONPATH": f"{tmp_path}:{os.getcwd()}",
    }
    writer = warm.Popen([sys.executable, "-c", WRITER], env=environment)
    get, seen = store.getter(SPACE), set()
    while writer.poll() is None:
        batch = store.get_many(SPACE, [b"k%03d" % i for i in range(50)])
        assert len(set(batch)) == 1, "all keys of one transaction are read as of one moment"
        record = get(b"k007")
        if record:
            assert record == record[:6] * 50
            seen.add(record[:6])
    assert writer.returncode == 0
    assert len(seen) > 3
    assert store.state(SPACE) == replace(STATE, version=199)


def test_threads_read_the_same_store(store: OnlineStore) -> None:
    store.apply(STATE, [(b"%d" % i, b"%d" % i * 9) for i in range(100)], [])
    get, wrong = store.getter(SPACE), []

    def read() -> None:
        wrong.extend(i for _ in range(50) for i in range(100) if get(b"%d" % i) != b"%d" % i * 9)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_lock_is_held_by_one_at_a_time(store: OnlineStore) -> None:
    order: list[str] = []

    def second() -> None:
        with store.lock(SPACE):
            order.append("second")

    with store.lock(SPACE):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


HOLDER = """
import time
from karat.online import KeySpace, open_store
from karat.settings import Settings
with open_store(Settings()).lock(KeySpace("shop_dev.features.sales")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_let_go_of(store: OnlineStore, stored: Settings) -> None:
    """Redis learns of a death by the lock's end alone: it is made short here."""
    code = f"import karat.online.{stored.online.kind} as backend\nbackend.LOCK_SECONDS = 1.0\n" + HOLDER
    environment = {**os.environ, **stored.as_environment(), **stored.secrets(), "PYTHONPATH": os.getcwd()}
    holder = warm.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with store.lock(SPACE):
        assert time.monotonic() - began < 5
