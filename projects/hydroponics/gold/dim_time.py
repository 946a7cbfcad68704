"""The hours of the readings, as reports group them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from karat_projects.hydroponics.gold._readings import HISTORY

from karat.declare import Column, GoldTable, between, matches

dim_time = GoldTable(
    name="dim_time",
    description="One row an hour (UTC), with the names by which reports group hours",
    owner="growing-operations",
    key=("timestamp_key",),
    checks=(
        between("hour", 0, 23),
        matches("hour = extract(hour FROM timestamp_key)", description="The hour is that of the key"),
    ),
    columns={
        "timestamp_key": Column(dtype="timestamp", description="The hour's beginning"),
        "date": Column(dtype="date", nullable=False, description="Its day"),
        "hour": Column(dtype="int64", nullable=False, description="0 to 23"),
        "day_of_week": Column(dtype="int64", nullable=False, minimum=1, maximum=7, description="Monday is 1"),
        "is_weekend": Column(dtype="bool", nullable=False, description="Whether it is a Saturday or Sunday"),
        "month": Column(dtype="int64", nullable=False, minimum=1, maximum=12, description="1 to 12"),
        "day_part": Column(
            dtype="string", allowed=("night", "morning", "afternoon", "evening"), description="A quarter of the day"
        ),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``dim_time``: the hours of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default), at any scale."""
    last = end or datetime.now(UTC).date() - timedelta(days=1)
    first = datetime(last.year, last.month, last.day, tzinfo=UTC) - timedelta(days=HISTORY - 1)
    hours = pl.datetime_range(
        first, first + timedelta(days=HISTORY), "1h", closed="left", time_zone="UTC", time_unit="us", eager=True
    )
    at = pl.col("timestamp_key")
    parts = pl.Series(["night", "morning", "afternoon", "evening"])
    frame = (
        hours.alias("timestamp_key")
        .to_frame()
        .with_columns(
            date=at.dt.date(),
            hour=at.dt.hour().cast(pl.Int64),
            day_of_week=at.dt.weekday().cast(pl.Int64),
            is_weekend=at.dt.weekday() >= 6,
            month=at.dt.month().cast(pl.Int64),
        )
    )
    return {"dim_time": frame.with_columns(day_part=parts.gather(frame["hour"] // 6))}
