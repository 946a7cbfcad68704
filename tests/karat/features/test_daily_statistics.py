"""Statistics by day follow the feature table: the days that changed, once, and equal to those of the whole."""

from __future__ import annotations

import statistics as plain
from datetime import date, timedelta

import polars as pl
import polars.testing
import pytest

from karat.features import compute_table, daily_statistics, keep_statistics
from karat.features.daily_statistics import statistics_name

ROWS = [
    ("x", 1, 1, 1.0, 1, "a"),
    ("y", 1, 1, 3.0, 5, "b"),
    ("x", 1, 8, 4.0, 2, "a"),
    ("z", 2, 8, None, 3, None),
]
FIRST = date(2024, 2, 26)


@pytest.fixture
def kept(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    name = shop.project.table_name("spend")
    assert keep_statistics(shop.lake, name) == 2
    return name


def row(shop, feature: str, number: int) -> dict:
    found = daily_statistics(shop.lake, shop.project.catalog, shop.project.table_name("spend"))
    day = FIRST + timedelta(days=number)
    return found.filter((pl.col("feature") == feature) & (pl.col("day") == day)).row(0, named=True)


def test_each_day_is_described_by_its_own_rows(shop, kept):
    found = row(shop, "amount_1d", 1)
    assert (found["count"], found["null_count"], found["minimum"], found["maximum"]) == (2, 0, 1.0, 3.0)
    assert (found["mean"], found["std"]) == (2.0, pytest.approx(plain.stdev([1.0, 3.0])))
    text = row(shop, "last_what_7d", 8)
    assert (text["count"], text["null_count"], text["null_rate"], text["mean"]) == (2, 1, 0.5, None)
    features = {f.name for f in shop.project.tables["spend"].stored}
    assert set(daily_statistics(shop.lake, shop.project.catalog)["feature"]) == features


def test_unchanged_nothing_is_written_and_a_late_row_changes_its_days_alone(shop, events, kept):
    stats = statistics_name(shop.project.catalog)
    before = shop.lake.version(stats)
    assert keep_statistics(shop.lake, kept) == 0
    assert shop.lake.version(stats) == before
    shop.gold("events", events([*ROWS, ("y", 1, 2, 5.0, 1, "c")]))
    compute_table(shop.project, "spend", shop.lake)
    assert keep_statistics(shop.lake, kept) > 0
    assert row(shop, "amount_1d", 2)["mean"] == 5.0
    assert row(shop, "amount_1d", 1)["table_version"] < row(shop, "amount_1d", 2)["table_version"]
    whole = daily_statistics(shop.lake, shop.project.catalog).drop("table_version", "computed_at")
    shop.lake.drop(stats)
    keep_statistics(shop.lake, kept)
    anew = daily_statistics(shop.lake, shop.project.catalog).drop("table_version", "computed_at")
    pl.testing.assert_frame_equal(whole.filter(pl.col("count") > 0), anew)


def test_a_day_without_rows_any_more_counts_none(shop, kept):
    shop.lake.overwrite(kept, shop.lake.read(kept).clear(), days=[FIRST + timedelta(days=8)])
    assert keep_statistics(shop.lake, kept) == 1
    found = row(shop, "amount_1d", 8)
    assert (found["count"], found["null_rate"], found["mean"]) == (0, None, None)


def test_another_table_of_the_same_name_begins_anew(shop, events, kept):
    shop.lake.drop(kept)
    shop.lake.drop(shop.project.gold_name("events"))
    shop.gold("events", events(ROWS[:1]))
    compute_table(shop.project, "spend", shop.lake)
    assert keep_statistics(shop.lake, kept) == 1
    days = daily_statistics(shop.lake, shop.project.catalog)["day"].unique().to_list()
    assert days == [FIRST + timedelta(days=1)]


def test_a_table_without_time_has_the_day_of_its_commit(shop):
    rows = pl.DataFrame({"user": ["a", "b"], "plan": ["free", None], "age": [20, 40]})
    shop.gold("users", rows)
    compute_table(shop.project, "profile", shop.lake)
    name = shop.project.table_name("profile")
    assert keep_statistics(shop.lake, name) == 1
    (day,) = daily_statistics(shop.lake, shop.project.catalog)["day"].unique()
    assert day == shop.lake.changed_at(name).date()
