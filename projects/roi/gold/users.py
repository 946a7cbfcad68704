"""Accounts. What is hidden of their users, and how it comes out, is told in ``_world.py``: a snapshot shows only when
somebody signed up, his plan, and in which market he lives. One snapshot in 80 is lost."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import World, days_of, last_day, name_of, on, world

from karat.declare import Column, GoldTable, fresh, matches, volume

PLANS = ("homeowner", "investor", "agent")

users = GoldTable(
    name="users",
    description="One row an account and week: the account as it stood when the snapshot was taken",
    owner="roi-analytics",
    key=("user_id", "snapshot_on"),
    event_time="snapshot_on",
    cluster_by=("user_id",),
    checks=(
        matches("signed_up_on <= snapshot_on", description="Nobody is seen before he signs up"),
        fresh("3d", on_fail="warn"),
        volume(low=1, on_fail="warn"),
    ),
    columns={
        "user_id": Column(dtype="string", description="User"),
        "snapshot_on": Column(dtype="date", description="Day of the snapshot; each user has a weekday of his own"),
        "signed_up_on": Column(dtype="date", nullable=False, description="Day on which the account was opened"),
        "market_id": Column(dtype="string", description="Market of the user's home"),
        "plan": Column(dtype="string", allowed=PLANS, description="homeowner, investor or agent"),
    },
)


def _snapshots(world: World, day: int) -> dict[str, np.ndarray]:
    draw, everybody = world.draw(30, day), np.arange(world.n)
    seen = world.member(day) & ((day + everybody) % 7 == 0) & (draw.random(world.n) > 1 / 80)
    return {"user": everybody[seen], "signed": world.joined(day)[seen]}


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``users``: about 105,000 snapshots of 1,200 users in two years at scale 1; at least 60 users."""
    made = world(scale, seed, last_day(end))
    rows = days_of(lambda day: _snapshots(made, day), range(made.first, made.last + 1))
    plans = np.array(PLANS)[made.draw(31).choice(3, made.n, p=[0.8, 0.15, 0.05])]
    columns = {
        "user_id": name_of(made.ids),
        "snapshot_on": on(),
        "signed_up_on": on("signed"),
        "market_id": name_of(np.array([f"market_{m}" for m in made.market])),
        "plan": name_of(plans),
    }
    return {"users": rows.select(**columns)}
