"""Alerts that the platform sends: to everybody alike; whether one is opened depends on whether it is about what the
user intends (``_world.py``), and on his attentiveness. One row an event: nothing is known before it happened."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import World, at, days_of, last_day, name_of, world

from karat.declare import Column, GoldTable, fresh, volume

TOPICS = ("listing", "value", "rate", "rental")
EVENTS = ("sent", "opened", "dismissed")

alerts = GoldTable(
    name="alerts",
    description="One row an alert sent, opened or dismissed, when that happened",
    owner="roi-analytics",
    key=("event_id",),
    event_time="happened_at",
    cluster_by=("user_id",),
    checks=(fresh("3d", on_fail="warn"), volume(fall=0.8, rise=4, on_fail="warn")),
    columns={
        "event_id": Column(dtype="int64", description="Event"),
        "user_id": Column(dtype="string", nullable=False, description="To whom"),
        "happened_at": Column(dtype="timestamp", nullable=False, description="When"),
        "event": Column(dtype="string", nullable=False, allowed=EVENTS, description="sent, opened or dismissed"),
        "topic": Column(dtype="string", allowed=TOPICS, description="listing, value, rate or rental"),
    },
)


def _sent(world: World, day: int) -> dict[str, np.ndarray]:
    """The alerts of a day, with what becomes of each within the hour."""
    draw = world.draw(55, day)
    who = np.repeat(np.arange(world.n), draw.poisson(0.2 * world.member(day)))
    m, state = len(who), world.state[who, day]
    topic = draw.integers(0, len(TOPICS), m)
    meant = (state > 0) & ((state - 1) % 4 == topic)
    opens = draw.random(m) < np.clip(
        0.1 + 0.35 * world.attention[who] + meant * np.where(state >= 5, 0.65, 0.4), 0, 0.95
    )
    second = draw.integers(7 * 3600, 22 * 3600, m)
    return {
        "user": who,
        "topic": topic,
        "second": second,
        "then": second + draw.integers(20, 3600, m),
        "what": np.where(opens, 1, np.where(draw.random(m) < 0.3, 2, 0)),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``alerts``: about 230,000 events of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    sent = days_of(lambda day: _sent(made, day), range(made.first, made.last + 1))
    reacted = sent.filter(pl.col("what") > 0).with_columns(second=pl.col("then"))
    rows = pl.concat([sent.with_columns(what=pl.lit(0, dtype=pl.Int64)), reacted])
    columns = {
        "event_id": pl.col("id") * 3 + pl.col("what"),
        "user_id": name_of(made.ids),
        "happened_at": at(),
        "event": pl.col("what").replace_strict(range(3), EVENTS, return_dtype=pl.String),
        "topic": pl.col("topic").replace_strict(range(4), TOPICS, return_dtype=pl.String),
    }
    return {"alerts": rows.select(**columns).sort("happened_at", "event_id")}
