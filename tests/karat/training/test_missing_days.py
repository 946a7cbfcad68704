"""A gap in the data is told, however long; a calendar that is closed on some weekdays has none."""

from datetime import date, timedelta

import polars as pl
import pytest

from karat.training.data_warnings import missing_days

START = date(2024, 1, 1)  # a Monday


def on(numbers: list[int]) -> pl.Series:
    return pl.Series("day", [START + timedelta(days=n) for n in numbers])


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([*range(30), *range(134, 163)], 104),  # most of the days
        ([n for n in range(60) if n != 20], 1),
        ([n for n in range(60) if n % 7 < 5], 0),  # Monday to Friday
        ([n for n in range(60) if n % 7 < 5 and n != 8], 1),  # and a Tuesday without rows
        (list(range(0, 200, 7)), 0),  # once a week
        (list(range(0, 300, 30)), 0),  # once a month
    ],
)
def test_missing_days(numbers: list[int], missing: int):
    assert len(missing_days(on(numbers))) == missing
