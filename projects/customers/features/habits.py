"""Habits: how unlike its customer's other payments one is, and how well the customer knows the terminal."""

from __future__ import annotations

import polars as pl

from karat.declare import FeatureTable, aggregate, between, from_event, from_polars

payment_habits = FeatureTable(
    name="payment_habits",
    description="One row a payment: how it compares with what its customer did before, itself left out",
    owner="customer-analytics",
    source="transactions",
    entity=("customer_id",),
    grain="event",
    time="tx_time",
    event_id="transaction_id",
    features=(
        from_event("amount", description="In dollars", intermediate=True),
        from_polars(
            "hour",
            pl.col("tx_time").dt.hour() + pl.col("tx_time").dt.minute() / 60,
            description="Hours since midnight (UTC)",
        ),
        aggregate("mean_30d", "mean", "amount", window="30d", description="Mean amount before", intermediate=True),
        from_polars(
            "amount_over_mean_30d",
            pl.col("amount") / pl.when(pl.col("mean_30d") > 0).then(pl.col("mean_30d")),
            description="The amount over the mean of the customer's payments of the 30 days before; null without any",
        ),
        aggregate("max_3d", "max", "amount", window="3d", description="Highest amount before", intermediate=True),
        from_polars(
            "recent_over_mean_30d",
            pl.col("max_3d") / pl.when(pl.col("mean_30d") > 0).then(pl.col("mean_30d")),
            description="The highest amount of the 3 days before over the mean of 30; null without any",
        ),
        *(
            aggregate(
                name,
                "count_distinct",
                "terminal_id",
                window=window,
                delay=delay,
                description="Terminals paid at",
                intermediate=True,
            )
            for name, window, delay in (("terminals_33d", "33d", "0d"), ("terminals_before", "30d", "3d"))
        ),
        from_polars(
            "new_terminals_3d",
            pl.col("terminals_33d") - pl.col("terminals_before"),
            dtype="int64",
            description="Terminals of the 3 days before at which the customer had not paid in the 30 days before those",
        ),
        aggregate(
            "customer_fraud_share_30d",
            "share",
            "is_fraud",
            window="30d",
            delay="7d",
            description="Which share of the customer's payments were frauds, in the 30 days that ended a week before",
        ),
    ),
    checks=(between("hour", 0, 24), between("amount_over_mean_30d", 0), between("customer_fraud_share_30d", 0, 1)),
)

terminal_visits = FeatureTable(
    name="terminal_visits",
    description="One row a payment: how often its customer paid at its terminal before",
    owner="customer-analytics",
    source="transactions",
    entity=("customer_id", "terminal_id"),
    grain="event",
    time="tx_time",
    event_id="transaction_id",
    features=tuple(
        aggregate(
            f"visits_{days}d",
            "count",
            window=f"{days}d",
            description=f"Payments of the customer at this terminal in the {days} days before",
        )
        for days in (7, 60)
    ),
    checks=(between("visits_60d", 0),),
)
