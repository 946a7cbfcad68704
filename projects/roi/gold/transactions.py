"""Deals that users have closed. They come from the hidden state alone: who pursues a goal closes it with a chance of
2 % a day (``_world.py``); no deal follows from what anybody did on the platform. Rows that real systems have: deals
that are recorded one to five days late (one in 40), fees that were paid back (negative), agents that are not known."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import GOALS, PAST, World, days_of, last_day, name_of, on, world

from karat.declare import Column, GoldTable

transactions = GoldTable(
    name="transactions",
    description="One row a deal closed by a user: bought, sold, refinanced or invested",
    owner="roi-analytics",
    key=("transaction_id",),
    event_time="closed_on",
    cluster_by=("user_id",),
    columns={
        "transaction_id": Column(dtype="int64", description="Deal"),
        "user_id": Column(dtype="string", nullable=False, description="Who"),
        "closed_on": Column(dtype="date", nullable=False, description="Day on which it was closed"),
        "transaction_type": Column(dtype="string", nullable=False, allowed=GOALS, description="What was done"),
        "amount": Column(dtype="float64", minimum=0, description="In dollars"),
        "fee": Column(dtype="float64", description="What the platform earned; negative where it was paid back"),
        "days_to_close": Column(dtype="int64", minimum=0, description="From the contract to the closing"),
        "financed": Column(dtype="bool", description="Whether a loan was taken"),
        "agent_id": Column(dtype="string", description="Whose help was had; null where not known"),
        "agent_rating": Column(dtype="float64", minimum=1, maximum=5, description="What the user said of it, 1 to 5"),
    },
)


def _closed(world: World, day: int) -> dict[str, np.ndarray]:
    draw, everybody = world.draw(80, day), np.arange(world.n)
    who = everybody[world.member(day) & (world.deal[:, day] >= 0)]
    m, goal = len(who), world.deal[who, day].astype(int)
    amount = np.exp(draw.normal(12.7, 0.35, m) + world.growth(who, day) * 0.5) * np.array([1, 1, 0.6, 0.7])[goal]
    fee = 0.01 * amount * np.where(draw.random(m) < 0.02, -1, 1)
    other = draw.random(m) < 0.35
    agent = np.where(other, draw.integers(0, 150, m), who * 7 % 150)
    return {
        "user": who,
        "goal": goal,
        "amount": amount.round(0),
        "fee": fee.round(2),
        "days": draw.gamma(6, np.where(goal == 2, 4.0, 6.5), m).astype(int),
        "financed": (goal == 2) | (draw.random(m) < 0.7),
        "agent": np.where(draw.random(m) < 0.04, -1, agent),
        "rating": np.clip(draw.normal(4.2 - 0.5 * other, 0.7, m), 1, 5).round(1),
        "late": np.where(draw.random(m) < 1 / 40, draw.integers(1, 6, m), 0),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``transactions``: about 1,100 deals of three years at scale 1."""
    made = world(scale, seed, last_day(end))
    rows = days_of(lambda day: _closed(made, day), range(made.last - PAST + 1, made.last + 1))
    columns = {
        "transaction_id": pl.col("id"),
        "user_id": name_of(made.ids),
        "closed_on": on(),
        "transaction_type": pl.col("goal").replace_strict(range(4), GOALS, return_dtype=pl.String),
        "amount": pl.col("amount"),
        "fee": pl.col("fee"),
        "days_to_close": pl.col("days"),
        "financed": pl.col("financed"),
        "agent_id": pl.when(pl.col("agent") >= 0).then(pl.format("agent_{}", pl.col("agent"))),
        "agent_rating": pl.col("rating"),
    }
    return {"transactions": rows.filter(pl.col("day") + pl.col("late") <= made.last).select(**columns)}
