"""The world of the telephone company: who its customers are, what they use and pay; told in ``customers.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ADD_ON = ("Yes", "No", "No internet service")
SERVICES = ("online_security", "online_backup", "device_protection", "tech_support", "streaming_tv", "streaming_movies")
INTERNET = ("DSL", "Fiber optic", "No")
CONTRACTS = ("Month-to-month", "One year", "Two year")
PAYMENTS = ("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)")
#: Dollars a month: a telephone, further lines, internet by kind, the add-ons.
TELEPHONE, LINES, ACCESS = 20.0, 5.0, (25.0, 50.0, 0.0)
PRICES = (5.0, 5.0, 5.0, 5.0, 10.0, 10.0)
CUSTOMERS = 7043
#: Customers that the documents' examples ask for.
KNOWN = ("user_123", "test_user")


@dataclass(frozen=True)
class Company:
    """Arrays of shape (n,), but for the add-ons of ``plan`` (n, 6). ``chance``: of leaving."""

    ids: list[str]
    female: np.ndarray
    commitment: np.ndarray
    discontent: np.ndarray
    who: dict[str, np.ndarray]
    plan: dict[str, np.ndarray]
    monthly: np.ndarray
    total: np.ndarray
    chance: np.ndarray
    churned: np.ndarray


def company(scale: float, seed: int) -> Company:
    """The customers on the day of the extract: 7,043 at scale 1, at least 50."""
    draw = np.random.default_rng(seed)
    n = max(50, round(CUSTOMERS * scale))
    commitment, discontent = draw.normal(size=(2, n))
    who, plan = _household(draw, commitment), _plan(draw, commitment)
    monthly, total = _charges(draw, plan, who["tenure"])
    chance = logistic(_propensity(who, plan, commitment) + 0.6 * discontent)
    churned = draw.random(n) < chance
    ids = _ids(draw, n)
    female = draw.integers(0, 2, n) == 0
    return Company(ids, female, commitment, discontent, who, plan, monthly, total, chance, churned)


def _ids(draw: np.random.Generator, n: int) -> list[str]:
    letters = draw.choice(list("BCDFGHJKLMNPQRSTVWXYZ"), (n, 5))
    codes = [f"{i + 1:05d}-{''.join(row)}" for i, row in enumerate(letters)]
    return [*KNOWN, *codes[len(KNOWN) :]][:n]


def _pick(draw: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """One column a row, with the softmax of its ``scores`` (n, k) as probabilities: (n,)."""
    return (scores + draw.gumbel(size=scores.shape)).argmax(1)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _household(draw: np.random.Generator, commitment: np.ndarray) -> dict[str, np.ndarray]:
    """Who they are, and how they are bound."""
    n = len(commitment)
    partner = draw.random(n) < logistic(0.4 * commitment - 0.1)
    contract = _pick(draw, np.column_stack([0.7 - 0.9 * commitment, 0 * commitment - 0.4, 0.9 * commitment - 0.4]))
    usual = np.array([18.0, 42.0, 57.0])[contract]
    tenure = np.clip(draw.gamma(1.6, usual / 1.6), 0, 72).round().astype(int)
    automatic = logistic(0.7 * commitment)
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
    add_ons = draw.random((n, len(SERVICES))) < logistic(lean + taste * commitment[:, None])
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
    monthly = TELEPHONE * plan["phone"] + LINES * (plan["phone"] & plan["lines"]) + np.array(ACCESS)[plan["internet"]]
    monthly = (monthly + plan["add_ons"] @ np.array(PRICES) + draw.normal(0, 0.6, len(tenure))).round(2)
    return monthly, (monthly * tenure * draw.normal(1, 0.04, len(tenure))).round(2)
