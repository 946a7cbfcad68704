"""Card payments, and a sample with a planted truth.

THE PLANTED TRUTH. A payment is a pure function of (seed, day, its place in the day): a later ``end`` adds days, the
payments that came late and the frauds that were found since, and changes nothing else. Every customer has a rate, a
usual amount, hours of the day and a home; a payment is made at one of the terminals nearest to it. Customers come and
go. Frauds have three hidden causes, and the label is the cause, never a rule over what can be seen:

- ``skimmed``: a terminal is tampered with for one to four weeks (an unattended one more often, see ``terminals.py``);
  while it lasts, a share of its payments that is the terminal's own (20 % to 80 %) is made with copied cards. Their
  amounts are as usual: only the terminal's past tells.
- ``stolen``: a card is in strange hands for three to fourteen days: besides its owner's payments there are others,
  at any hour and any terminal, of two to eight times the usual amount.
- ``testing``: single payments with stolen numbers, at any hour, mostly small, some very large: hardly to be found.

``transactions_truth`` holds for every payment the chance of a fraud by Bayes' rule, for whoever knows all of this
but what was done to terminals in the last seven days.

Whether a payment was a fraud is known seven days later: until then ``is_fraud`` is null. Rows that real systems have:
payments that arrive one to three days late (one in 200), amounts that got lost (one in 1,000).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from karat_projects.customers.gold._payments import A_DAY, EPOCH, KNOWN_AFTER, make_world, payments_of
from karat_projects.customers.gold._truth import with_chance

from karat.declare import Column, GoldTable, fresh, not_null, volume

HISTORY = 90
CAUSES = ("skimmed", "stolen", "testing")

transactions = GoldTable(
    name="transactions",
    description="One row a card payment; whether it was a fraud is known a week later",
    owner="customer-analytics",
    key=("transaction_id",),
    event_time="tx_time",
    checks=(
        not_null("amount", at_most=0.05, on_fail="warn", description="What has no amount is in no mean"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "transaction_id": Column(dtype="int64", description="Payment"),
        "tx_time": Column(dtype="timestamp", nullable=False, description="When it was made"),
        "customer_id": Column(dtype="int64", nullable=False, description="Whose card"),
        "terminal_id": Column(dtype="int64", nullable=False, description="Where it was made"),
        "amount": Column(dtype="float64", minimum=0, description="In dollars"),
        "is_fraud": Column(dtype="bool", description="Whether it was a fraud; null until that is known"),
    },
)


transactions_truth = GoldTable(
    name="transactions_truth",
    description="What is behind each payment, one row each, whether its fraud is known yet or not; sample data only",
    owner="customer-analytics",
    key=("transaction_id",),
    event_time="tx_time",
    truth=True,
    columns={
        "transaction_id": Column(dtype="int64", description="As in transactions"),
        "tx_time": Column(dtype="timestamp", nullable=False, description="As in transactions"),
        "customer_id": Column(dtype="int64", nullable=False, description="As in transactions"),
        "cause": Column(dtype="string", allowed=CAUSES, description="Why it is a fraud; null where it is none"),
        "chance": Column(
            dtype="float64",
            nullable=False,
            minimum=0,
            maximum=1,
            description="Of a fraud: given the payment, whether the card is in strange hands, and what was done "
            "to the terminal a week before, for what happened since nobody can know",
        ),
    },
)


def history(scale: float = 1.0, seed: int = 0, end: date | None = None) -> pl.DataFrame:
    """``transactions`` with three more columns: ``cause`` (empty, or of which kind a fraud is), ``late`` (days) and
    ``chance`` (of a fraud, as ``transactions_truth`` has it)."""
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last, world = (end - EPOCH).days, make_world(scale, seed)
    rows = pl.concat(with_chance(world, payments_of(world, day), day) for day in range(last - HISTORY + 1, last + 1))
    epoch = (EPOCH - date(1970, 1, 1)).days * A_DAY
    day = pl.col("second") // A_DAY
    return rows.filter(day + pl.col("late") <= last).with_columns(
        tx_time=((pl.col("second") + epoch) * 1_000_000).cast(pl.Datetime("us", "UTC")),
        is_fraud=pl.when(day + KNOWN_AFTER <= last).then(pl.col("cause") != ""),
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``transactions`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default): about 140,000 at scale 1."""
    rows = history(scale, seed, end)
    truth = rows.with_columns(pl.col("cause").replace("", None))
    return {
        "transactions": rows.select(*transactions.columns),
        "transactions_truth": truth.select(*transactions_truth.columns),
    }
