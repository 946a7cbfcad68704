"""Freshness and volume: what counts as stale, too few, too many, or missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import fresh, volume
from karat.quality.day_checks import check_freshness, check_volume
from karat.quality.unfinished_day import ingested_too_early
from tests.profiles import examples

FIRST = date(2024, 2, 25)  # so that the days hold a leap day


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


@pytest.mark.parametrize(
    ("newest", "now", "stale"),
    [
        (date(2024, 2, 28), datetime(2024, 3, 1, 0, 0, tzinfo=UTC), False),  # both ends count: exactly two days
        (date(2024, 2, 28), datetime(2024, 3, 1, 0, 0, 1, tzinfo=UTC), True),
        (datetime(2024, 2, 28, 12, tzinfo=UTC), datetime(2024, 3, 1, 11, tzinfo=UTC), False),
        (datetime(2024, 2, 28, 12, tzinfo=UTC), datetime(2024, 3, 1, 13, tzinfo=UTC), True),
        (date(2024, 3, 9), datetime(2024, 3, 1, tzinfo=UTC), False),  # a time to come is not old
        (None, datetime(2024, 3, 1, tzinfo=UTC), True),
    ],
)
def test_freshness(newest, now, stale):
    assert (check_freshness(fresh("2d"), newest, now).failed == 1) is stale


def test_freshness_as_of_a_day_means_its_end():
    long_after = datetime(2026, 1, 1, tzinfo=UTC)
    assert check_freshness(fresh("2d", as_of=date(2024, 3, 1)), date(2024, 2, 29), long_after).failed == 0
    assert check_freshness(fresh("1d", as_of=date(2024, 3, 1)), date(2024, 2, 29), long_after).failed == 1


@pytest.mark.parametrize(
    ("check", "rows", "broken"),
    [
        (volume(low=5), {0: 5, 1: 4, 2: 9}, [1]),
        (volume(high=5), {0: 5, 1: 6, 2: 1}, [1]),
        (volume(), {0: 1, 3: 1}, [2, 1]),
        (volume(low=1, gaps=True), {0: 1, 3: 1}, []),
        (volume(fall=0.5), {0: 10, 1: 10, 2: 5, 3: 4}, [3]),
        (volume(rise=1), {0: 10, 1: 10, 2: 20, 3: 21}, [3]),
        (volume(fall=0.5, days=1), {0: 100, 1: 10, 2: 10}, [1]),
        (volume(low=5, last=1), {0: 1, 1: 1, 2: 5}, []),  # older days were judged when they were new
        (volume(fall=0.5), {0: 10}, []),  # the first day has nothing to be compared with
    ],
)
def test_volume(check, rows, broken):
    found = check_volume(check, {day(n): r for n, r in rows.items()})
    assert found.failed == len(broken)
    assert [e.split('"')[3] for e in found.examples] == [str(day(n)) for n in broken]


def test_volume_of_no_rows_and_of_a_table_without_time():
    assert check_volume(volume(low=1), {}).failed == 1
    assert check_volume(volume(low=3, high=5), 4).failed == 0
    assert check_volume(volume(low=3, high=5), 6).failed == 1
    assert check_volume(volume(low=3), 0).failed == 1


@pytest.mark.parametrize(
    ("came", "failed"),
    [
        (datetime(2024, 2, 28, 11, tzinfo=UTC), 0),  # day 3 is the 28th, and its rows came at 11
        (datetime(2024, 2, 28, 23, 59, tzinfo=UTC), 0),
        (datetime(2024, 2, 29, tzinfo=UTC), 1),
        (None, 1),
    ],
)
def test_volume_leaves_out_a_last_day_that_had_not_ended(came, failed):
    rows = {day(0): 10, day(1): 10, day(2): 10, day(3): 3}
    unfinished = ingested_too_early(rows, came) if came else None
    found = check_volume(volume(fall=0.5), rows, unfinished)
    assert (found.rows, found.failed) == (3 + failed, failed)
    assert ("left_out" in "".join(found.examples)) is (failed == 0)
    still = check_volume(volume(fall=0.5), rows | {day(2): 4}, unfinished)
    assert still.failed == 1 + failed  # a fall on a day that has ended is an alarm


@settings(max_examples=examples(60), deadline=None)
@given(
    rows=st.dictionaries(st.integers(0, 20), st.integers(1, 30), min_size=1),
    fall=st.sampled_from([None, 0.25, 0.5]),
    low=st.sampled_from([None, 3]),
    last=st.integers(1, 5),
    gaps=st.booleans(),
)
def test_volume_is_what_plain_loops_say(rows, fall, low, last, gaps):
    if gaps and fall is None and low is None:
        return
    check = volume(low, fall=fall, days=4, last=last, gaps=gaps)
    newest, broken, looked = max(rows), 0, 0
    for n in range(newest, newest - last, -1):
        if n < min(rows):
            continue
        looked += 1
        before = sorted(rows[m] for m in range(n - 4, n) if m in rows)
        if n not in rows:
            broken += not gaps
        elif low is not None and rows[n] < low:
            broken += 1
        elif fall is not None and before:
            k = len(before)
            usual = (before[(k - 1) // 2] + before[k // 2]) / 2
            broken += rows[n] < (1 - fall) * usual
    found = check_volume(check, {day(n): r for n, r in rows.items()})
    assert (found.rows, found.failed) == (looked, broken)
