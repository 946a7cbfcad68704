"""How likely a payment is to be a fraud, by Bayes' rule, for whoever knows the hidden states."""

from __future__ import annotations

import numpy as np
import polars as pl
from karat_projects.customers.gold._payments import (
    A_DAY,
    HOURS,
    NEAREST,
    TESTER,
    THIEF,
    World,
    expected_share,
    own_rate,
    stolen,
)

#: What a thief's amounts are of the usual one, as equally likely values.
_TIMES = np.linspace(2, 8, 25)


def with_chance(world: World, rows: pl.DataFrame, day: int) -> pl.DataFrame:
    """``rows`` of a day's payments with ``chance``: of how many a day that look like this one how many are frauds."""
    who, terminal = rows["customer_id"].to_numpy(), rows["terminal_id"].to_numpy()
    hour = (rows["second"].to_numpy() % A_DAY) / 3600
    amounts = _of_amount(world, who, rows["amount"].to_numpy())
    own = own_rate(world, day)[who] * amounts[0] * _of_hour(world, who, hour) * _of_terminal(world, who, terminal)
    anywhere = 1 / 24 / world.terminals
    strange = (THIEF * stolen(world, day)[who] * amounts[1] + TESTER * amounts[2]) * anywhere
    copied = own * expected_share(world, day)[terminal]
    return rows.with_columns(chance=pl.Series((copied + strange) / (own + strange)))


def _normal(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / spread) ** 2) / spread


def _of_amount(world: World, who: np.ndarray, amount: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How likely the amount is for its owner, a thief and testers; alike where it got lost."""
    spread, lost = world.spread[who], ~np.isfinite(amount)
    ratio = np.log(np.where(lost, 1, amount) / world.usual[who])
    usual = -(spread**2) / 2
    thief = _normal(ratio[:, None] - np.log(_TIMES), usual[:, None], spread[:, None]).mean(1)
    found = _normal(ratio, usual, spread), thief, _normal(ratio, usual - 1, np.sqrt(spread**2 + 4))
    return found[0] * ~lost + lost, found[1] * ~lost + lost, found[2] * ~lost + lost


def _of_hour(world: World, who: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """An hour's likelihood for the owner; the day goes round."""
    around = (_normal(hour + turn, world.hour[who], np.full(len(who), HOURS)) for turn in (-24, 0, 24))
    return np.sum(list(around), axis=0) / np.sqrt(2 * np.pi)


def _of_terminal(world: World, who: np.ndarray, terminal: np.ndarray) -> np.ndarray:
    """The nearer a terminal is, the likelier it is for the owner; the farthest gets the rest, all others nothing."""
    rank = np.arange(world.near.shape[1])
    share = NEAREST * (1 - NEAREST) ** rank
    share[-1] = (1 - NEAREST) ** rank[-1]
    return ((world.near[who] == terminal[:, None]) * share).sum(1)
