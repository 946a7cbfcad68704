"""Anomalies planted into rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from karat.errors import UnusableLabel
from karat.training.synthetic_anomalies import has_both_classes, plant_anomalies


def frame(rows: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(0)
    base = random.normal(100, 10, rows)
    return pl.DataFrame(
        {
            "a": base,
            "b": np.where(random.random(rows) < 0.2, None, base * 2).astype(float),
            "c": [7] * rows,
            "n": random.integers(0, 50, rows),
            "place": ["x"] * rows,
            "flag": [True] * rows,
        }
    ).with_columns(pl.col("b").fill_nan(None))


def test_a_seeded_share_of_rows_is_moved_and_no_other():
    before = frame()
    after, planted = plant_anomalies(before, seed=1)
    assert planted.sum() == 20
    assert_frame_equal(after.filter(~planted), before.filter(~planted).with_columns(pl.col("n").cast(pl.Float64)))
    moved = after.filter(planted)
    assert (moved["a"] != before.filter(planted)["a"]).all()
    assert moved["b"].is_null().to_list() == before.filter(planted)["b"].is_null().to_list()
    assert_frame_equal(moved.select("c", "place", "flag"), before.filter(planted).select("c", "place", "flag"))


def test_half_are_anywhere_in_the_range_and_half_five_times_as_far():
    before = frame(2000)
    after, planted = plant_anomalies(before, seed=1)
    middle, least, greatest = (before["a"].median(), before["a"].min(), before["a"].max())
    old, new = before.filter(planted)["a"].to_numpy(), after.filter(planted)["a"].to_numpy()
    far = np.isclose(new - middle, 5 * (old - middle))
    assert far.sum() == 50
    width = greatest - least
    assert ((new[~far] >= least - 0.05 * width) & (new[~far] <= greatest + 0.05 * width)).all()


def test_a_seed_decides_which_and_how():
    one, two, other = (plant_anomalies(frame(), seed=s) for s in (1, 1, 2))
    assert_frame_equal(one[0], two[0])
    assert one[1].to_list() == two[1].to_list() != other[1].to_list()


def test_infinities_stay_out_of_the_range():
    after, _ = plant_anomalies(
        frame().with_columns(a=pl.when(pl.int_range(pl.len()) < 9).then(float("inf")).otherwise("a")), seed=1
    )
    assert after["a"].is_infinite().sum() <= 9
    assert not after["a"].is_nan().any()


@pytest.mark.parametrize("rows", [frame(3), frame().select("c", "place", "flag")])
def test_where_nothing_can_be_planted_it_says_so(rows):
    with pytest.raises(UnusableLabel, match="synthetic anomalies need"):
        plant_anomalies(rows, seed=1)


def test_labels_tell_both_or_not():
    assert has_both_classes(pl.Series([0, 1, None]))
    assert not has_both_classes(pl.Series([0, 0, None]))
    assert not has_both_classes(pl.Series([None, None]))
