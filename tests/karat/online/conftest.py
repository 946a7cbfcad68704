"""A small feature table, and the store that follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import polars as pl
import pyarrow as pa
import pytest

from karat.lake import Lake
from karat.names import TableName
from karat.online import OnlineStore, backends, open_store
from karat.settings import Settings
from tests.services import use_store

SALES = TableName("shop_dev", "features", "sales")
SCHEMA = pa.schema(
    [
        pa.field("shop", pa.string(), nullable=False),
        pa.field("till", pa.int64(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("sum_7d", pa.float64()),
        pa.field("count_7d", pa.int64()),
        pa.field("segment", pa.string()),
        pa.field("opened", pa.date32()),
        pa.field("busy", pa.bool_()),
    ]
)


def day(n: int) -> date:
    """Day ``n`` of January 2026."""
    return date(2026, 1, 1) + timedelta(days=n - 1)


def sales(*rows: tuple[str, int, int, float | None]) -> pl.DataFrame:
    """(shop, till, day of January, sum) -> rows whose other columns follow from these."""
    return pl.DataFrame(
        {
            "shop": [r[0] for r in rows],
            "till": [r[1] for r in rows],
            "day": [day(r[2]) for r in rows],
            "sum_7d": [r[3] for r in rows],
            "count_7d": [None if r[3] is None else int(r[3]) for r in rows],
            "segment": [f"segment {r[0]}" if r[1] % 2 else None for r in rows],
            "opened": [day(r[1]) for r in rows],
            "busy": [r[3] is not None and r[3] > 10 for r in rows],
        },
        schema_overrides={"till": pl.Int64, "sum_7d": pl.Float64, "count_7d": pl.Int64, "segment": pl.String},
    )


@pytest.fixture(params=backends())
def stored(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with an empty store of each kind."""
    return use_store(request.param, settings, request)


@pytest.fixture
def store(stored: Settings) -> Iterator[OnlineStore]:
    store = open_store(stored)
    yield store
    store.close()


@pytest.fixture
def table(lake: Lake) -> Callable[..., TableName]:
    """Makes the table with a lag of one day (``lag``: of so many)."""

    def make(lag: int = 1) -> TableName:
        lake.create(SALES, SCHEMA, primary_key=("shop", "till", "day"), timeseries="day", lag=timedelta(days=lag))
        return SALES

    return make
