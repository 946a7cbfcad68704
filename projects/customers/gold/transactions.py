"""Card payments, and a sample with a planted truth.

THE PLANTED TRUTH. A payment is a pure function of (seed, day, its place in the day): a later ``end`` adds days, the
payments that came late and the frauds that were found since, and changes nothing else. Every customer has a rate, a
usual amount, hours of the day and a home; a payment is made at one of the terminals nearest to it. Customers come and
go. Frauds have three hidden causes, and the label is the cause, never a rule over what can be seen:

- ``skimmed``: a terminal is tampered with for one to four weeks; while it lasts, a share of its payments that is the
  terminal's own (20 % to 80 %) is made with copied cards. Their amounts are as usual: only the terminal's past tells.
- ``stolen``: a card is in strange hands for three to fourteen days: besides its owner's payments there are others,
  at any hour and any terminal, of two to eight times the usual amount.
- ``testing``: single payments with stolen numbers, at any hour, mostly small, some very large: hardly to be found.

Whether a payment was a fraud is known seven days later: until then ``is_fraud`` is null. Rows that real systems have:
payments that arrive one to three days late (one in 200), amounts that got lost (one in 1,000).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable, fresh, not_null, volume

HISTORY = 90
CUSTOMERS = 1000
TERMINALS = 800
#: A terminal's customers live near by: each customer knows this many.
NEAR = 25
KNOWN_AFTER = 7
_EPOCH = date(2000, 1, 1)
_A_DAY = 86_400
#: Customers live and terminals are tampered with in blocks of so many days.
_BLOCK = 28

transactions = GoldTable(
    name="transactions",
    description="One row a card payment; whether it was a fraud is known a week later",
    owner="customer-analytics",
    key=("transaction_id",),
    event_time="tx_time",
    checks=(
        not_null("amount", at_most=0.05, on_fail="warn", description="What has no amount is in no mean"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "transaction_id": Column(dtype="int64", description="Payment"),
        "tx_time": Column(dtype="timestamp", nullable=False, description="When it was made"),
        "customer_id": Column(dtype="int64", nullable=False, description="Whose card"),
        "terminal_id": Column(dtype="int64", nullable=False, description="Where it was made"),
        "amount": Column(dtype="float64", minimum=0, description="In dollars"),
        "is_fraud": Column(dtype="bool", description="Whether it was a fraud; null until that is known"),
    },
)


@dataclass(frozen=True)
class _World:
    """What customers and terminals are like: arrays by customer, but ``near`` (customer, NEAR) and ``skimmed``."""

    seed: int
    rate: np.ndarray
    usual: np.ndarray
    spread: np.ndarray
    hour: np.ndarray
    born: np.ndarray
    gone: np.ndarray
    near: np.ndarray
    terminals: int


def _draw(seed: int, *what: int) -> np.random.Generator:
    return np.random.default_rng([seed, *what])


def _world(scale: float, seed: int) -> _World:
    draw = _draw(seed, 1)
    n, terminals = max(20, round(CUSTOMERS * scale)), max(NEAR, round(TERMINALS * scale))
    home, place = draw.random((n, 2)), draw.random((terminals, 2))
    distance = ((home[:, None] - place[None]) ** 2).sum(2)
    # One in four lives a while only: days since 2000, modulo a cycle so that at any end some come and go.
    short = draw.random(n) < 0.25
    return _World(
        seed=seed,
        rate=draw.gamma(2.5, 0.7, n),
        usual=np.exp(draw.normal(3.6, 0.7, n)),
        spread=draw.uniform(0.3, 0.7, n),
        hour=draw.normal(14, 2.5, n),
        born=np.where(short, draw.integers(0, 365, n), 0),
        gone=np.where(short, draw.integers(60, 300, n), 366),
        near=np.argsort(distance, axis=1)[:, :NEAR],
        terminals=terminals,
    )


def _tampered(world: _World, day: int) -> np.ndarray:
    """The share of copied cards at each terminal on a day: (terminals,)."""
    share = np.zeros(world.terminals)
    for block in (day // _BLOCK - 1, day // _BLOCK):
        draw = _draw(world.seed, 2, block)
        hit = draw.random(world.terminals) < 0.03
        begin = block * _BLOCK + draw.integers(0, _BLOCK, world.terminals)
        length, strength = draw.integers(7, _BLOCK + 1, world.terminals), draw.uniform(0.2, 0.8, world.terminals)
        share = np.where(hit & (begin <= day) & (day < begin + length), strength, share)
    return share


def _stolen(world: _World, day: int) -> np.ndarray:
    """Which cards are in strange hands on a day: (customers,)."""
    n, out = len(world.rate), np.zeros(len(world.rate), dtype=bool)
    for block in (day // _BLOCK - 1, day // _BLOCK):
        draw = _draw(world.seed, 3, block)
        hit = draw.random(n) < 0.03
        begin = block * _BLOCK + draw.integers(0, _BLOCK, n)
        out |= hit & (begin <= day) & (day < begin + draw.integers(3, 15, n))
    return out


def _day(world: _World, day: int) -> pl.DataFrame:
    """All payments of a day, whenever they arrive: the columns of the table, ``late`` days, and ``cause``."""
    draw = _draw(world.seed, 4, day)
    n = len(world.rate)
    alive = (day - world.born) % 366 < world.gone
    quiet = 1.0 if (day + 5) % 7 < 5 else 0.7  # 2000-01-01 was a Saturday
    own = np.repeat(np.arange(n), draw.poisson(world.rate * alive * quiet))
    thief = np.repeat(np.arange(n), draw.poisson(1.2 * _stolen(world, day)))
    tester = draw.integers(0, n, draw.poisson(0.002 * n))
    who = np.concatenate([own, thief, tester])
    cause = np.repeat(["", "stolen", "testing"], [len(own), len(thief), len(tester)]).astype("<U8")
    m = len(who)
    usual = world.usual[who] * np.exp(world.spread[who] * draw.normal(size=m) - world.spread[who] ** 2 / 2)
    factor = np.select([cause == "stolen", cause == "testing"], [draw.uniform(2, 8, m), draw.lognormal(-1, 2, m)], 1.0)
    near = world.near[who, np.minimum(draw.geometric(0.12, m) - 1, NEAR - 1)]
    terminal = np.where(cause == "", near, draw.integers(0, world.terminals, m))
    hours = np.where(cause == "", world.hour[who] + draw.normal(0, 3.5, m), draw.uniform(0, 24, m)) % 24
    cause = np.where((cause == "") & (draw.random(m) < _tampered(world, day)[terminal]), "skimmed", cause)
    amount = np.maximum(usual * factor, 0.5).round(2)
    rows = pl.DataFrame(
        {
            "second": day * _A_DAY + (hours * 3600).astype(np.int64),
            "customer_id": who.astype(np.int64),
            "terminal_id": terminal.astype(np.int64),
            "amount": pl.Series(amount).set(pl.Series(draw.random(m) < 0.001), None),
            "cause": cause,
            "late": np.where(draw.random(m) < 0.005, draw.integers(1, 4, m), 0),
        }
    )
    numbered = rows.sort("second", maintain_order=True).with_row_index("n")
    return numbered.with_columns(transaction_id=pl.col("n").cast(pl.Int64) + day * 10_000_000)


def history(scale: float = 1.0, seed: int = 0, end: date | None = None) -> pl.DataFrame:
    """``transactions`` with two more columns: ``cause`` (empty, or of which kind a fraud is) and ``late`` (days)."""
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last, world = (end - _EPOCH).days, _world(scale, seed)
    rows = pl.concat(_day(world, day) for day in range(last - HISTORY + 1, last + 1))
    epoch = (_EPOCH - date(1970, 1, 1)).days * _A_DAY
    day = pl.col("second") // _A_DAY
    return rows.filter(day + pl.col("late") <= last).with_columns(
        tx_time=((pl.col("second") + epoch) * 1_000_000).cast(pl.Datetime("us", "UTC")),
        is_fraud=pl.when(day + KNOWN_AFTER <= last).then(pl.col("cause") != ""),
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``transactions`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default): about 140,000 at scale 1."""
    return {"transactions": history(scale, seed, end).select(*transactions.columns)}
