"""Gold tables of the customers project, and a sample with a planted truth.

THE PLANTED TRUTH. Every customer has two hidden traits, both standard normal: ``commitment`` (how much somebody binds
himself: longer contracts, automatic payment, more add-ons) and ``discontent`` (which nothing shows). Services, charges,
contract and tenure follow from ``commitment`` and chance. Who leaves is drawn with the probability

    logistic(-2.1 + 1.9 monthly contract - 1.0 two-year contract + 1.2 fibre - 0.9 no internet
             - 0.045 tenure (up to 48) + 0.5 electronic check + 0.3 paperless - 0.45 security - 0.45 support
             + 0.3 senior - 0.2 dependents - 0.25 commitment + 0.6 discontent)

so that even the best model is far from certain: what can be known scores an AUC of about 0.85.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable, matches, not_null, volume

ADD_ON = ("Yes", "No", "No internet service")
SERVICES = ("online_security", "online_backup", "device_protection", "tech_support", "streaming_tv", "streaming_movies")
INTERNET = ("DSL", "Fiber optic", "No")
CONTRACTS = ("Month-to-month", "One year", "Two year")
PAYMENTS = ("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)")
CUSTOMERS = 7043
#: Customers that the documents' examples ask for.
KNOWN = ("user_123", "test_user")

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


def _ids(draw: np.random.Generator, n: int) -> list[str]:
    letters = draw.choice(list("BCDFGHJKLMNPQRSTVWXYZ"), (n, 5))
    codes = [f"{i + 1:05d}-{''.join(row)}" for i, row in enumerate(letters)]
    return [*KNOWN, *codes[len(KNOWN) :]][:n]


def _pick(draw: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """One column a row, with the softmax of its ``scores`` (n, k) as probabilities: (n,)."""
    return (scores + draw.gumbel(size=scores.shape)).argmax(1)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _household(draw: np.random.Generator, commitment: np.ndarray) -> dict[str, np.ndarray]:
    """Who they are, and how they are bound."""
    n = len(commitment)
    partner = draw.random(n) < _logistic(0.4 * commitment - 0.1)
    contract = _pick(draw, np.column_stack([0.7 - 0.9 * commitment, 0 * commitment - 0.4, 0.9 * commitment - 0.4]))
    usual = np.array([18.0, 42.0, 57.0])[contract]
    tenure = np.clip(draw.gamma(1.6, usual / 1.6), 0, 72).round().astype(int)
    automatic = _logistic(0.7 * commitment)
    ways = np.log(np.column_stack([(1 - automatic) * 0.6, (1 - automatic) * 0.4, automatic * 0.5, automatic * 0.5]))
    return {
        "senior_citizen": draw.random(n) < 0.16,
        "partner": partner,
        "dependents": draw.random(n) < np.where(partner, 0.5, 0.09),
        "contract": contract,
        "tenure": np.where(draw.random(n) < 0.002, 0, np.maximum(tenure, 1)),
        "payment": _pick(draw, ways),
        "paperless_billing": draw.random(n) < 0.59,
    }


def _plan(draw: np.random.Generator, commitment: np.ndarray) -> dict[str, np.ndarray]:
    """What they use. A customer without internet has a telephone; add-ons need internet."""
    n = len(commitment)
    internet = _pick(draw, np.tile(np.log([0.34, 0.44, 0.22]), (n, 1)))
    phone = (draw.random(n) < 0.9) | (internet == 2)
    lean = np.array([-0.4, -0.1, -0.1, -0.4, 0.1, 0.1])
    taste = np.array([0.6, 0.4, 0.4, 0.6, 0.15, 0.15])
    add_ons = draw.random((n, len(SERVICES))) < _logistic(lean + taste * commitment[:, None])
    return {
        "internet": internet,
        "phone": phone,
        "lines": draw.random(n) < 0.46,
        "add_ons": add_ons & (internet < 2)[:, None],
    }


def _propensity(who: dict[str, np.ndarray], plan: dict[str, np.ndarray], commitment: np.ndarray) -> np.ndarray:
    """Log-odds of leaving, but for the discontent."""
    security, support = plan["add_ons"][:, 0], plan["add_ons"][:, 3]
    return (
        -2.1
        + np.array([1.9, 0.0, -1.0])[who["contract"]]
        + np.array([0.0, 1.2, -0.9])[plan["internet"]]
        - 0.045 * np.minimum(who["tenure"], 48)
        + 0.5 * (who["payment"] == 0)
        + 0.3 * who["paperless_billing"]
        - 0.45 * security
        - 0.45 * support
        + 0.3 * who["senior_citizen"]
        - 0.2 * who["dependents"]
        - 0.25 * commitment
    )


def _charges(
    draw: np.random.Generator, plan: dict[str, np.ndarray], tenure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Dollars a month, and in all: prices have changed by some percent over the years."""
    prices = np.array([5.0, 5.0, 5.0, 5.0, 10.0, 10.0])
    monthly = (
        20.0 * plan["phone"] + 5.0 * (plan["phone"] & plan["lines"]) + np.array([25.0, 50.0, 0.0])[plan["internet"]]
    )
    monthly = (monthly + plan["add_ons"] @ prices + draw.normal(0, 0.6, len(tenure))).round(2)
    return monthly, (monthly * tenure * draw.normal(1, 0.04, len(tenure))).round(2)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``customers``: 7,043 of them at scale 1, at least 50. The table has no time, so ``end`` changes nothing."""
    draw = np.random.default_rng(seed)
    n = max(50, round(CUSTOMERS * scale))
    commitment, discontent = draw.normal(size=(2, n))
    who, plan = _household(draw, commitment), _plan(draw, commitment)
    monthly, total = _charges(draw, plan, who["tenure"])
    churned = draw.random(n) < _logistic(_propensity(who, plan, commitment) + 0.6 * discontent)
    bits = ("senior_citizen", "partner", "dependents", "tenure", "paperless_billing")
    add_ons = np.where(plan["internet"][:, None] == 2, ADD_ON[2], np.where(plan["add_ons"], "Yes", "No"))
    columns = {
        "customer_id": _ids(draw, n),
        "gender": np.array(["Female", "Male"])[draw.integers(0, 2, n)],
        **{name: who[name] for name in bits},
        "phone_service": plan["phone"],
        "multiple_lines": np.where(plan["phone"], np.where(plan["lines"], "Yes", "No"), "No phone service"),
        "internet_service": np.array(INTERNET)[plan["internet"]],
        **{name: add_ons[:, i] for i, name in enumerate(SERVICES)},
        "contract": np.array(CONTRACTS)[who["contract"]],
        "payment_method": np.array(PAYMENTS)[who["payment"]],
        "monthly_charges": monthly,
        "total_charges": pl.Series(total).set(pl.Series(who["tenure"] == 0), None),
        "churned": churned,
    }
    return {"customers": pl.DataFrame(columns).select(*customers.columns)}
