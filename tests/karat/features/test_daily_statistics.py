"""Statistics by day follow the feature table: the days that changed, once, and equal to those of the whole."""

from __future__ import annotations

import statistics as plain
from datetime import date, timedelta
from importlib import import_module

import polars as pl
import polars.testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.features import compute_table, daily_statistics, keep_statistics
from karat.features.daily_statistics import statistics_name
from karat.lake.column_statistics import measure_columns, merge_statistics
from tests.profiles import examples

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
    return shop.project.table_name("spend")


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
    assert shop.lake.version(stats) == before + 1
    assert row(shop, "amount_1d", 2)["mean"] == 5.0
    assert row(shop, "amount_1d", 1)["table_version"] < row(shop, "amount_1d", 2)["table_version"]
    whole = daily_statistics(shop.lake, shop.project.catalog).drop("table_version", "computed_at")
    shop.lake.drop(stats)
    keep_statistics(shop.lake, kept)  # read anew, which came with the files before
    anew = daily_statistics(shop.lake, shop.project.catalog).drop("table_version", "computed_at")
    pl.testing.assert_frame_equal(whole.filter(pl.col("count") > 0), anew, rel_tol=1e-12)


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
    days = daily_statistics(shop.lake, shop.project.catalog)["day"].unique().to_list()
    assert days == [FIRST + timedelta(days=1)]


def test_a_table_without_time_has_the_day_of_its_commit(shop):
    rows = pl.DataFrame({"user": ["a", "b"], "plan": ["free", None], "age": [20, 40]})
    shop.gold("users", rows)
    compute_table(shop.project, "profile", shop.lake)
    name = shop.project.table_name("profile")
    (day,) = daily_statistics(shop.lake, shop.project.catalog)["day"].unique()
    assert day == shop.lake.changed_at(name).date()
    assert row_of(shop, name, "age") == (2, 0, 20.0, 40.0, 30.0)
    assert row_of(shop, name, "plan") == (2, 1, None, None, None)


def row_of(shop, name, feature: str) -> tuple:
    found = daily_statistics(shop.lake, name.catalog, name).filter(pl.col("feature") == feature)
    return found.select("count", "null_count", "minimum", "maximum", "mean").row(0)


def test_what_a_killed_computation_left_out_the_next_one_finds(shop, events, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    shop.gold("events", events(ROWS))
    with monkeypatch.context() as patch:
        patch.setattr("karat.features.materialize.keep_statistics", killed)
        with pytest.raises(KeyboardInterrupt):
            compute_table(shop.project, "spend", shop.lake)
    assert daily_statistics(shop.lake, shop.project.catalog).is_empty()
    assert not compute_table(shop.project, "spend", shop.lake).changed
    assert row(shop, "amount_1d", 1)["mean"] == 2.0


def test_older_statistics_never_overwrite_newer_ones(shop, kept, monkeypatch):
    """While the one is about to commit what it has read, another has written the table and kept its statistics."""
    module = import_module("karat.features.daily_statistics")  # of which a function has the name
    day, rows_of = FIRST + timedelta(days=1), module._rows
    rows = shop.lake.read(kept).filter(pl.col("day") == day)
    shop.lake.overwrite(kept, rows.with_columns(amount_1d=pl.lit(10.0)), days=[day])

    def overtaken(lake, info, found):
        made = rows_of(lake, info, found)
        monkeypatch.setattr(module, "_rows", rows_of)
        lake.overwrite(kept, rows.with_columns(amount_1d=pl.lit(20.0)), days=[day])
        keep_statistics(lake, kept)
        return made

    monkeypatch.setattr(module, "_rows", overtaken)
    assert keep_statistics(shop.lake, kept) == 0
    assert row(shop, "amount_1d", 1)["mean"] == 20.0


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([float("nan"), float("inf"), float("-inf")]))


@settings(max_examples=examples(60), deadline=None)
@given(parts=st.lists(st.lists(NUMBERS, max_size=6), min_size=1, max_size=4))
def test_figures_of_parts_make_those_of_the_whole(parts):
    frames = [pl.DataFrame({"x": part}, schema={"x": pl.Float64}) for part in parts]
    found = merge_statistics(measure_columns(frame, ["x"])["x"] for frame in frames)
    values = [v for part in parts for v in part]
    finite = [v for v in values if v is not None and abs(v) <= 1e6]
    assert (found.rows, found.nulls, found.numbers) == (len(values), values.count(None), len(finite))
    assert (found.minimum, found.maximum) == ((min(finite), max(finite)) if finite else (None, None))
    if finite:
        assert found.mean == pytest.approx(plain.fmean(finite), rel=1e-9, abs=1e-6)
    if len(finite) > 1:
        assert found.std == pytest.approx(plain.stdev(finite), rel=1e-6, abs=1e-6)
    else:
        assert found.std is None
