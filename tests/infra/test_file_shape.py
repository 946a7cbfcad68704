"""What a row of a file is taken for: an event of somebody, a reading of one series, or somebody's only row."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.new.columns import columns_of
from infra.new.file_shape import FileShape, shape_of
from karat.errors import ColumnMissing
from tests.profiles import examples

BEGIN = datetime(2026, 5, 1)


def shape(rows: pl.DataFrame, **told: object) -> FileShape:
    texts = rows.cast(pl.String)
    columns = {c.name: c for c in columns_of(texts)}
    return shape_of(columns, texts, Path("rows.csv"), "rows", **told)  # type: ignore[arg-type]


def orders(count: int = 300, seed: int = 1) -> pl.DataFrame:
    draw = random.Random(seed)
    times = [BEGIN + timedelta(minutes=draw.randrange(60 * 24 * 30)) for _ in range(count)]
    times[1] = times[0]
    return pl.DataFrame(
        {
            "order_no": list(range(count)),
            "ordered_at": [f"{t:%Y-%m-%d %H:%M}" for t in times],
            "customer": [f"C{draw.randrange(count // 6)}" for _ in range(count)],
            "channel": draw.choices(["web", "shop"], k=count),
            "amount": [round(draw.uniform(1, 90), 2) for _ in range(count)],
        }
    )


def test_events_find_the_column_that_says_whose_they_are():
    found = shape(orders())
    assert (found.key, found.entity, found.time) == (("order_no",), "customer", "ordered_at")
    assert "a row is an event of one customer at ordered_at" in found.told[-1]
    assert "--entity takes another: channel (2 values)" in found.told[-1]
    assert "--entity order_no if that is all there is of one order_no" in found.told[-1]


def test_the_key_as_entity_makes_a_row_of_each_and_keeps_no_time():
    found = shape(orders(), entity="order_no")
    assert (found.key, found.entity, found.time) == (("order_no",), "order_no", None)


def test_a_time_that_is_a_plain_column_is_told_with_the_ways_to_use_it():
    found = shape(orders().rename({"customer": "who"}))
    assert (found.key, found.entity, found.time) == (("order_no",), "", None)
    told = found.told[-1]
    assert "a row is all there is of one order_no: ordered_at is a column as others" in told
    assert "--entity who (50 values), --entity channel (2 values), --entity series" in told


def test_a_customers_only_row_is_no_event_of_its_shop():
    rows = orders().drop("channel").rename({"order_no": "customer_id", "customer": "store", "ordered_at": "signed_at"})
    found = shape(rows)
    assert (found.key, found.entity, found.time) == (("customer_id",), "", None)
    assert "--entity store (50 values)" in found.told[-1]


def test_all_rows_may_be_of_one_series_though_each_has_a_key():
    found = shape(orders(), entity="series")
    assert (found.key, found.entity, found.time) == (("order_no",), "series", "ordered_at")
    assert found.made == {"series": "'rows'"}


def test_no_measure_becomes_a_key_because_no_two_of_it_share_a_second():
    rows = orders().select("ordered_at", station="customer", riders=pl.col("order_no") % 9)
    doubled = pl.concat([rows, rows.head(1).with_columns(riders=pl.lit(10, pl.Int64))])
    found = shape(doubled)
    assert (found.key, found.entity, found.time) == (("row_id",), "station", "ordered_at")


def test_a_station_is_found_beside_times_that_are_all_different():
    times = [f"{BEGIN + timedelta(minutes=n):%Y-%m-%d %H:%M}" for n in range(40)]
    found = shape(pl.DataFrame({"at": times, "station": ["a", "b"] * 20, "load": [1.5] * 40}))
    assert (found.key, found.entity, found.time) == (("station", "at"), "station", "at")


def test_a_text_beside_the_days_of_a_series_is_not_whose_they_are():
    days = [f"{BEGIN + timedelta(days=n):%Y-%m-%d}" for n in range(40)]
    found = shape(
        pl.DataFrame({"day": days, "weather": ["dry", "wet"] * 20, "sales": list(range(40))})
    )  # unique by chance
    assert (found.key, found.entity, found.time) == (("series", "day"), "series", "day")
    assert "a row is a reading of one series at day" in found.told[-1]
    assert "weather (2 values)" in found.told[-1]


def test_rows_without_a_name_that_share_their_days_stand_for_themselves():
    days = [f"{BEGIN + timedelta(days=n % 20):%Y-%m-%d}" for n in range(200)]
    draw = random.Random(2)
    rows = pl.DataFrame(
        {"listed": days, "rooms": draw.choices(range(1, 8), k=200), "price": draw.choices(range(9), k=200)}
    )
    found = shape(rows)
    assert (found.key, found.entity, found.time) == (("row_id",), "", None)
    assert "a row stands for itself: listed is a column as others" in found.told[-1]


def test_a_birthday_is_no_time_of_an_event():
    rows = orders().rename({"ordered_at": "birth_date"})
    assert shape(rows).time is None
    assert shape(rows, time="birth_date").time == "birth_date"


def test_an_entity_that_the_file_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(ColumnMissing, match="customr") as error:
        shape(orders(), entity="customr")
    assert "customer" in str(error.value)


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dropped=st.sets(st.sampled_from(["order_no", "customer", "channel", "amount"]), max_size=3),
)
def test_a_time_is_either_used_or_told_of(seed: int, dropped: set[str]):
    rows = orders(60, seed).drop(dropped)
    found = shape(rows)
    assert found.time == "ordered_at" or any("ordered_at is a column as others" in line for line in found.told)
    own = rows.select(c for c in found.key if c in rows.columns)
    assert "row_id" in found.key or own.n_unique() == rows.height
