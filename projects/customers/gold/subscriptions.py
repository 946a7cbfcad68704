"""What customers have subscribed to, and a sample with a planted truth.

THE PLANTED TRUTH. Customers and what they use are those of ``customers.py``. A telephone and internet run as long as
their customer has been one, add-ons and further lines began at any time since. An add-on that a customer with internet
does not have now was cancelled before with the probability logistic(-2 + 0.8 discontent), mostly within the last year:
what a customer has given up is the one trace of the discontent. Models of churn do without it, for a table of customers
alone (as people bring it) must be enough for them.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.customers.gold._company import (
    ACCESS,
    CONTRACTS,
    INTERNET,
    LINES,
    PRICES,
    SERVICES,
    TELEPHONE,
    Company,
    company,
    logistic,
)

from karat.declare import Column, GoldTable, matches, volume

PRODUCTS = ("telephone", "further_lines", "internet", *SERVICES)

subscriptions = GoldTable(
    name="subscriptions",
    description="One row a subscription of a customer, running or ended, as of the day of the extract; no history",
    owner="customer-analytics",
    key=("subscription_id",),
    checks=(
        matches("ended_months_ago IS NULL OR ended_months_ago <= began_months_ago", description="It began before"),
        volume(low=50, on_fail="warn"),
    ),
    columns={
        "subscription_id": Column(dtype="string", description="Subscription"),
        "customer_id": Column(dtype="string", nullable=False, description="As in customers"),
        "product": Column(dtype="string", nullable=False, allowed=PRODUCTS, description="What is subscribed to"),
        "variant": Column(dtype="string", description="DSL or Fiber optic for internet; null for all else"),
        "contract": Column(dtype="string", allowed=CONTRACTS, description="How long the customer is bound"),
        "began_months_ago": Column(dtype="int64", nullable=False, minimum=0, description="Months since it began"),
        "ended_months_ago": Column(dtype="int64", minimum=0, description="Months since it ended; null while it runs"),
        "monthly_price": Column(dtype="float64", nullable=False, minimum=0, description="Dollars a month, by the list"),
    },
)


def _held(of: Company) -> np.ndarray:
    """Which products each customer has: (n, 9)."""
    basic = [of.plan["phone"], of.plan["phone"] & of.plan["lines"], of.plan["internet"] < 2]
    return np.column_stack([*basic, of.plan["add_ons"]])


def _given_up(of: Company, held: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Which add-ons each customer has cancelled: (n, 9)."""
    could = (of.plan["internet"] < 2) & (of.who["tenure"] > 3)
    out = draw.random(held.shape) < logistic(-2 + 0.8 * of.discontent)[:, None]
    out[:, :3] = False
    return out & ~held & could[:, None]


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``subscriptions`` of the customers of the same scale and seed: about 30,000 at scale 1; ``end`` is of no account,
    as for them."""
    of, draw = company(scale, seed), np.random.default_rng([seed, 1])
    held = _held(of)
    given_up = _given_up(of, held, draw)
    who, product = np.nonzero(held | given_up)
    tenure, ended = of.who["tenure"][who], given_up[who, product]
    since = np.where(np.isin(product, (0, 2)), tenure, np.floor((tenure + 1) * draw.random(len(who)))).astype(np.int64)
    ago = np.minimum(np.floor(draw.exponential(5, len(who))), tenure - 1).astype(np.int64)
    internet = of.plan["internet"][who]
    prices = np.array([TELEPHONE, LINES, 0.0, *PRICES])[product]
    frame = pl.DataFrame(
        {
            "subscription_id": np.char.add(np.char.add(np.array(of.ids)[who], ":"), np.array(PRODUCTS)[product]),
            "customer_id": np.array(of.ids)[who],
            "product": np.array(PRODUCTS)[product],
            "variant": pl.Series(np.array(INTERNET)[internet]).set(pl.Series(product != 2), None),
            "contract": np.array(CONTRACTS)[of.who["contract"][who]],
            "began_months_ago": np.where(ended, np.maximum(since, ago + 1), since),
            "ended_months_ago": pl.Series(ago).set(pl.Series(~ended), None),
            "monthly_price": np.where(product == 2, np.array(ACCESS)[internet], prices),
        }
    )
    return {"subscriptions": frame}
