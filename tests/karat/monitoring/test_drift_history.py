"""Bins, the index over them, and how far a column usually moves."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from karat.monitoring.bins import Bins, stability_index
from karat.monitoring.drift_history import CHANCE_ODDS, ColumnComparison, past_periods
from karat.monitoring.drift_thresholds import PSI_THRESHOLD, DriftHistory, comparable_columns, drift_findings

RANDOM = np.random.default_rng(0)
FIRST = date(2026, 1, 1)


def frame(values: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"x": values})


def days(count: int, rows: int) -> pl.Series:
    """``rows`` rows on each of ``count`` days from ``FIRST``."""
    return pl.Series([FIRST + timedelta(days=d) for d in range(count) for _ in range(rows)])


def found(before: np.ndarray, now: np.ndarray) -> tuple[float, bool]:
    (one,) = drift_findings(
        comparable_columns(frame(before)),
        comparable_columns(frame(now)),
        DriftHistory.empty(comparable_columns(frame(before))),
    )
    assert one.statistic is not None
    return one.statistic, one.drifted


def test_bins_hold_equal_shares_and_what_many_rows_share_has_one_of_its_own() -> None:
    values = np.concatenate([np.zeros(500), RANDOM.exponential(1, 500)])
    bins = Bins.fit(pl.Series(values))
    counts = bins.counts(bins.codes(pl.Series(values)))
    assert counts.sum() == 1000
    assert counts.max() == 500
    assert np.unique(bins.codes(pl.Series([0.0, 0.0]))).size == 1
    assert bins.codes(pl.Series([None, float("nan"), 1.0]))[:2].tolist() == [bins.number - 1] * 2


def test_a_constant_that_moves_is_found_on_either_side() -> None:
    for now in (0.0, 2.0):
        assert found(np.ones(500), np.full(500, now))[1]
    assert found(np.ones(500), np.ones(400)) == (pytest.approx(0, abs=1e-12), False)


def test_texts_are_counted_by_value_and_new_ones_and_nulls_are_something_else() -> None:
    bins = Bins.fit(pl.Series(["a", "b", "b", None]))
    assert bins.codes(pl.Series(["b", "a", "z", None])).tolist() == [0, 1, 2, 3]
    before, now = (pl.DataFrame({"x": v}) for v in (["a"] * 300, ["a"] * 200 + [None] * 100))
    (one,) = drift_findings(
        comparable_columns(before), comparable_columns(now), DriftHistory.empty(comparable_columns(before))
    )
    assert one.drifted


def test_few_rows_of_one_distribution_do_not_pass_the_bound_of_chance() -> None:
    """As often as the bound says, and not more: of 2,000 columns about two."""
    indices, over, plainly = [], 0, 0
    for _ in range(2000):
        before, now = pl.Series(RANDOM.normal(size=1000)), pl.Series(RANDOM.normal(size=60))
        compared = ColumnComparison.from_columns(before, now, before, before, [])
        indices.append(compared.index)
        over += compared.index > compared.chance_bound
        plainly += compared.index > PSI_THRESHOLD
    assert over <= 8 * 2000 / CHANCE_ODDS
    assert plainly > 200  # what 0.2 alone would have said of so few rows


def test_the_index_is_that_of_the_shares() -> None:
    before, now = np.array([5000, 3000, 2000]), np.array([2000, 3000, 5000])
    p, q = before / before.sum(), now / now.sum()
    assert stability_index(before, now) == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-3)
    assert stability_index(before, before) == 0


def test_past_stretches_are_as_long_on_the_same_weekdays_and_as_far_away() -> None:
    known = days(70, 20)
    last = known.max()
    assert isinstance(last, date)
    first = last + timedelta(days=4)
    past = past_periods(known, known, first, first + timedelta(days=6), last)
    assert len(past) >= 4
    for one in past:
        inside, before = known[one.rows].unique().sort(), known[one.before]
        assert len(inside) == 7
        assert inside[0].weekday() == first.weekday()
        newest = before.max()
        assert isinstance(newest, date)
        assert (inside[0] - newest).days == 4
    assert past_periods(days(15, 20), days(15, 20), FIRST + timedelta(days=15), FIRST + timedelta(days=21), FIRST) == []


def test_what_always_moves_is_no_news_and_a_jump_beside_it_is() -> None:
    """A number that grows by the day is always another than it was; one that stands still is not."""
    count, rows = 63, 40
    known = days(count, rows)
    day = np.repeat(np.arange(count), rows)
    noise = RANDOM.normal(size=(2, count * rows))
    before = pl.DataFrame({"grows": day + noise[0], "stands": noise[1]})
    noise = RANDOM.normal(size=(2, 7 * rows))
    week = np.repeat(np.arange(count, count + 7), rows)
    now = pl.DataFrame({"grows": week + noise[0], "stands": noise[1] + 1.5})
    last = known.max()
    assert isinstance(last, date)
    past = past_periods(known, known, last + timedelta(days=1), last + timedelta(days=7), last)
    grows, stands = drift_findings(before, now, DriftHistory(before, before, past))
    assert grows.statistic is not None
    assert grows.statistic > 1
    assert (grows.drifted, grows.note) == (False, "higher threshold: it usually moves")
    assert stands.drifted
    (stands, _) = drift_findings(
        before.select("stands", "grows"), now.with_columns(stands=noise[1]), DriftHistory(before, before, past)
    )
    assert not stands.drifted


def test_a_sequence_is_judged_by_its_newest_value_and_a_flag_as_text() -> None:
    made = comparable_columns(pl.DataFrame({"s": [[1, 2, 3], [4, None]], "f": [True, None], "d": [FIRST, FIRST]}))
    assert made["s"].to_list() == [3.0, None]
    assert made["f"].to_list() == ["true", None]
    assert made["d"].dtype == pl.Float64
