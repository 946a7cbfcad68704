"""Documents opened. Their number follows intent, their types the goal and the user's own taste (``_world.py``): who
means to sell looks at valuations, who refinances at loans. Rows that real systems have: accesses that arrive one to
three days late (one in 200), durations that got lost (one in 60), a document left open over night (one in 400)."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import World, at, days_of, last_day, leaning, name_of, seconds_around, world

from karat.declare import Column, GoldTable, fresh, not_null, volume

TYPES = ("listing", "valuation", "loan", "disclosure", "tax", "title")
ACTIONS = ("view", "download", "share")
_USUAL = np.array([0.2, 0.2, 0.18, 0.1, 0.2, 0.12])
_TOWARDS = np.array([[8, 1, 1, 4, 1, 1], [1, 12, 1, 2, 1, 3], [1, 1, 16, 1, 1, 1], [2, 1, 1, 1, 12, 1]], float)

document_access = GoldTable(
    name="document_access",
    description="One row a document opened, downloaded or passed on by a user",
    owner="roi-analytics",
    key=("access_id",),
    event_time="accessed_at",
    cluster_by=("user_id",),
    checks=(
        not_null("seconds", at_most=0.1, on_fail="warn", description="What has no duration is in no mean"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "access_id": Column(dtype="int64", description="Access"),
        "user_id": Column(dtype="string", nullable=False, description="Who"),
        "accessed_at": Column(dtype="timestamp", nullable=False, description="When it began"),
        "document_type": Column(dtype="string", allowed=TYPES, description="What the document is about"),
        "action": Column(dtype="string", allowed=ACTIONS, description="view, download or share"),
        "seconds": Column(dtype="float64", minimum=0, description="How long it was open"),
    },
)


def _accesses(world: World, taste: np.ndarray, day: int) -> dict[str, np.ndarray]:
    draw = world.draw(40, day)
    who = np.repeat(np.arange(world.n), draw.poisson(0.10 * world.activity(day)))
    m, state = len(who), world.state[who, day]
    hour, _ = world.habits(day)
    seconds = draw.lognormal(4.2 + 0.25 * (state >= 5), 0.8, m) * np.where(draw.random(m) < 1 / 400, 300, 1)
    return {
        "user": who,
        "second": seconds_around(draw, hour[who]),
        "type": leaning(draw, state, taste[who], _USUAL, _TOWARDS),
        "action": np.searchsorted([0.75, 0.94], draw.random(m) - 0.12 * (state >= 5)),
        "seconds": np.where(draw.random(m) < 1 / 60, np.nan, seconds.round(1)),
        "late": np.where(draw.random(m) < 0.005, draw.integers(1, 4, m), 0),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``document_access``: about 130,000 rows of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    taste = np.exp(made.draw(41).normal(0, 0.3, (made.n, len(TYPES))))
    rows = days_of(lambda day: _accesses(made, taste, day), range(made.first, made.last + 1))
    columns = {
        "access_id": pl.col("id"),
        "user_id": name_of(made.ids),
        "accessed_at": at(),
        "document_type": pl.col("type").replace_strict(range(len(TYPES)), TYPES, return_dtype=pl.String),
        "action": pl.col("action").replace_strict(range(3), ACTIONS, return_dtype=pl.String),
        "seconds": pl.col("seconds").fill_nan(None),
    }
    return {"document_access": rows.filter(pl.col("day") + pl.col("late") <= made.last).select(**columns)}
