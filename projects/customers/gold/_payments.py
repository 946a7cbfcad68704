"""The world of the card payments: customers, terminals, and what is done to them; told in ``transactions.py``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

CUSTOMERS = 1000
TERMINALS = 800
#: A terminal's customers live near by: each customer knows this many.
NEAR = 25
KNOWN_AFTER = 7
EPOCH = date(2000, 1, 1)
A_DAY = 86_400
#: Customers live and terminals are tampered with in blocks of so many days.
_BLOCK = 28
#: How often a terminal is tampered with in a block (attended or not), for how many days at least, and which share of
#: its payments then.
HIT, SHORTEST, STRENGTH = (0.02, 0.06), 7, (0.2, 0.8)
#: How a customer's payments fall on the terminals near by and on the hours; payments a day by a thief, by testers.
NEAREST, HOURS, THIEF, TESTER = 0.2, 3.5, 1.2, 0.002


@dataclass(frozen=True)
class World:
    """What customers and terminals are like: arrays by customer, but ``near`` (customer, NEAR), and by
    terminal ``place`` (terminal, 2), ``unattended`` and ``hit``, how often it is tampered with in a block."""

    seed: int
    rate: np.ndarray
    usual: np.ndarray
    spread: np.ndarray
    hour: np.ndarray
    born: np.ndarray
    gone: np.ndarray
    near: np.ndarray
    place: np.ndarray
    unattended: np.ndarray
    hit: np.ndarray

    @property
    def terminals(self) -> int:
        return len(self.place)


def _draw(seed: int, *what: int) -> np.random.Generator:
    return np.random.default_rng([seed, *what])


def make_world(scale: float, seed: int) -> World:
    draw = _draw(seed, 1)
    n, terminals = max(20, round(CUSTOMERS * scale)), max(NEAR, round(TERMINALS * scale))
    home, place = draw.random((n, 2)), draw.random((terminals, 2))
    distance = ((home[:, None] - place[None]) ** 2).sum(2)
    # One in four lives a while only: days since 2000, modulo a cycle so that at any end some come and go.
    short = draw.random(n) < 0.25
    unattended = _draw(seed, 5).random(terminals) < 0.25
    return World(
        seed=seed,
        rate=draw.gamma(2.5, 0.7, n),
        usual=np.exp(draw.normal(3.6, 0.7, n)),
        spread=draw.uniform(0.3, 0.7, n),
        hour=draw.normal(14, 2.5, n),
        born=np.where(short, draw.integers(0, 365, n), 0),
        gone=np.where(short, draw.integers(60, 300, n), 366),
        near=np.argsort(distance, axis=1)[:, :NEAR],
        place=place,
        unattended=unattended,
        hit=np.where(unattended, HIT[1], HIT[0]),
    )


@dataclass(frozen=True)
class Attacks:
    """What is done to the terminals in a block of days: arrays by terminal."""

    hit: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    strength: np.ndarray

    def on(self, day: int) -> np.ndarray:
        return self.hit & (self.begin <= day) & (day < self.begin + self.length)


def _attacks(world: World, day: int) -> tuple[Attacks, Attacks]:
    """Those of the block before and of the block that the day is in: of two at once the latter counts."""
    return _attacks_of(world, day // _BLOCK - 1), _attacks_of(world, day // _BLOCK)


def _attacks_of(world: World, block: int) -> Attacks:
    draw, n = _draw(world.seed, 2, block), world.terminals
    return Attacks(
        hit=draw.random(n) < world.hit,
        begin=block * _BLOCK + draw.integers(0, _BLOCK, n),
        length=draw.integers(SHORTEST, _BLOCK + 1, n),
        strength=draw.uniform(*STRENGTH, n),
    )


def _tampered(world: World, day: int) -> np.ndarray:
    """The share of copied cards at each terminal on a day: (terminals,)."""
    share = np.zeros(world.terminals)
    for attacks in _attacks(world, day):
        share = np.where(attacks.on(day), attacks.strength, share)
    return share


def expected_share(world: World, day: int) -> np.ndarray:
    """The share of copied cards that is to be expected on a day by whoever knows the terminals' state of a week before,
    for later frauds are not known yet: (terminals,)."""
    begun = world.hit * KNOWN_AFTER / _BLOCK * np.mean(STRENGTH)
    share = begun
    for attacks in _attacks(world, day - KNOWN_AFTER):
        age = day - attacks.begin
        lasts = _lasts(age) / np.maximum(_lasts(age - KNOWN_AFTER), 1e-9)
        share = np.where(attacks.on(day - KNOWN_AFTER), attacks.strength * lasts + begun * (1 - lasts), share)
    return share


def _lasts(age: np.ndarray) -> np.ndarray:
    """The chance that an attack is longer than so many days."""
    return np.clip((_BLOCK - age) / (_BLOCK + 1 - SHORTEST), 0, 1)


def stolen(world: World, day: int) -> np.ndarray:
    """Which cards are in strange hands on a day: (customers,)."""
    n, out = len(world.rate), np.zeros(len(world.rate), dtype=bool)
    for block in (day // _BLOCK - 1, day // _BLOCK):
        draw = _draw(world.seed, 3, block)
        hit = draw.random(n) < 0.03
        begin = block * _BLOCK + draw.integers(0, _BLOCK, n)
        out |= hit & (begin <= day) & (day < begin + draw.integers(3, 15, n))
    return out


def own_rate(world: World, day: int) -> np.ndarray:
    """Payments to be expected of each customer on a day: (customers,)."""
    alive = (day - world.born) % 366 < world.gone
    quiet = 1.0 if (day + 5) % 7 < 5 else 0.7  # 2000-01-01 was a Saturday
    return world.rate * alive * quiet


def payments_of(world: World, day: int) -> pl.DataFrame:
    """All payments of a day, whenever they arrive: the columns of the table, ``late`` days, and ``cause``."""
    draw = _draw(world.seed, 4, day)
    n = len(world.rate)
    own = np.repeat(np.arange(n), draw.poisson(own_rate(world, day)))
    thief = np.repeat(np.arange(n), draw.poisson(THIEF * stolen(world, day)))
    tester = draw.integers(0, n, draw.poisson(TESTER * n))
    who = np.concatenate([own, thief, tester])
    cause = np.repeat(["", "stolen", "testing"], [len(own), len(thief), len(tester)]).astype("<U8")
    m = len(who)
    usual = world.usual[who] * np.exp(world.spread[who] * draw.normal(size=m) - world.spread[who] ** 2 / 2)
    factor = np.select([cause == "stolen", cause == "testing"], [draw.uniform(2, 8, m), draw.lognormal(-1, 2, m)], 1.0)
    near = world.near[who, np.minimum(draw.geometric(NEAREST, m) - 1, NEAR - 1)]
    terminal = np.where(cause == "", near, draw.integers(0, world.terminals, m))
    hours = np.where(cause == "", world.hour[who] + draw.normal(0, HOURS, m), draw.uniform(0, 24, m)) % 24
    cause = np.where((cause == "") & (draw.random(m) < _tampered(world, day)[terminal]), "skimmed", cause)
    amount = np.maximum(usual * factor, 0.5).round(2)
    rows = pl.DataFrame(
        {
            "second": day * A_DAY + (hours * 3600).astype(np.int64),
            "customer_id": who.astype(np.int64),
            "terminal_id": terminal.astype(np.int64),
            "amount": pl.Series(amount).set(pl.Series(draw.random(m) < 0.001), None),
            "cause": cause,
            "late": np.where(draw.random(m) < 0.005, draw.integers(1, 4, m), 0),
        }
    )
    numbered = rows.sort("second", maintain_order=True).with_row_index("n")
    return numbered.with_columns(transaction_id=pl.col("n").cast(pl.Int64) + day * 10_000_000)
