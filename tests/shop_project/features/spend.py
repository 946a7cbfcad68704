"""What a customer spends. Where HOLD/wait exists, the shard that holds the first customer waits for it to go."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from karat.declare import FeatureTable, aggregate, from_python

HOLD = Path(__file__).parent.parent / "hold"


def _week(customers: pl.Series, week: pl.Series) -> pl.Series:
    while (HOLD / "wait").exists() and (customers == "c000").any():
        (HOLD / "reached").touch()
        time.sleep(0.05)
    return week / 7


spend = FeatureTable(
    name="spend",
    description="Spending",
    source="orders",
    entity=("customer_id",),
    time="day",
    features=(
        aggregate("spent_1d", "sum", "amount", window="1d", description="Spent on the day"),
        aggregate("spent_7d", "sum", "amount", window="7d", description="Spent in a week"),
        from_python("daily_7d", _week, ("customer_id", "spent_7d"), description="A day's mean of the week"),
    ),
)
