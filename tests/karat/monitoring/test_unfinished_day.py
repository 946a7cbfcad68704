"""Which last day a drift check leaves out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from karat.monitoring.unfinished_day import find_unfinished_day

FIRST = date(2024, 2, 25)
LATER = datetime(2024, 6, 1, tzinfo=UTC)


def by_day(*rows: int) -> dict[date, int]:
    return {FIRST + timedelta(days=n): count for n, count in enumerate(rows) if count}


@pytest.mark.parametrize(
    ("rows", "unfinished"),
    [
        ((100,) * 8 + (40,), True),
        ((100,) * 8 + (50,), False),
        ((100, 30, 100, 100, 100, 100, 100, 100, 40), False),  # a Sunday has as few
        ((100,) * 6 + (1,), False),  # too few days to know what is usual
        ((1,) * 10, False),
        ((), False),
    ],
)
def test_by_the_usual_rows(rows, unfinished):
    found = find_unfinished_day(by_day(*rows), LATER)
    assert (found is not None) is unfinished
    if found:
        assert str(found) == f"{max(by_day(*rows))} is left out: it has 40 rows, and the days before have at least 100"


def test_by_the_moment_of_ingest():
    rows = by_day(100, 100)
    noon = datetime(2024, 2, 26, 12, tzinfo=UTC)
    found = find_unfinished_day(rows, noon)
    assert found is not None
    assert (found.day, "had not ended" in found.reason) == (date(2024, 2, 26), True)
    assert find_unfinished_day(rows, noon + timedelta(hours=12)) is None
