"""Searches. Their number follows intent, their kind the goal and the user's own taste (``_world.py``): who means to buy
looks for listings, who means to invest for rentals. One search in 100 names no price."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import World, at, days_of, last_day, leaning, name_of, seconds_around, world

from karat.declare import Column, GoldTable, fresh, volume

KINDS = ("listing", "valuation", "rate", "rental")
_USUAL = np.array([0.4, 0.25, 0.2, 0.15])
_TOWARDS = np.array([[12, 1, 1, 1], [1, 16, 1, 1], [1, 1, 16, 1], [1.5, 1, 1, 20]], float)

searches = GoldTable(
    name="searches",
    description="One row a search of a user on the platform",
    owner="roi-analytics",
    key=("search_id",),
    event_time="searched_at",
    cluster_by=("user_id",),
    checks=(fresh("3d", on_fail="warn"), volume(fall=0.8, rise=5, on_fail="warn")),
    columns={
        "search_id": Column(dtype="int64", description="Search"),
        "user_id": Column(dtype="string", nullable=False, description="Who"),
        "searched_at": Column(dtype="timestamp", nullable=False, description="When"),
        "kind": Column(dtype="string", allowed=KINDS, description="listing, valuation, rate or rental"),
        "price_limit": Column(dtype="float64", minimum=0, description="The dearest that is wanted, in dollars"),
        "saved": Column(dtype="bool", description="Whether the search was kept"),
    },
)


def _searches(world: World, taste: np.ndarray, day: int) -> dict[str, np.ndarray]:
    draw = world.draw(60, day)
    who = np.repeat(np.arange(world.n), draw.poisson(0.10 * world.activity(day)))
    m, state = len(who), world.state[who, day]
    hour, _ = world.habits(day)
    price = draw.lognormal(12.9, 0.5, m).round(-3)
    return {
        "user": who,
        "second": seconds_around(draw, hour[who], 3.0),
        "kind": leaning(draw, state, taste[who], _USUAL, _TOWARDS),
        "price": np.where(draw.random(m) < 0.01, np.nan, price),
        "saved": draw.random(m) < 0.08 + 0.12 * (state >= 5),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``searches``: about 80,000 rows of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    taste = np.exp(made.draw(61).normal(0, 0.3, (made.n, len(KINDS))))
    rows = days_of(lambda day: _searches(made, taste, day), range(made.first, made.last + 1))
    columns = {
        "search_id": pl.col("id"),
        "user_id": name_of(made.ids),
        "searched_at": at(),
        "kind": pl.col("kind").replace_strict(range(4), KINDS, return_dtype=pl.String),
        "price_limit": pl.col("price").fill_nan(None),
        "saved": pl.col("saved"),
    }
    return {"searches": rows.select(**columns)}
