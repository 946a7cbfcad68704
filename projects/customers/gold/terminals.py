"""Terminals at which cards are used, and a sample with a planted truth.

THE PLANTED TRUTH. The terminals are those of the payments in ``transactions.py``, where they stand. One in four is
unattended (a fuel pump, a parking meter), and these are tampered with three times as often as the others. What is sold
there says nothing.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.customers.gold._payments import make_world

from karat.declare import Column, GoldTable, volume

CATEGORIES = ("grocery", "fuel", "restaurant", "transport", "clothing", "electronics", "travel")

terminals = GoldTable(
    name="terminals",
    description="One row a card terminal, as it stands; no history",
    owner="customer-analytics",
    key=("terminal_id",),
    checks=(volume(low=10, on_fail="warn"),),
    columns={
        "terminal_id": Column(dtype="int64", description="As in transactions"),
        "x": Column(dtype="float64", minimum=0, maximum=1, description="Where it stands, eastwards, in shares of town"),
        "y": Column(dtype="float64", minimum=0, maximum=1, description="Where it stands, northwards"),
        "category": Column(dtype="string", allowed=CATEGORIES, description="What is sold there; null where not told"),
        "unattended": Column(dtype="bool", nullable=False, description="Whether nobody looks after it"),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``terminals`` of the payments of the same scale and seed: 800 at scale 1; ``end`` changes nothing."""
    world, draw = make_world(scale, seed), np.random.default_rng([seed, 6])
    n = world.terminals
    sold = np.array(CATEGORIES)[draw.integers(0, len(CATEGORIES), n)]
    frame = pl.DataFrame(
        {
            "terminal_id": np.arange(n),
            "x": world.place[:, 0].round(4),
            "y": world.place[:, 1].round(4),
            "category": pl.Series(sold).set(pl.Series(draw.random(n) < 0.03), None),
            "unattended": world.unattended,
        }
    )
    return {"terminals": frame}
