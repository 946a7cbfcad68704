"""Payments: what a customer has spent so far, this payment included, and how often a terminal has seen frauds."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_event, from_polars

WINDOWS = (1, 7, 30)


def _of_customer() -> Iterator[Feature]:
    for days in WINDOWS:
        yield aggregate(
            f"customer_count_{days}d",
            "count",
            window=f"{days}d",
            description=f"Payments of the customer in the last {days} days, this one included",
        )
        yield aggregate(
            f"customer_mean_amount_{days}d",
            "mean",
            "amount",
            window=f"{days}d",
            description=f"Mean amount of the customer's payments of the last {days} days, this one included",
        )


def _of_terminal() -> Iterator[Feature]:
    for days in WINDOWS:
        yield aggregate(
            f"terminal_count_{days}d",
            "count",
            window=f"{days}d",
            description=f"Payments at the terminal in the {days} days that ended a week before",
        )
        yield aggregate(
            f"terminal_fraud_share_{days}d",
            "share",
            "is_fraud",
            window=f"{days}d",
            description=f"Which share of the payments at the terminal were frauds, in the {days} days that ended a "
            "week before; null without any",
        )


customer_transactions = FeatureTable(
    name="customer_transactions",
    description="One row a payment: the payment, and the customer's payments up to it",
    owner="customer-analytics",
    source="transactions",
    entity=("customer_id",),
    grain="event",
    time="tx_time",
    event_id="transaction_id",
    closed="right",
    features=(
        from_event("terminal_id", dtype="int64", description="Where it was made; finds the terminal's row"),
        from_event("amount", description="In dollars"),
        from_polars(
            "is_weekend",
            pl.col("tx_time").dt.weekday() >= 6,
            dtype="bool",
            description="Whether it was made on a Saturday or Sunday (UTC)",
        ),
        from_polars(
            "is_night",
            pl.col("tx_time").dt.hour() <= 6,
            dtype="bool",
            description="Whether it was made from midnight to 6:59 (UTC)",
        ),
        *_of_customer(),
    ),
    checks=(between("customer_count_30d", 1), between("customer_mean_amount_30d", 0)),
)

terminal_risk = FeatureTable(
    name="terminal_risk",
    description="One row a payment: the terminal's past, a week back, for only then are frauds known",
    owner="customer-analytics",
    source="transactions",
    entity=("terminal_id",),
    grain="event",
    time="tx_time",
    event_id="transaction_id",
    closed="right",
    delay="7d",
    features=tuple(_of_terminal()),
    checks=(*(between(f"terminal_fraud_share_{days}d", 0, 1) for days in WINDOWS),),
)
