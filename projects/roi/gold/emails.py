"""E-mails: sent early in the morning, opened by habit. About one in three days brings a user an e-mail; whether he
opens it is his attentiveness, when (the same day or one of the six after it, and the hour) his habits (``_world.py``);
whether he follows a link depends on what he intends. One row an event, so that nothing is known before it happened. One
open in 50 is that of a machine, seconds after the sending."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import (
    MACHINES,
    SENT,
    World,
    at,
    days_of,
    last_day,
    name_of,
    seconds_around,
    weekday,
    world,
)

from karat.declare import Column, GoldTable, fresh, volume

EVENTS = ("sent", "opened", "clicked")

email_engagement = GoldTable(
    name="email_engagement",
    description="One row an e-mail sent, opened or followed by a click, when that happened",
    owner="roi-analytics",
    key=("event_id",),
    event_time="happened_at",
    cluster_by=("user_id",),
    checks=(fresh("3d", on_fail="warn"), volume(fall=0.8, rise=4, on_fail="warn")),
    columns={
        "event_id": Column(dtype="int64", description="Event"),
        "user_id": Column(dtype="string", nullable=False, description="To whom"),
        "happened_at": Column(dtype="timestamp", nullable=False, description="When"),
        "event": Column(dtype="string", nullable=False, allowed=EVENTS, description="sent, opened or clicked"),
        "email_id": Column(dtype="int64", description="Which e-mail"),
    },
)


def _sent(world: World, day: int) -> dict[str, np.ndarray]:
    """The e-mails of a day, with all that becomes of them."""
    draw = world.draw(45, day)
    who = np.repeat(np.arange(world.n), draw.poisson(SENT * world.member(day)))
    m = len(who)
    hour, shares = world.habits(day)
    # Which weekday, then how many days from today that is: the share of a weekday is that of its opens.
    chosen = (draw.random(m)[:, None] > np.cumsum(shares[who], axis=1)).sum(1).clip(0, 6) + 1
    after, machine = (chosen - weekday(day)) % 7, draw.random(m) < MACHINES * world.attention[who]
    sent = draw.integers(4 * 3600, 5 * 3600, m)
    opened = np.where(machine, sent + 5, seconds_around(draw, hour[who]))
    after = np.where(machine, 0, after)
    curious = 0.08 + 0.10 * (world.state[who, day] >= 1) + 0.18 * (world.state[who, day] >= 5)
    return {
        "user": who,
        "sent": sent,
        "opened": opened,
        "after": after,
        "opens": machine | (draw.random(m) < world.attention[who]),
        "clicks": ~machine & (draw.random(m) < curious),
        "pause": draw.integers(10, 400, m),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``email_engagement``: about 370,000 events of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    # Those of the week before are opened in the sample's first days.
    mails = days_of(lambda day: _sent(made, day), range(made.first - 6, made.last + 1))
    opened = mails.filter("opens").with_columns(pl.col("day") + pl.col("after"), second=pl.col("opened"))
    parts = [
        mails.with_columns(second=pl.col("sent"), what=pl.lit(0)),
        opened.with_columns(what=pl.lit(1)),
        opened.filter("clicks").with_columns(
            second=(pl.col("opened") + pl.col("pause")).clip(0, 86_399), what=pl.lit(2)
        ),
    ]
    rows = pl.concat([part.select("id", "user", "day", "second", "what") for part in parts])
    columns = {
        "event_id": pl.col("id") * 3 + pl.col("what"),
        "user_id": name_of(made.ids),
        "happened_at": at(),
        "event": pl.col("what").replace_strict(range(3), EVENTS, return_dtype=pl.String),
        "email_id": pl.col("id"),
    }
    return {
        "email_engagement": rows.filter(pl.col("day").is_between(made.first, made.last))
        .select(**columns)
        .sort("happened_at", "event_id")
    }
