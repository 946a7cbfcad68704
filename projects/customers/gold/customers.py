"""Gold tables of the customers project, and a sample with a planted truth.

THE PLANTED TRUTH. Every customer has two hidden traits, both standard normal: ``commitment`` (how much somebody binds
himself: longer contracts, automatic payment, more add-ons) and ``discontent`` (which nothing in this table shows; in
``subscriptions`` a cancelled add-on hints at it). Services, charges,
contract and tenure follow from ``commitment`` and chance. Who leaves is drawn with the probability

    logistic(-2.1 + 1.9 monthly contract - 1.0 two-year contract + 1.2 fibre - 0.9 no internet
             - 0.045 tenure (up to 48) + 0.5 electronic check + 0.3 paperless - 0.45 security - 0.45 support
             + 0.3 senior - 0.2 dependents - 0.25 commitment + 0.6 discontent)

so that even the best model is far from certain: what this table can tell scores an AUC of about 0.85.
``customers_truth`` holds both traits and that probability.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.customers.gold._company import ADD_ON, CONTRACTS, INTERNET, PAYMENTS, SERVICES, Company, company

from karat.declare import Column, GoldTable, matches, not_null, volume

customers = GoldTable(
    name="customers",
    description="One row a customer of a telephone and internet company, as of the day of the extract; no history",
    owner="customer-analytics",
    key=("customer_id",),
    checks=(
        matches("internet_service <> 'No' OR online_security = 'No internet service'", description="Add-ons need it"),
        matches("phone_service OR multiple_lines = 'No phone service'", description="Lines need a telephone"),
        matches("total_charges IS NOT NULL OR tenure = 0", on_fail="warn", description="Null before the first bill"),
        not_null("churned", at_most=0.05, on_fail="warn", description="The label"),
        volume(low=50, on_fail="warn"),
    ),
    columns={
        "customer_id": Column(dtype="string", description="Customer"),
        "gender": Column(
            dtype="string", allowed=("Female", "Male"), description="Female or Male; a protected attribute"
        ),
        "senior_citizen": Column(dtype="bool", description="65 or older; a protected attribute"),
        "partner": Column(dtype="bool", description="Has a partner"),
        "dependents": Column(dtype="bool", description="Has dependents"),
        "tenure": Column(dtype="int64", minimum=0, description="Months with the company"),
        "phone_service": Column(dtype="bool", description="Has a telephone"),
        "multiple_lines": Column(
            dtype="string", allowed=("Yes", "No", "No phone service"), description="More than one line"
        ),
        "internet_service": Column(dtype="string", allowed=INTERNET, description="DSL, Fiber optic or No"),
        **{
            s: Column(dtype="string", allowed=ADD_ON, description=f"{s.replace('_', ' ').capitalize()}")
            for s in SERVICES
        },
        "contract": Column(dtype="string", allowed=CONTRACTS, description="How long the customer is bound"),
        "paperless_billing": Column(dtype="bool", description="Bills come by e-mail"),
        "payment_method": Column(dtype="string", description="How bills are paid"),
        "monthly_charges": Column(dtype="float64", minimum=0, description="Dollars a month, as of the extract"),
        "total_charges": Column(dtype="float64", minimum=0, description="Dollars so far; null before the first bill"),
        "churned": Column(dtype="bool", description="Left within the month of the extract"),
    },
)

customers_truth = GoldTable(
    name="customers_truth",
    description="The hidden traits of each customer, and the chance of leaving that they make; sample data only",
    owner="customer-analytics",
    key=("customer_id",),
    truth=True,
    columns={
        "customer_id": Column(dtype="string", description="As in customers"),
        "commitment": Column(dtype="float64", nullable=False, description="How much the customer binds himself"),
        "discontent": Column(dtype="float64", nullable=False, description="How little the customer is content"),
        "chance": Column(dtype="float64", nullable=False, minimum=0, maximum=1, description="Of leaving that month"),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``customers`` and their truth: 7,043 at scale 1, at least 50. They have no time, so ``end`` changes nothing."""
    of = company(scale, seed)
    truth = {"customer_id": of.ids, "commitment": of.commitment, "discontent": of.discontent, "chance": of.chance}
    return {"customers": _rows(of).select(*customers.columns), "customers_truth": pl.DataFrame(truth)}


def _rows(of: Company) -> pl.DataFrame:
    bits = ("senior_citizen", "partner", "dependents", "tenure", "paperless_billing")
    add_ons = np.where(of.plan["internet"][:, None] == 2, ADD_ON[2], np.where(of.plan["add_ons"], "Yes", "No"))
    columns = {
        "customer_id": of.ids,
        "gender": np.where(of.female, "Female", "Male"),
        **{name: of.who[name] for name in bits},
        "phone_service": of.plan["phone"],
        "multiple_lines": np.where(of.plan["phone"], np.where(of.plan["lines"], "Yes", "No"), "No phone service"),
        "internet_service": np.array(INTERNET)[of.plan["internet"]],
        **{name: add_ons[:, i] for i, name in enumerate(SERVICES)},
        "contract": np.array(CONTRACTS)[of.who["contract"]],
        "payment_method": np.array(PAYMENTS)[of.who["payment"]],
        "monthly_charges": of.monthly,
        "total_charges": pl.Series(of.total).set(pl.Series(of.who["tenure"] == 0), None),
        "churned": of.churned,
    }
    return pl.DataFrame(columns)
