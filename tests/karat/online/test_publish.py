"""Publishing follows the table by Delta version, and what is online is what the table has."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck
from hypothesis import given as hypothesis_given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from karat.clock import microseconds
from karat.errors import DiskFull, LookupKeyMismatch, StoreUnreachable, TableNotFound, WrongCall
from karat.features import Status, sequence_join
from karat.lake import Lake
from karat.names import TableName
from karat.online import KeySpace, OnlineStore, RowReader, open_store, publish_table
from karat.online._rows import split_rows
from karat.settings import Settings
from tests import warm
from tests.profiles import examples

from .conftest import SALES, SCHEMA, day, sales

SPACE = KeySpace(str(SALES))
NOON = datetime.combine(day(20), time(12), UTC)


def sums(store: OnlineStore, at: datetime = NOON, space: KeySpace = SPACE) -> dict[tuple, float | None]:
    """Every key online with its ``sum_7d`` known at that time."""
    reader = RowReader(store, space, ["sum_7d"])
    keys = [reader.state.codec.decode(key) for key, _ in store.scan(space)]
    read = {key: reader.read(key, microseconds(at)) for key in keys if key is not None}
    return {key: row.values[0] for key, row in read.items() if row.statuses[0] != Status.NOT_FOUND}


@pytest.fixture
def publish(lake: Lake, store: OnlineStore) -> Callable:
    return lambda at=NOON, index="latest": publish_table(lake, store, SALES, index=index, at=at)


def test_the_first_time_the_whole_table_then_nothing(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 3, 1.0), ("a", 1, 4, 2.0), ("b", 1, 2, None)))
    first = publish()
    assert (first.changed, first.whole, first.written, first.version) == (True, True, 2, lake.version(SALES))
    assert sums(store) == {("a", 1): 2.0, ("b", 1): None}
    again = publish()
    assert (again.changed, again.written, again.deleted) == (False, 0, 0)


def test_only_what_changed_is_written(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(*((f"s{i}", 1, 3, float(i)) for i in range(50))))
    publish()
    lake.merge(SALES, sales(("s7", 1, 4, 77.0), ("s8", 1, 3, 88.0)))
    second = publish()
    assert (second.whole, second.written, second.deleted) == (False, 2, 0)
    assert sums(store) == {(f"s{i}", 1): {7: 77.0, 8: 88.0}.get(i, float(i)) for i in range(50)}


def test_a_late_row_never_overwrites_a_newer_one(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 10, 10.0)))
    publish()
    lake.merge(SALES, sales(("a", 1, 9, 9.0), ("b", 1, 2, 2.0)))
    assert publish().written == 1
    assert sums(store) == {("a", 1): 10.0, ("b", 1): 2.0}


def test_the_same_time_again_takes_the_later_version(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 10, 10.0)))
    publish()
    lake.merge(SALES, sales(("a", 1, 10, 11.0)))
    publish()
    reader = RowReader(store, SPACE, ["sum_7d"])
    row = reader.read(("a", 1), microseconds(NOON))
    assert (row.values, row.version) == ((11.0,), lake.version(SALES))


def test_entities_that_vanish_on_overwrite_are_deleted(table, lake: Lake, store, publish) -> None:
    """Sample rows are replaced by real ones that end earlier: no sample row may stay."""
    lake.merge(table(), sales(("sample 1", 1, 19, 1.0), ("sample 2", 1, 19, 2.0), ("both", 1, 19, 3.0)))
    publish()
    lake.overwrite(SALES, sales(("both", 1, 2, 30.0), ("real", 1, 3, 40.0)))
    second = publish()
    assert (second.written, second.deleted) == (2, 2)
    assert sums(store) == {("both", 1): 30.0, ("real", 1): 40.0}


def test_an_overwritten_day_falls_back_to_the_day_before(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 5, 5.0), ("a", 1, 8, 8.0), ("b", 1, 8, 1.0), ("c", 1, 8, 2.0)))
    publish()
    lake.overwrite(SALES, sales(("c", 1, 8, 3.0)), days=[day(8)])
    second = publish()
    assert (second.written, second.deleted, second.whole) == (2, 1, False)
    assert sums(store) == {("a", 1): 5.0, ("c", 1): 3.0}


def test_a_row_is_online_when_it_is_known_and_not_before(table, lake: Lake, store, publish) -> None:
    """Day 20 with a lag of one day is known on day 21: until then the row of day 19 answers."""
    lake.merge(table(), sales(("a", 1, 18, 18.0), ("a", 1, 19, 19.0), ("a", 1, 20, 20.0), ("b", 1, 20, 1.0)))
    publish()
    assert sums(store) == {("a", 1): 19.0}
    assert sums(store, NOON + timedelta(days=1)) == {("a", 1): 20.0, ("b", 1): 1.0}
    midnight = datetime.combine(day(21), time(), UTC)
    assert sums(store, midnight)[("a", 1)] == 20.0, "both ends count"
    assert sums(store, midnight - timedelta(microseconds=1))[("a", 1)] == 19.0


def test_exact_keeps_every_row_under_its_whole_key(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 18, 18.0), ("a", 1, 19, 19.0), ("a", 1, 20, 20.0)))
    publish(index="exact")
    exact = KeySpace(str(SALES), "exact")
    assert sums(store, space=exact) == {("a", 1, day(18)): 18.0, ("a", 1, day(19)): 19.0, ("a", 1, day(20)): 20.0}
    lake.overwrite(SALES, sales(("a", 1, 19, 1.0)), days=[day(19), day(20)])
    second = publish(index="exact")
    assert (second.written, second.deleted) == (1, 1)
    assert sums(store, space=exact) == {("a", 1, day(18)): 18.0, ("a", 1, day(19)): 1.0}


def test_a_table_without_time(lake: Lake, store: OnlineStore) -> None:
    name = TableName("shop_dev", "features", "shops")
    schema = pa.schema([pa.field("shop", pa.string(), nullable=False), pa.field("size", pa.float64())])
    lake.create(name, schema, primary_key=("shop",))
    lake.merge(name, pl.DataFrame({"shop": ["a", "b"], "size": [1.0, 2.0]}))
    assert publish_table(lake, store, name).written == 2
    lake.overwrite(name, pl.DataFrame({"shop": ["b", "c"], "size": [2.0, 3.0]}))
    second = publish_table(lake, store, name)
    assert (second.written, second.deleted) == (1, 1)
    reader = RowReader(store, KeySpace(str(name)), ["size"])
    assert [reader.read((k,), 0).values[0] for k in "abc"] == [None, 2.0, 3.0]


def test_a_new_column_reaches_old_rows_and_open_readers(table, lake: Lake, store, publish) -> None:
    lake.merge(table(), sales(("a", 1, 3, 1.0)))
    publish()
    reader = RowReader(store, SPACE, ["sum_7d", "count_7d"])
    schema = SCHEMA.append(pa.field("added", pa.float64()))
    lake.create(SALES, schema, primary_key=("shop", "till", "day"), timeseries="day", lag=timedelta(days=1))
    assert publish().whole
    assert reader.read(("a", 1), microseconds(NOON)).values == (1.0, 1)
    fresh = RowReader(store, SPACE, ["added", "sum_7d"]).read(("a", 1), microseconds(NOON))
    assert (fresh.values, fresh.statuses) == ((None, 1.0), (Status.NULL, Status.PRESENT))


def test_a_changed_lag_is_taken_over(table, lake: Lake, store, publish) -> None:
    lake.merge(table(lag=1), sales(("a", 1, 19, 19.0), ("a", 1, 20, 20.0)))
    publish()
    table(lag=0)
    publish()
    assert sums(store) == {("a", 1): 20.0}


def test_a_map_that_is_full_is_told_and_nothing_is_lost(table, lake: Lake, settings: Settings) -> None:
    settings.online.map_size = 1 << 20
    store = open_store(settings)
    lake.merge(table(), sales(("a", 1, 3, 1.0)))
    publish_table(lake, store, SALES, at=NOON)
    rows = sales(*((f"shop {i}" * 5, 1, 4, 1.0) for i in range(20_000)), ("a", 1, 4, 2.0))
    lake.merge(SALES, rows)
    with pytest.raises(DiskFull, match="KARAT_ONLINE__MAP_SIZE"):
        publish_table(lake, store, SALES, at=NOON)
    assert sums(store)[("a", 1)] in (1.0, 2.0)
    state = store.state(SPACE)
    assert state is not None
    assert state.version != lake.version(SALES)
    store.close()
    settings.online.map_size = 64 << 20
    store = open_store(settings)
    publish_table(lake, store, SALES, at=NOON)
    assert len(sums(store)) == 20_001
    store.close()


FILL = """
import resource, signal, sys
from karat.errors import DiskFull
from karat.lake import Lake
from karat.names import TableName
from karat.online import open_store, publish_table
from karat.settings import Settings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
settings = Settings()
try:
    publish_table(Lake(settings.lake, "dev"), open_store(settings), TableName.parse(sys.argv[1]))
except DiskFull as full:
    print(full)
    sys.exit(3)
"""


def test_a_disk_that_is_full_is_told_and_nothing_is_lost(table, lake: Lake, settings: Settings) -> None:
    """The limit on a file's size stands for the disk's: LMDB's write is cut short in the same way."""
    lake.merge(table(), sales(("a", 1, 3, 1.0)))
    store = open_store(settings)
    publish_table(lake, store, SALES)
    store.close()
    lake.merge(SALES, sales(*((f"shop {i}" * 5, 1, 4, 1.0) for i in range(20_000))))
    environment = {**os.environ, **settings.as_environment(), "PYTHONPATH": os.getcwd()}
    done = warm.run(
        [sys.executable, "-c", FILL, str(SALES)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "make room" in done.stdout
    store = open_store(settings)
    assert sums(store) == {("a", 1): 1.0}
    publish_table(lake, store, SALES)
    assert len(sums(store)) == 20_001
    store.close()


def test_progress_ends_at_its_total(table, lake: Lake, store) -> None:
    lake.merge(table(), sales(*((f"s{i}", 1, 3, 1.0) for i in range(25_000))))
    told: list[tuple[int, int, str]] = []
    publish_table(lake, store, SALES, lambda *said: told.append(said), at=NOON)
    assert [t[:2] for t in told] == [(10_000, 25_000), (20_000, 25_000), (25_000, 25_000)]


def test_what_is_not_there_is_said(lake: Lake, store: OnlineStore, table) -> None:
    with pytest.raises(TableNotFound):
        publish_table(lake, store, SALES)
    with pytest.raises(StoreUnreachable, match="publish it"):
        RowReader(store, SPACE, ["sum_7d"])
    name = TableName("shop_dev", "features", "totals")
    schema = pa.schema([pa.field("day", pa.date32(), nullable=False), pa.field("total", pa.float64())])
    lake.create(name, schema, primary_key=("day",), timeseries="day")
    with pytest.raises(LookupKeyMismatch, match="exact"):
        publish_table(lake, store, name)


ROW = st.tuples(st.sampled_from("abc"), st.integers(1, 2), st.integers(1, 22), st.floats(0, 9))
STEP = st.one_of(
    st.tuples(st.just("merge"), st.lists(ROW, min_size=1, max_size=4, unique_by=lambda r: r[:3])),
    st.tuples(st.just("days"), st.lists(ROW, min_size=1, max_size=4, unique_by=lambda r: r[:3])),
    st.tuples(st.just("all"), st.lists(ROW, min_size=1, max_size=4, unique_by=lambda r: r[:3])),
)


def expected(rows: pl.DataFrame, at: date) -> dict[tuple, float | None]:
    """By hand: of each entity the row of its latest day before ``at``."""
    out: dict[tuple, tuple[date, float | None]] = {}
    for shop, till, on, value in rows.select("shop", "till", "day", "sum_7d").iter_rows():
        if on < at and ((shop, till) not in out or out[(shop, till)][0] < on):
            out[(shop, till)] = (on, value)
    return {key: value for key, (_, value) in out.items()}


@hypothesis_settings(
    max_examples=examples(10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@hypothesis_given(steps=st.lists(st.tuples(STEP, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_whatever_was_written_what_is_online_is_what_the_table_has(steps, tmp_path_factory) -> None:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home)
    lake, store = Lake(settings.lake, "dev"), open_store(settings)
    lake.create(SALES, SCHEMA, primary_key=("shop", "till", "day"), timeseries="day", lag=timedelta(days=1))
    for (verb, rows), published, broken in steps:
        frame = sales(*rows)
        if verb == "merge":
            lake.merge(SALES, frame)
        elif verb == "days":
            lake.overwrite(SALES, frame, days=sorted(set(frame["day"])))
        else:
            lake.overwrite(SALES, frame)
        if broken:
            break_off(lake, store, index="latest")
            break_off(lake, store, index="sequence", sequence_length=3)
        elif published:
            publish_table(lake, store, SALES, at=NOON, sequence_length=3)
    publish_table(lake, store, SALES, at=NOON, sequence_length=3)
    stored = lake.read(SALES)
    for offset in range(4):
        assert sums(store, NOON + timedelta(days=offset)) == expected(stored, day(20 + offset))
        check_sequences(store, stored, NOON + timedelta(days=offset))
    store.close()


def check_sequences(store: OnlineStore, stored: pl.DataFrame, at: datetime) -> None:
    """What is online against what the offline lookup of sequences says, with gaps and a lookback and without."""
    entities = pl.DataFrame([(s, t) for s in "abcd" for t in (1, 2)], schema=["shop", "till"], orient="row")
    spine = entities.with_columns(pl.lit(at, dtype=pl.Datetime("us", "UTC")).alias("at"))
    for step, lookback in ((None, None), (timedelta(days=2), None), (timedelta(days=30), timedelta(days=6))):
        looked = sequence_join(
            spine,
            stored,
            keys={"shop": "shop", "till": "till"},
            time=("at", "day"),
            length=3,
            step=step,
            lag=timedelta(days=1),
            lookback=lookback,
            columns=["sum_7d", "count_7d"],
        )
        reader = RowReader(store, KeySpace(str(SALES), "sequence"), ["sum_7d", "count_7d"], lookback=lookback)
        for i, key in enumerate(entities.iter_rows()):
            values, mask, newest = reader.read_sequence(key, microseconds(at), 3, step=step)
            assert values.shape == (3, 2)
            offline = np.array(looked.values.row(i), dtype=np.float64).T
            np.testing.assert_array_equal(values, offline)
            assert mask.tolist() == list(looked.mask[i])
            assert newest.statuses == looked.statuses.row(i)


def test_a_longer_sequence_takes_the_whole_table_and_a_shorter_keeps_it(table, lake: Lake, store) -> None:
    lake.merge(table(), sales(*(("a", 1, d, float(d)) for d in range(1, 15))))
    assert publish_table(lake, store, SALES, at=NOON).others == ()
    publish_table(lake, store, SALES, at=NOON, sequence_length=2)
    space = KeySpace(str(SALES), "sequence")
    reader = RowReader(store, space, ["sum_7d"])
    assert reader.read_sequence(("a", 1), microseconds(NOON), 2)[0].tolist() == [[13.0], [14.0]]
    with pytest.raises(WrongCall, match="sequence_length=3"):
        reader.read_sequence(("a", 1), microseconds(NOON), 3)
    (longer,) = publish_table(lake, store, SALES, at=NOON, sequence_length=4).others
    assert longer.whole
    assert reader.read_sequence(("a", 1), microseconds(NOON), 3)[0].tolist() == [[12.0], [13.0], [14.0]]
    lake.merge(SALES, sales(("a", 1, 15, 15.0), ("b", 1, 15, None)))
    (followed,) = publish_table(lake, store, SALES, at=NOON).others
    assert (followed.whole, followed.written) == (False, 2)
    values, mask, newest = reader.read_sequence(("b", 1), microseconds(NOON), 4)
    assert np.isnan(values).all()
    assert mask.tolist() == [False, False, False, True], "a stored null is a row"
    assert newest.statuses == (Status.NULL,)
    assert len(list(split_rows(store.getter(space)(reader.state.codec.encode(("a", 1)))))) == 4, "what left is dropped"


def test_a_sequence_needs_numbers_length_and_time(table, lake: Lake, store) -> None:
    lake.merge(table(), sales(("a", 1, 3, 1.0)))
    for wrong in ({"sequence_length": 0}, {"index": "sequence"}):
        with pytest.raises(WrongCall, match="sequence"):
            publish_table(lake, store, SALES, **wrong)
    publish_table(lake, store, SALES, sequence_length=1, at=NOON)
    reader = RowReader(store, KeySpace(str(SALES), "sequence"), ["sum_7d", "segment"])
    with pytest.raises(WrongCall, match="'segment' is of type string"):
        reader.read_sequence(("a", 1), microseconds(NOON), 1)


def test_two_publications_broken_off_one_after_the_other(table, lake: Lake, store, publish) -> None:
    """What the first of them copied is of a day that neither the published nor the newest version has."""
    lake.merge(table(), sales(("a", 1, 3, 1.0)))
    publish()
    for rows in ([("a", 2, 2, 1.0)], [("a", 1, 1, 1.0)]):
        lake.overwrite(SALES, sales(*rows))
        break_off(lake, store)
    publish()
    assert sums(store) == {("a", 1): 1.0}


def break_off(lake: Lake, store: OnlineStore, **how: Any) -> None:
    """A publication that dies after its first piece."""

    class Died(Exception): ...

    def die(*_) -> None:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("karat.online._publish._CHUNK", 1)
        with contextlib.suppress(Died):
            publish_table(lake, store, SALES, die, at=NOON, **how)
