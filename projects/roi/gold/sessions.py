"""Sessions on the platform. Their number and length follow intent, their hour the user's habits (``_world.py``). Rows
that real systems have: sessions of no length (a page opened by mistake), lengths that got lost (one in 80)."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import World, at, days_of, last_day, name_of, seconds_around, world

from karat.declare import Column, GoldTable, fresh, not_null, volume

platform_sessions = GoldTable(
    name="platform_sessions",
    description="One row a session of a user on the platform, once it is over",
    owner="roi-analytics",
    key=("session_id",),
    event_time="started_at",
    cluster_by=("user_id",),
    checks=(
        not_null("minutes", at_most=0.1, on_fail="warn"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "session_id": Column(dtype="int64", description="Session"),
        "user_id": Column(dtype="string", nullable=False, description="Who"),
        "started_at": Column(dtype="timestamp", nullable=False, description="When it began"),
        "minutes": Column(dtype="float64", minimum=0, description="How long it lasted"),
        "pages": Column(dtype="int64", minimum=0, description="Pages seen"),
        "device": Column(dtype="string", allowed=("mobile", "desktop"), description="mobile or desktop"),
    },
)


def _sessions(world: World, day: int) -> dict[str, np.ndarray]:
    draw = world.draw(50, day)
    who = np.repeat(np.arange(world.n), draw.poisson(0.10 * world.activity(day)))
    m, active = len(who), world.state[who, day] >= 5
    hour, _ = world.habits(day)
    minutes = draw.gamma(1.3, 5.0 + 2.0 * active, m) * (draw.random(m) > 0.03)
    return {
        "user": who,
        "second": seconds_around(draw, hour[who], 3.0),
        "minutes": np.where(draw.random(m) < 1 / 80, np.nan, minutes.round(2)),
        "pages": 1 + draw.poisson(0.6 * minutes),
        "mobile": draw.random(m) < 0.55,
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``platform_sessions``: about 150,000 rows of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    rows = days_of(lambda day: _sessions(made, day), range(made.first, made.last + 1))
    columns = {
        "session_id": pl.col("id"),
        "user_id": name_of(made.ids),
        "started_at": at(),
        "minutes": pl.col("minutes").fill_nan(None),
        "pages": pl.col("pages"),
        "device": pl.when("mobile").then(pl.lit("mobile")).otherwise(pl.lit("desktop")),
    }
    return {"platform_sessions": rows.select(**columns)}
