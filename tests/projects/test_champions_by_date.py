"""The cost models become champions on the days that were worst for them: see docs/decisions/0129."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.champions_by_date import Outcome, Task, champions_on, spread, table

COST = (
    "budget_forecaster",
    "cost_anomaly_detector",
    "resource_optimizer",
    "chargeback_allocator",
    "commitment_analyzer",
    "savings_recommender",
)
#: On these, resource_optimizer was refused before the samples changed.
WORST = (date(2025, 6, 30), date(2025, 10, 6), date(2026, 11, 29))


@pytest.mark.nightly
@pytest.mark.parametrize("end", WORST, ids=str)
def test_all_cost_models_become_champions_whatever_the_day(end: date, tmp_path: Path) -> None:
    found = list(champions_on(Task("health_monitor", COST, end, scale=1.0, seed=0), tmp_path))
    assert [o.model for o in found if not o.champion] == [], table(found)
    assert len(found) == len(COST)


def test_dates_are_spread_evenly_from_the_last_back() -> None:
    found = spread(date(2024, 12, 1), date(2026, 12, 1), 60)
    assert (found[0], found[-1], len(found)) == (date(2026, 12, 1), date(2024, 12, 1), 60)
    assert {(a - b).days for a, b in pairwise(found)} == {12, 13}
    assert {day.weekday() for day in found} == set(range(7))
    assert spread(date(2024, 12, 1), date(2026, 12, 1), 1) == [date(2026, 12, 1)]


def test_the_table_counts_refusals_of_one_kind_together() -> None:
    lines = [
        Outcome("p", "m", "2026-01-01", champion=True, reason="it wins", metric="mae", gain=3.0, low=1.0),
        Outcome("p", "m", "2026-01-02", champion=False, reason="low is -0.5", metric="mae", gain=1.0, low=-0.5),
        Outcome("p", "m", "2026-01-03", champion=False, reason="low is -0.7", metric="mae", gain=2.0, low=-0.7),
    ]
    assert table(lines).splitlines()[-1] == "| m | 1 of 3 | mae | 1 | 2 | -0.7 | 2026-01-03 | low is N (2) |"
