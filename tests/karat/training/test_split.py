"""Which rows are learned from and which are kept for the test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import ModelSpec
from karat.errors import ColumnMissing, TrainingError
from karat.training.split import fold_splits, split_rows
from tests.profiles import examples

DAY = timedelta(days=1)
START = date(2026, 1, 1)


def spec_of(**more) -> ModelSpec:
    label = {"source": "g", "expression": "1", "horizon": "7d"} | more.pop("label", {})
    return ModelSpec(
        name="m",
        description="d",
        task="regression",
        kind="linear_regression",
        label=label,
        lookups=[{"table": "t"}],
        **more,
    )


def days(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"day": [START + n * DAY for n in numbers], "id": [n % 5 for n in numbers]})


def test_the_last_days_are_the_test_and_a_gap_goes_before_them():
    split = split_rows(days(*range(100)), spec_of(), time="day", entity=["id"])
    # A label of day D covers D+1 to D+7, and the test begins on day 80.
    assert split.to_list() == ["train"] * 73 + ["gap"] * 7 + ["test"] * 20


def test_days_count_not_rows():
    frame = days(*[0] * 500, *range(1, 10))
    split = split_rows(frame, spec_of(split={"test": 0.3}, label={"horizon": "1d"}), time="day", entity=["id"])
    assert frame.filter(split == "test")["day"].unique().sort().to_list() == [START + n * DAY for n in (7, 8, 9)]


def test_rows_keep_their_order():
    frame = days(*range(50)).sample(fraction=1, shuffle=True, seed=1)
    split = split_rows(frame, spec_of(), time="day", entity=["id"])
    assert frame.filter(split == "test")["day"].min() == START + 40 * DAY


def test_timestamps_are_cut_to_their_utc_day_and_their_labels_reach_from_their_time():
    moments = [datetime(2026, 1, 1, 23, 59, tzinfo=UTC) + n * DAY for n in range(10)]
    frame = pl.DataFrame({"at": moments}).with_columns(pl.col("at").dt.cast_time_unit("us"))
    split = split_rows(frame, spec_of(label={"horizon": "1d"}), time="at", entity=[])
    assert split.to_list() == ["train"] * 6 + ["gap"] * 2 + ["test"] * 2


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=80),
    st.floats(0.05, 0.9),
    st.integers(1, 20),
    st.integers(1, 10),
)
def test_no_label_to_learn_from_reaches_into_the_test(numbers, share, horizon, offset):
    spec = spec_of(split={"test": share}, label={"horizon": f"{horizon}d", "offset": f"{offset}d"})
    frame = days(*numbers)
    split = split_rows(frame, spec, time="day", entity=["id"])
    first = frame.filter(split == "test")["day"].min()
    assert first is not None
    learned = frame.filter(split == "train")["day"]
    assert all(day + spec.horizon_end <= first for day in learned)
    assert all(first - spec.horizon_end < day < first for day in frame.filter(split == "gap")["day"])


def test_by_entity_all_rows_of_one_stay_together():
    frame = pl.DataFrame({"id": [i % 500 for i in range(3000)], "zone": ["a"] * 3000})
    split = split_rows(frame, spec_of(split={"by": "entity"}), time=None, entity=["id", "zone"])
    sides = frame.with_columns(split).group_by("id").agg(pl.col("split").n_unique())
    assert sides["split"].max() == 1
    assert 0.15 < (split == "test").mean() < 0.25
    assert set(split.unique()) == {"train", "test"}


def test_by_entity_new_rows_move_no_old_one():
    frame = pl.DataFrame({"id": [f"c{i}" for i in range(400)]})
    spec = spec_of()
    before = split_rows(frame[:200], spec, time=None, entity=["id"])
    after = split_rows(frame.reverse(), spec, time=None, entity=["id"]).reverse()
    assert before.to_list() == after[:200].to_list()
    # The hash is our own: these keys fall so in every process and version.
    assert [i for i, part in enumerate(before[:30]) if part == "test"] == [10, 14, 17, 20, 22, 23, 25, 26, 27, 29]
    assert split_rows(frame, spec_of(seed=1), time=None, entity=["id"]).to_list() != after.to_list()


def test_a_null_in_the_key_is_a_key():
    split = split_rows(pl.DataFrame({"id": [None, "a", None]}), spec_of(), time=None, entity=["id"])
    assert split.null_count() == 0
    assert split[0] == split[2]


def test_what_cannot_be_split_says_why():
    with pytest.raises(TrainingError, match="is split by time, and its rows have none"):
        split_rows(days(1), spec_of(split={"by": "time"}), time=None, entity=["id"])
    with pytest.raises(ColumnMissing, match=r"no column 'dya'. Did you mean 'day'"):
        split_rows(days(1), spec_of(), time="dya", entity=["id"])
    assert len(split_rows(days(), spec_of(), time="day", entity=["id"])) == 0


def test_a_gap_of_its_own_leaves_that_many_days_out():
    """Train until 31 July, test from 8 August, as in the Fraud Detection Handbook."""
    frame = pl.DataFrame({"at": [datetime(2018, 7, 25, 23, tzinfo=UTC) + n * DAY for n in range(21)]})
    spec = spec_of(split={"test": 1 / 3, "gap": "7d"}, label={"horizon": None})
    parts = split_rows(frame, spec, time="at", entity=[])
    assert parts.to_list() == ["train"] * 7 + ["gap"] * 7 + ["test"] * 7
    with pytest.raises(ValueError, match="whole days"):
        spec_of(split={"gap": "36h"})


def test_a_fixed_first_test_day_has_its_gap_before_it():
    split = split_rows(days(*range(30)), spec_of(split={"test_from": "2026-01-21"}), time="day", entity=["id"])
    assert split.to_list() == ["train"] * 13 + ["gap"] * 7 + ["test"] * 10


@pytest.mark.parametrize(
    "split", [{"test_from": "2026-01-21", "test": 0.3}, {"test_from": "2026-01-21", "by": "entity"}]
)
def test_a_fixed_first_test_day_leaves_no_share_and_no_entities(split: dict[str, object]):
    with pytest.raises(ValueError, match="test_from is the first test day of a split by time"):
        spec_of(split=split)


@settings(max_examples=examples(20))
@given(folds=st.integers(2, 6), numbers=st.lists(st.integers(0, 60), min_size=1, max_size=80), seed=st.integers(0, 9))
def test_every_row_is_tested_by_one_fold_of_entities(folds: int, numbers: list[int], seed: int):
    frame = pl.DataFrame({"id": numbers})
    found = fold_splits(frame, spec_of(split={"folds": folds, "by": "entity"}, seed=seed), time=None, entity=["id"])
    tested = pl.DataFrame([(s == "test").alias(str(k)) for k, s in enumerate(found)])
    assert len(found) == folds
    assert tested.sum_horizontal().to_list() == [1] * len(numbers)
    assert all(frame.filter(s == "test").join(frame.filter(s == "train"), on="id").is_empty() for s in found)


def test_each_stretch_of_time_is_tested_by_the_days_before_it():
    spec = spec_of(split={"folds": 4}, label={"horizon": "2d"})
    found = fold_splits(days(*range(50)), spec, time="day", entity=["id"])
    shown = [[s.to_list().index("test"), s.to_list().count("test"), s.to_list().count("train")] for s in found]
    assert shown == [[10, 10, 8], [20, 10, 18], [30, 10, 28], [40, 10, 38]]


def test_more_stretches_than_days_are_refused():
    with pytest.raises(TrainingError, match="declare fewer folds"):
        fold_splits(days(0, 1, 2), spec_of(split={"folds": 4}), time="day", entity=["id"])
