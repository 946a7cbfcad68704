"""Which last day a drift check leaves out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Column, GoldTable, volume
from karat.lake import Lake
from karat.monitoring.unfinished_day import find_unfinished_day
from karat.names import TableName
from karat.quality.day_checks import check_volume
from karat.quality.unfinished_day import ingested_too_early, unfinished_gold_day

FIRST = date(2024, 2, 25)


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
    found = find_unfinished_day(by_day(*rows), None)
    assert (found is not None) is unfinished
    if found:
        assert str(found) == f"{max(by_day(*rows))} is left out: it has 40 rows, and the days before have at least 100"


def test_by_the_moment_of_ingest():
    rows = by_day(100, 100)
    noon = datetime(2024, 2, 26, 12, tzinfo=UTC)
    found = find_unfinished_day(rows, ingested_too_early(rows, noon))
    assert found is not None
    assert (found.day, "had not ended" in found.reason) == (date(2024, 2, 26), True)
    assert ingested_too_early(rows, noon + timedelta(hours=12)) is None


VISITS = GoldTable(
    name="visits",
    description="Visits",
    key=("id",),
    event_time="at",
    columns={"id": Column(dtype="int64"), "at": Column(dtype="timestamp", nullable=False)},
)


def export(lake: Lake, until: datetime) -> None:
    """Visits every twenty minutes from five to about ten in the evening, as a file of them is ingested much later."""
    name = TableName("shop_dev", "gold", "visits")
    lake.create(name, VISITS.schema, primary_key=VISITS.key, timeseries=VISITS.event_time)
    start = datetime(2024, 2, 25, 5, tzinfo=UTC)
    times = [start + timedelta(days=d, minutes=20 * n + 7 * (d % 3)) for d in range(14) for n in range(50)]
    kept = [t for t in times if t < until]
    times_type = pl.Series("at", kept, dtype=pl.Datetime("us", "UTC"))
    lake.merge(name, pl.DataFrame({"id": range(len(kept))}).with_columns(times_type))


def test_a_noon_export_raises_no_alarm_and_neither_does_the_whole_day_after_it(lake: Lake) -> None:
    """The file is ingested the next day, so that its moment says nothing; its last visit does."""
    name, check = TableName("shop_dev", "gold", "visits"), volume(fall=0.3)
    noon = datetime(2024, 3, 8, 12, tzinfo=UTC)
    export(lake, noon)
    found = unfinished_gold_day(lake, name, VISITS)
    assert found is not None
    assert found.day == noon.date()
    assert str(found).startswith("2024-03-08 is left out: its rows end at 11:")
    rows = lake.rows_by_day(name)
    assert check_volume(check, rows).failed == 1  # as it would be told without
    assert check_volume(check, rows, found).failed == 0
    assert find_unfinished_day(rows, found) == found
    export(lake, noon + timedelta(hours=12))
    whole = unfinished_gold_day(lake, name, VISITS)
    assert whole is None
    assert check_volume(check, lake.rows_by_day(name), whole).failed == 0
