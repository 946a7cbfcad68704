"""A table of each shape: by day, by timestamp, without time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

from karat.names import TableName

DAILY = TableName("shop_dev", "features", "sales")
EVENTS = TableName("shop_dev", "gold", "orders")
PLAIN = TableName("shop_dev", "gold", "shops")


def comment(text: str) -> dict[str, str]:
    return {"comment": text}


@pytest.fixture
def daily(lake):
    """Key (shop, day), partitioned by day."""
    schema = pa.schema(
        [
            pa.field("shop", pa.string(), metadata=comment("which shop")),
            pa.field("day", pa.date32()),
            pa.field("revenue", pa.float64(), metadata=comment("sum of the day")),
        ]
    )
    lake.create(DAILY, schema, primary_key=("shop", "day"), timeseries="day", grain=timedelta(days=1), owner="ann")
    return DAILY


@pytest.fixture
def events(lake):
    """Key order, event time a timestamp: partitioned by the hidden _day."""
    schema = pa.schema(
        [
            pa.field("order", pa.int64()),
            pa.field("at", pa.timestamp("us", "UTC")),
            pa.field("amount", pa.decimal128(10, 2)),
        ]
    )
    lake.create(EVENTS, schema, primary_key=("order",), timeseries="at")
    return EVENTS


@pytest.fixture
def plain(lake):
    """Key shop, no time, not partitioned."""
    schema = pa.schema([pa.field("shop", pa.string()), pa.field("city", pa.string()), pa.field("size", pa.int64())])
    lake.create(PLAIN, schema, primary_key=("shop",), description="all shops")
    return PLAIN


@pytest.fixture
def sales():
    """sales(shops, days, revenue): one row per shop and day of January 2024."""

    def make(shops: str, days: list[int], revenue: float = 1.0) -> pl.DataFrame:
        rows = [{"shop": s, "day": date(2024, 1, d), "revenue": revenue} for d in days for s in shops]
        return pl.DataFrame(rows, schema={"shop": pl.String, "day": pl.Date, "revenue": pl.Float64})

    return make


@pytest.fixture
def orders():
    """orders({id: (day of January 2024, hour, amount)})."""

    def make(rows: dict[int, tuple[int, int, float]]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "order": list(rows),
                "at": [datetime(2024, 1, day, hour) for day, hour, _ in rows.values()],
                "amount": [a for *_, a in rows.values()],
            },
            schema={"order": pl.Int64, "at": pl.Datetime("us"), "amount": pl.Float64},
        ).with_columns(pl.col("at").dt.replace_time_zone("UTC"))

    return make
