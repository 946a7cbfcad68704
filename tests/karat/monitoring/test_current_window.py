"""The days that a drift check takes for current, on series of any density."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from karat.monitoring.current_window import MIN_ROWS, WEEK, current_window, scope_days
from tests.profiles import examples

NEWEST = date(2026, 11, 30)


def series(days: int, per_day: int, every: int = 1) -> dict[date, int]:
    return {NEWEST - timedelta(days=n): per_day for n in range(0, days, every)}


def test_a_daily_series_is_judged_by_eight_weeks_and_many_entities_by_one():
    until = NEWEST - timedelta(days=7)
    assert current_window(series(400, 1), until, NEWEST, 7) == (NEWEST - timedelta(days=55), NEWEST)
    assert current_window(series(400, 20), until, NEWEST, 7) == (NEWEST - timedelta(days=6), NEWEST)


def test_rows_that_the_judged_model_has_learned_from_are_never_current():
    first_test = NEWEST - timedelta(days=29)
    assert current_window(series(400, 1), NEWEST, NEWEST, 28, first_test) == (first_test, NEWEST)


def test_without_time_there_is_no_window():
    assert current_window({}, None, None, 7) == (None, None)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.builds(series, st.integers(1, 500), st.integers(1, 60), st.integers(1, 40)),
    st.integers(0, 90),
    st.sampled_from((7, 28)),
    st.none() | st.integers(0, 300),
)
def test_the_window_is_the_shortest_that_holds_enough(
    rows: dict[date, int], since: int, longest: int, back: int | None
) -> None:
    earliest = None if back is None else NEWEST - timedelta(days=back)
    first, last = current_window(rows, NEWEST - timedelta(days=since), NEWEST, longest, earliest)
    assert first is not None
    assert last == NEWEST
    usual, length = max(WEEK, min(longest, since // WEEK * WEEK)), (NEWEST - first).days + 1
    oldest = max(d for d in (min(rows), earliest) if d is not None)
    assert length >= usual
    if length > usual:
        assert sum(n for d, n in rows.items() if d >= first + timedelta(days=WEEK)) < MIN_ROWS
        assert first >= oldest
    if sum(n for d, n in rows.items() if d >= first) < MIN_ROWS:
        assert first <= oldest


@given(st.floats(0.01, 1000))
def test_a_scope_of_whole_weeks_holds_enough_rows_and_no_week_more(per_day: float) -> None:
    days = scope_days(per_day)
    assert days % WEEK == 0
    assert days * per_day >= MIN_ROWS * (1 - 1e-9)
    assert days == WEEK or (days - WEEK) * per_day < MIN_ROWS * (1 + 1e-9)
