"""What the planted truth itself would answer, for evaluation alone: the chances and the value that follow from the
hidden state of a user (``_world.py``) at the end of each day on which his home is valued.

- ``move``: that he closes a BUY or SELL within the 60 days after; ``buy`` to ``investment``: that his next deal is of
  this type, given that there is one within 60 days. Exact: the chain of states, day by day backwards.
- ``value``: the valuation 91 days later, from the value and the drift of that day.
- ``monday`` to ``after_18``: that he opens an e-mail on that weekday, at that time of day, within the 28 days after,
  from the habits of that day.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import (
    ADVANCE,
    BEGIN,
    BEYOND,
    CLOSE,
    DROP,
    GIVE_UP,
    HISTORY,
    MACHINES,
    MEAN_DRIFT,
    MOVES,
    REVERTS,
    SENT,
    World,
    days_of,
    goal_shares,
    last_day,
    name_of,
    on,
    season,
    world,
)
from karat_projects.roi.gold._world_homes import homes

from karat.declare import Column, GoldTable

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: Parts of the day, each up to the hour at which the next begins.
PARTS = {"before_9": 9, "from_9": 12, "from_12": 15, "from_15": 18, "after_18": 24}
TYPES = ("buy", "sell", "refinance", "investment")

expected = GoldTable(
    name="expected",
    description="Sample data alone: what follows from the hidden state of a user on a day on which his home is valued",
    owner="roi-analytics",
    key=("user_id", "day"),
    event_time="day",
    truth=True,
    columns={
        "user_id": Column(dtype="string", description="User"),
        "day": Column(dtype="date", description="At the end of which day"),
        "move": Column(dtype="float64", description="Chance to buy or sell within 60 days"),
        **{t: Column(dtype="float64", description=f"Chance that the next deal is of type {t}") for t in TYPES},
        "value": Column(dtype="float64", description="Expected valuation 91 days later, in dollars"),
        **{
            n: Column(dtype="float64", description=f"Chance of an opened e-mail within 28 days: {n}")
            for n in (*WEEKDAYS, *PARTS)
        },
    },
)


def chances(world: World, horizon: int, ends: tuple[int, ...]) -> np.ndarray:
    """(HISTORY, classes, states, goals): the chance that within ``horizon`` days from the end of each day a deal of the
    goal is closed; the first of the goals ``ends`` ends it."""
    days = np.arange(world.first, world.first + HISTORY + BEYOND)
    begin = (BEGIN * season(days)[:, None])[1:, :, None]
    goals, closed = goal_shares(world.rate[days])[1:], np.eye(4)
    out = np.zeros((len(days), len(BEGIN), 9, 4))
    for _ in range(horizon):
        then, out = out[1:], np.zeros_like(out)
        dormant, considers, active = then[:, :, :1], then[:, :, 1:5], then[:, :, 5:]
        out[:-1, :, 0] = (1 - begin) * then[:, :, 0] + begin * np.einsum("dg,dkgt->dkt", goals, considers)
        out[:-1, :, 1:5] = ADVANCE * active + DROP * dormant + (1 - ADVANCE - DROP) * considers
        out[:-1, :, 5:] = (1 - CLOSE - GIVE_UP) * active + GIVE_UP * dormant
        for goal in range(4):
            out[:-1, :, 5 + goal] += CLOSE * (closed[goal] if goal in ends else dormant[:, :, 0])
    return out[:HISTORY]


def _ahead(days: int) -> tuple[float, float]:
    """What the drift of today adds to the level in so many days: constant, and factor."""
    kept = float(((1 - REVERTS) ** np.arange(1, days + 1)).sum())
    return MEAN_DRIFT * (days - kept), kept


def _opens(world: World, who: np.ndarray, day: int) -> dict[str, np.ndarray]:
    """Poisson: e-mails of 28 days, opened by habit, or by a machine on the day of the sending."""
    hour, shares = world.habits(day)
    machine = MACHINES * world.attention[who]
    by_hand, sent = (1 - machine) * world.attention[who], 28 * SENT
    on_days = {d: by_hand * shares[who, i] + machine / 7 for i, d in enumerate(WEEKDAYS)}
    by = [np.zeros(len(who)), *(_until(end, hour[who]) for end in PARTS.values())]
    at_times = {p: by_hand * (by[i + 1] - by[i]) + (machine if i == 0 else 0) for i, p in enumerate(PARTS)}
    return {name: 1 - np.exp(-sent * rate) for name, rate in (on_days | at_times).items()}


def _until(end: int, hour: np.ndarray) -> np.ndarray:
    """The share of what is done around ``hour`` that is done before ``end``."""
    if end == 24:
        return np.ones(len(hour))
    return 0.5 * (1 + np.array([math.erf(z) for z in (end - hour) / (2.5 * math.sqrt(2))]))


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``expected``: one row for each that ``properties`` has or lacks."""
    made = world(scale, seed, last_day(end))
    moves, deals = chances(made, 60, MOVES), chances(made, 60, (0, 1, 2, 3))
    like = homes(made)["base"]
    constant, factor = _ahead(91)

    def rows(day: int) -> dict[str, np.ndarray]:
        everybody = np.arange(made.n)
        who = everybody[made.member(day) & ((day + everybody) % 7 == 0)]
        at = (day - made.first, made.mobility[who], made.state[who, day])
        types = deals[at]
        ahead = constant + factor * made.drift[made.market[who], day]
        value = like[who, made.home(who, day)] * np.exp(made.growth(who, day) + ahead)
        return {
            "user": who,
            "move": moves[at][:, list(MOVES)].sum(1),
            **{t: types[:, i] / types.sum(1) for i, t in enumerate(TYPES)},
            "value": value,
            **_opens(made, who, day),
        }

    frame = days_of(rows, range(made.first, made.last + 1))
    return {"expected": frame.with_columns(user_id=name_of(made.ids), day=on()).select(*expected.columns)}
