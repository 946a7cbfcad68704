"""Orders of 40 customers over 60 days; each customer has a level of spending of its own."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable

orders = GoldTable(
    name="orders",
    description="One row a customer and day",
    key=("customer_id", "day"),
    event_time="day",
    columns={
        "customer_id": Column(dtype="string"),
        "day": Column(dtype="date"),
        "amount": Column(dtype="float64", nullable=False),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date = date(2026, 6, 30)) -> dict[str, pl.DataFrame]:
    random = np.random.default_rng(seed)
    customers, days = max(2, int(40 * scale)), 60
    level = random.uniform(10, 200, customers)
    amount = level[:, None] * random.uniform(0.7, 1.3, (customers, days))
    return {
        "orders": pl.DataFrame(
            {
                "customer_id": np.repeat([f"c{i:03}" for i in range(customers)], days),
                "day": [end - timedelta(days=d) for d in range(days - 1, -1, -1)] * customers,
                "amount": amount.ravel(),
            }
        )
    }
