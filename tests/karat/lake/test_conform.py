"""What a frame must be to enter a table: keys, types, times."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from karat.errors import ColumnMissing, DataError, DuplicateKeys, KeyColumnNull, NaiveTimestamp, SchemaMismatch
from karat.names import TableName


@pytest.fixture(params=["merge", "overwrite", "stage"])
def write(request, lake):
    """Each way in: all three hold the same contract."""
    if request.param == "stage":
        return lambda name, frame, **more: lake.stage(name, frame, label="x", **more)
    return getattr(lake, request.param)


@pytest.fixture
def untouched(lake, daily, events, sales):
    """After the test the tables stand as before, without a file more."""
    lake.merge(daily, sales("z", [9]))
    before = {n: (lake.version(n), sorted(lake.path(n).rglob("*.parquet"))) for n in (daily, events)}
    yield
    assert {n: (lake.version(n), sorted(lake.path(n).rglob("*.parquet"))) for n in (daily, events)} == before


@pytest.mark.usefixtures("untouched")
def test_duplicate_keys_are_refused_with_three_examples(write, daily, sales):
    frame = pl.concat([sales("abcd", [1]), sales("abc", [1], 2.0)])
    with pytest.raises(DuplicateKeys) as caught:
        write(daily, frame)
    assert "6 of 7 rows" in caught.value.what
    assert caught.value.what.count("shop=") == 3
    assert "frame.unique(['shop', 'day'], keep='last')" in caught.value.remedy


@pytest.mark.usefixtures("untouched")
def test_null_keys_are_refused_with_examples(write, daily, sales):
    frame = pl.concat([sales("ab", [1]), sales("cd", [2]).with_columns(shop=pl.lit(None, pl.String))])
    with pytest.raises(KeyColumnNull, match="2 of 4 rows have no value in the key column 'shop'"):
        write(daily, frame)


@pytest.mark.usefixtures("untouched")
def test_columns_that_are_missing_or_unknown_are_named(write, daily, sales):
    with pytest.raises(ColumnMissing, match=r"(?s)'revenue'.*Did you mean 'revenu'"):
        write(daily, sales("a", [1]).rename({"revenue": "revenu"}))
    with pytest.raises(SchemaMismatch, match="no column 'profit'"):
        write(daily, sales("a", [1]).with_columns(profit=1.0))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("order", ["1"]),
        ("order", [1.5]),
        ("order", [True]),
        ("order", [2.0**63]),
        ("at", [date(2024, 1, 1)]),
        ("at", ["2024-01-01"]),
        ("amount", ["9.5"]),
        ("amount", [2**53 + 1]),
        ("at", pl.Series([1_704_067_200_000_000_001], dtype=pl.Datetime("ns", "UTC"))),
    ],
)
def test_what_would_lose_something_is_refused(write, events, orders, column, values):
    frame = orders({1: (1, 9, 10.0)}).with_columns(pl.Series(column, values))
    with pytest.raises(SchemaMismatch, match=f"'{column}'"):
        write(events, frame)


@pytest.mark.parametrize(
    ("column", "values", "stored"),
    [
        ("order", pl.Series([7], dtype=pl.UInt8), 7),
        ("order", [7.0], 7),
        ("amount", [7], 7.0),
        ("amount", pl.Series([0.25], dtype=pl.Float32), 0.25),
        ("amount", [Decimal("7.25")], 7.25),
        ("amount", [None], None),
        ("at", pl.Series([datetime(2024, 1, 1, 9)], dtype=pl.Datetime("ms", "Asia/Tokyo")), datetime(2024, 1, 1, 9)),
    ],
)
def test_what_loses_nothing_is_cast(lake, events, column, values, stored):
    row = {"order": [1], "at": pl.Series([datetime(2024, 1, 1)], dtype=pl.Datetime("us", "UTC")), "amount": [1.0]}
    lake.merge(events, pl.DataFrame(row).with_columns(pl.Series(column, values)))
    value = lake.read(events)[column][0]
    assert (value.replace(tzinfo=None) if column == "at" else value) == stored


def test_arrow_is_taken_as_well(lake, plain):
    table = pa.table({"shop": pa.array(["a", "b"]).dictionary_encode(), "city": ["X", None], "size": pa.array([1, 2])})
    lake.merge(plain, table)
    assert lake.read(plain).sort("shop").rows() == [("a", "X", 1), ("b", None, 2)]


def test_not_null_is_kept_though_delta_does_not_check_files_added_by_hand(lake, write):
    name = TableName("shop_dev", "gold", "strict")
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("city", pa.string(), nullable=False)])
    lake.create(name, schema, primary_key=("id",))
    with pytest.raises(SchemaMismatch, match="1 of 2 rows have no value in 'city', which is NOT NULL"):
        write(name, pl.DataFrame({"id": [1, 2], "city": ["X", None]}))
    assert lake.version(name) == 0


def naive(*times: datetime) -> pl.DataFrame:
    return pl.DataFrame({"order": range(len(times)), "at": times, "amount": [1.0] * len(times)})


@pytest.mark.usefixtures("untouched")
def test_naive_times_need_a_zone(write, events):
    with pytest.raises(NaiveTimestamp, match=r"(?s)'at'.*timezone="):
        write(events, naive(datetime(2024, 1, 1)))
    with pytest.raises(NaiveTimestamp, match=r"1 times of column 'at' do not exist in Europe/Berlin.*02:30"):
        write(events, naive(datetime(2024, 3, 31, 2, 30), datetime(2024, 3, 31, 3)), timezone="Europe/Berlin")


def test_naive_times_of_a_zone_are_stored_as_utc(lake, events):
    times = [
        datetime(2024, 3, 31, 1, 59),  # the last minute of winter time
        datetime(2024, 3, 31, 3, 0),  # the first of summer time
        datetime(2024, 10, 27, 2, 30),  # shown twice: the first is meant
        datetime(2024, 10, 27, 3, 0),
        datetime(2024, 2, 29, 0, 30),  # another day in UTC
    ]
    lake.merge(events, naive(*times), timezone="Europe/Berlin")
    stored = lake.read(events, columns=["order", "at", "_day"]).sort("order")
    assert stored["at"].to_list() == [
        datetime(2024, 3, 31, 0, 59, tzinfo=UTC),
        datetime(2024, 3, 31, 1, 0, tzinfo=UTC),
        datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
        datetime(2024, 10, 27, 2, 0, tzinfo=UTC),
        datetime(2024, 2, 28, 23, 30, tzinfo=UTC),
    ]
    assert stored["_day"][4] == date(2024, 2, 28)


def test_a_naive_column_can_not_be_declared(lake):
    schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us"))])
    with pytest.raises(NaiveTimestamp, match="'at'"):
        lake.create(TableName("shop_dev", "gold", "x"), schema, primary_key=("id",))


def test_an_empty_frame_is_a_frame(lake, daily, sales):
    lake.merge(daily, sales("ab", [1]))
    version = lake.version(daily)
    assert not lake.merge(daily, sales("ab", [])).changed
    assert lake.stage(daily, sales("ab", []), label="x") == []
    assert lake.version(daily) == version
    with pytest.raises(DataError):
        lake.merge(daily, pl.DataFrame())


def test_rows_without_a_time_are_kept(lake, events, orders):
    lake.merge(events, orders({1: (1, 9, 1.0), 2: (2, 9, 2.0)}))
    start = lake.version(events)
    lake.merge(events, orders({2: (2, 9, 2.0)}).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC"))))
    assert lake.read(events).sort("order")["at"].null_count() == 1
    assert lake.changed_days(events, "at", start, lake.version(events)) == [date(2024, 1, 2)]
    lake.merge(events, orders({2: (3, 9, 2.0)}))
    assert lake.read(events).sort("order")["at"].null_count() == 0


def test_partition_values_of_any_spelling(lake):
    name = TableName("shop_dev", "predictions", "by_city")
    schema = pa.schema([("id", pa.int64()), ("city", pa.string())])
    lake.create(name, schema, primary_key=("id",), partition_by=("city",))
    cities = ["A", "Köln/Deutz", "a b", "50%=x", "", None, "A%20b", "*?:"]
    lake.merge(name, pl.DataFrame({"id": range(8), "city": cities}))
    assert lake.read(name).sort("id")["city"].to_list() == cities
    lake.merge(name, pl.DataFrame({"id": range(8), "city": cities[1:] + cities[:1]}))
    assert lake.read(name).sort("id")["city"].to_list() == cities[1:] + cities[:1]


def test_frames_are_staged_one_after_the_other_and_none_where_a_later_one_is_refused(lake, daily, sales):
    made = []

    def frames(*values):
        for value in values:
            made.append(value)
            yield sales(value, [len(made)])

    staged = lake.stage(daily, frames("a", "b"), label="x")
    assert sorted(lake.scan_staged(daily, staged).collect()["shop"]) == ["a", "b"]
    lake.discard(daily, staged)
    with pytest.raises(DuplicateKeys):
        lake.stage(daily, frames("a", "cc", "b"), label="x")
    assert made == ["a", "b", "a", "cc"]
    assert not list(lake.path(daily).rglob("*.parquet"))
