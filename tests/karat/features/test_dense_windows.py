"""Windows as arrays: what SQL gives, without what has left a window."""

from __future__ import annotations

import math
from datetime import date, timedelta

import polars as pl
import polars.testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import FeatureTable, aggregate
from karat.features import compute_frame, dense_windows, engine
from karat.features.dense_windows import DayGrid, DayWindow
from karat.features.engine import compute_frames
from tests.profiles import examples

FIRST = date(2024, 2, 20)
FUNCTIONS = ("sum", "count", "mean", "min", "max", "share", "std", "last", "count_distinct")


def table(rows: str) -> FeatureTable:
    def column(function: str, name: str) -> str | None:
        return None if function == "count" else f"{name} > 1" if function == "share" else name

    def dtype(function: str, name: str) -> str | None:
        return "int64" if name == "whole" and function in ("sum", "min", "max", "last") else None

    return FeatureTable(
        name="t",
        description="",
        source="gold",
        entity=("a", "b"),
        time="day",
        rows=rows,
        features=tuple(
            aggregate(f"{f}_{name}_{d}", f, column(f, name), window=f"{d}d", description="", dtype=dtype(f, name))
            for f in FUNCTIONS
            for name in ("real", "whole")
            for d in (1, 3, 16)
        ),
    )


TABLES = {rows: table(rows) for rows in ("active", "window")}
ROW = st.tuples(
    st.sampled_from("xy"),
    st.integers(0, 1),
    st.integers(0, 45),
    st.none() | st.floats(-1e6, 1e6),
    st.none() | st.integers(-(2**61), 2**61) | st.integers(-3, 3),
)


def gold(rows: list[tuple]) -> pl.DataFrame:
    days = [(a, b, FIRST + timedelta(days=d), real, whole) for a, b, d, real, whole in rows]
    schema = {"a": pl.String, "b": pl.Int64, "day": pl.Date, "real": pl.Float64, "whole": pl.Int64}
    return pl.DataFrame(days, schema=schema, orient="row")


@settings(max_examples=examples(12), deadline=None)
@given(
    st.lists(ROW, min_size=1, max_size=25),
    st.sampled_from(sorted(TABLES)),
    st.sampled_from([16, 200, 1 << 20]),
    st.sampled_from([1, 4, 1 << 14]),
)
def test_arrays_and_sql_agree_however_the_grid_is_cut(rows: list[tuple], kind: str, cells: int, height: int) -> None:
    # Sums of whole numbers that no int64 holds have an answer in neither.
    small = [r if r[4] is None or abs(r[4]) < 2**55 else (*r[:4], r[4] // 2**7) for r in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_windows, "CELLS", cells)
        patch.setattr(dense_windows, "KEPT", 1000 * cells)  # from each entity by itself to all together
        patch.setattr(dense_windows, "SPARSE", 10**9)
        patch.setattr(engine, "_ROWS", height)
        arrays = compute_frame(TABLES[kind], gold(small))
        patch.setattr(DayGrid, "suits", lambda *_: False)
        sql = compute_frame(TABLES[kind], gold(small))
    polars.testing.assert_frame_equal(arrays, sql, rel_tol=1e-9, abs_tol=1e-6)


def test_frames_are_whole_days_one_after_the_other_each_in_the_order_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_ROWS", 3)
    rows = gold([(a, b, d, 1.0, 1) for a in "yx" for b in (1, 0) for d in range(40)])
    table, days = TABLES["active"], (FIRST + timedelta(days=20), FIRST + timedelta(days=39))
    frames = list(compute_frames(table, rows, days))
    assert len(frames) == 20
    assert [f["day"].unique().to_list() for f in frames] == [[FIRST + timedelta(days=d)] for d in range(20, 40)]
    assert all(f.select("a", "b").rows() == [("x", 0), ("x", 1), ("y", 0), ("y", 1)] for f in frames)
    assert {n for f in frames for n in f["sum_whole_16"].to_list()} == {16}
    polars.testing.assert_frame_equal(pl.concat(frames).sort("a", "b", "day"), compute_frame(table, rows, days))


def test_very_many_entities_come_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gold([(a, b, d, 1.0, 1) for a in "yx" for b in (1, 0) for d in range(40)])
    table, whole = TABLES["active"], compute_frame(TABLES["active"], rows)
    monkeypatch.setattr(dense_windows, "KEPT", 1)
    frames = list(compute_frames(table, rows))
    assert [f.select("a", "b").unique().height for f in frames] == [1, 1, 1, 1]
    polars.testing.assert_frame_equal(pl.concat(frames).sort("a", "b", "day"), whole)


def test_days_on_which_nothing_is_left_give_one_empty_frame() -> None:
    frames = list(compute_frames(TABLES["active"], gold([("x", 0, 0, 1.0, 1)]), (FIRST + timedelta(days=2),) * 2))
    assert [f.height for f in frames] == [0]
    assert frames[0].columns == [*TABLES["active"].primary_key, *(f.name for f in TABLES["active"].features)]


def tiles(values: list[float | None], name: str = "t", dtype: pl.DataType | type = pl.Float64) -> pl.DataFrame:
    days = pl.Series("d", range(len(values)), dtype=pl.Int32)
    return pl.DataFrame({"k": ["a"] * len(values), "d": days, name: pl.Series(values, dtype=dtype)})


def add_windows(rows: pl.DataFrame, windows: list[DayWindow], height: int = 7) -> pl.DataFrame:
    return pl.concat(DayGrid.of(rows, ["k"], "d").windowed(windows, first=0, height=height))


def test_what_has_left_a_window_leaves_nothing_behind() -> None:
    rows = add_windows(tiles([1e17, 1.0, 2.0, 3.0]), [DayWindow("sum", "t", 2, "s")])
    assert rows["s"].to_list() == [1e17, 1e17, 3.0, 5.0]


def test_the_same_window_is_the_same_to_the_last_bit_wherever_the_data_begin() -> None:
    values = [math.sqrt(n) for n in range(60)]
    windows = [DayWindow("sum", "t", d, f"s{d}") for d in (7, 14, 30)]
    whole = add_windows(tiles(values), windows)
    part = add_windows(tiles(values).tail(30), windows, height=4)
    assert part.row(-1)[3:] == whole.row(-1)[3:]


def test_a_minimum_of_nothing_is_null_and_a_sum_0() -> None:
    windows = [DayWindow(f, "t", 2, f) for f in ("sum", "min", "max")]
    rows = add_windows(tiles([None, None, 5, 7], dtype=pl.Int32), windows)
    assert rows["sum"].to_list() == [0, 0, 5, 12]
    assert (rows["min"].to_list(), rows["max"].to_list()) == ([None, None, 5, 5], [None, None, 5, 7])
    assert rows["min"].dtype == pl.Int32


@pytest.mark.parametrize(
    ("rows", "function", "days"),
    [
        (tiles([2**61, 2**61], dtype=pl.Int64), "sum", 2),
        (tiles([2**62, 1], dtype=pl.Int64), "max", 2),
        (tiles([True], dtype=pl.Boolean), "max", 2),
        (tiles([1.0, 2.0]).with_columns(d=pl.Series([0, 2_000_000], dtype=pl.Int32)), "sum", 2),
        (tiles([]), "sum", 2),
    ],
    ids=["runs over", "taken for nothing", "no number", "sparse", "empty"],
)
def test_what_is_left_to_sql(rows: pl.DataFrame, function: str, days: int) -> None:
    assert not DayGrid.of(rows, ["k"], "d").suits([DayWindow(function, "t", days, "w")])
    assert DayGrid.of(tiles([1.0]), ["k"], "d").suits([DayWindow("sum", "t", 2, "w")])
