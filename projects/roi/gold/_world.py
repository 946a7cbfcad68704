"""The world behind the gold tables of roi: who people are, what they intend, what homes are worth.

THE PLANTED TRUTH. Everything is a pure function of (seed, day): a later ``end`` adds days, and the rows that came late,
and changes nothing else. No gold table shows what is hidden here; each shows something of it, with noise.

- **Intent.** Each user is dormant, considers one of four goals (BUY, SELL, REFINANCE, INVESTMENT) or pursues it
  actively; day by day the state changes by chance (``BEGIN``, ``ADVANCE``, ``DROP``, ``CLOSE``, ``GIVE_UP``). A user
  begins the more often the more mobile he is (three hidden classes), in spring half as often again as the year's mean,
  in autumn half as often. Which goal he takes depends on the mortgage rate of that day: when it is low, many refinance.
  Transactions come from the active state alone: who moves (BUY, SELL) and which type comes first are drawn there.
- **Activity.** What a user does a day is Poisson: his own eagerness, times ``LEVEL`` of his state (dormant 1,
  considering 3, active 7), times a mood that lasts 28 days (log-normal), less at weekends. What it is about (type
  of document, kind of search, which alerts are opened) leans to his goal, and to a taste of his own.
- **Habits.** A user opens e-mails around his hour and his weekday; every 200 days two users in five change them. Opens
  depend on habits and attentiveness, not on intent.
- **Values.** A home's value is its base, times the level of its market, times its own wander (a random walk). A
  market's level drifts: the drift reverts to its mean within some 150 days, so it says something of the next three
  months. A valuation misses the value by half a percent.
- One user in five stays for 200 to 600 days of every 900 only; others sign up as time goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
import polars as pl

EPOCH = date(2016, 1, 1)
#: Days of the sample; of transactions a year more.
HISTORY, PAST = 730, 1095
#: Days after the sample's last that the world lives on, for what the truth expects of them.
BEYOND = 100
USERS = 1200
#: Users that the documents' examples ask for.
KNOWN = ("user_1", "user_2", "user_123", "test_user")
GOALS = ("BUY", "SELL", "REFINANCE", "INVESTMENT")
MOVES = (0, 1)
MARKETS = 8
#: Chances a day: to begin (by class), from considering to active, to drop it, to close the deal, to give up.
BEGIN = np.array([0.0008, 0.0028, 0.0065])
ADVANCE, DROP, CLOSE, GIVE_UP = 0.022, 0.010, 0.020, 0.010
#: State 0 is dormant, 1 to 4 consider a goal, 5 to 8 pursue it.
LEVEL = np.array([1.0, *[3.0] * 4, *[7.0] * 4])
MEAN_DRIFT, REVERTS, SHOCK = 0.00012, 1 / 150, 0.000035
WANDER, MISS = 0.0006, 0.005
RATE_MEAN, RATE_REVERTS, RATE_SHOCK = 0.06, 1 / 250, 0.0006
#: E-mails a user and day; the share of openings that are machines'.
SENT, MACHINES = 0.35, 0.02
_HABIT_DAYS, _MOOD_DAYS = 200, 28
#: So many homes a user can move through, one after the other.
HOMES = 6


@dataclass(frozen=True)
class World:
    """n users over T days since ``EPOCH``, ``BEYOND`` more than the sample's last; the sample is ``first`` to ``last``.

    ``state`` (n, T), ``deal`` (n, T) the goal that closed on the day or -1, ``wander`` (n, T), ``level`` and ``drift``
    (MARKETS, T), ``rate`` and ``unemployment`` (T,).
    """

    seed: int
    last: int
    ids: np.ndarray
    mobility: np.ndarray
    eagerness: np.ndarray
    attention: np.ndarray
    market: np.ndarray
    signed: np.ndarray
    lives: np.ndarray
    state: np.ndarray
    deal: np.ndarray
    wander: np.ndarray
    level: np.ndarray
    drift: np.ndarray
    rate: np.ndarray
    unemployment: np.ndarray

    @property
    def first(self) -> int:
        return self.last - HISTORY + 1

    @property
    def n(self) -> int:
        return len(self.ids)

    def draw(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *what])

    def joined(self, day: int) -> np.ndarray:
        """(n,): the day on which each signed up, for the last time if he came and went."""
        again = self.signed + (day - self.signed) // 900 * 900
        return np.where(self.lives > 0, again, self.signed)

    def member(self, day: int) -> np.ndarray:
        """(n,): who has an account."""
        since = day - self.joined(day)
        return (since >= 0) & ((self.lives == 0) | (since < self.lives))

    def activity(self, day: int) -> np.ndarray:
        """(n,): how much more or less than usual each does on a day; 0 who has no account."""
        mood = np.exp(self.draw(20, day // _MOOD_DAYS).normal(0, 0.25, self.n))
        rest = 0.6 if weekday(day) > 5 else 1.15
        return self.member(day) * self.eagerness * LEVEL[self.state[:, day]] * mood * rest

    def habits(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) and (n, 7): the usual hour, and each weekday's share of what a user does by habit."""
        usual = self.draw(21)
        begins = usual.integers(0, _HABIT_DAYS, self.n)
        base = np.clip(usual.normal(14, 3.5, self.n), 8, 20), usual.uniform(0.5, 7.5, self.n)
        block = (day + begins) // _HABIT_DAYS
        hour, center = (b.copy() for b in base)
        for number in np.unique(block):
            new = self.draw(22, int(number))
            changed = (new.random(self.n) < 0.4) & (block == number)
            hour = np.where(changed, np.clip(new.normal(14, 3.5, self.n), 8, 20), hour)
            center = np.where(changed, new.uniform(0.5, 7.5, self.n), center)
        shares = np.exp(-((np.arange(1, 8) - center[:, None]) ** 2) / (2 * 1.4**2))
        return hour, shares / shares.sum(1, keepdims=True)

    @cached_property
    def moved(self) -> np.ndarray:
        """(n, T): how often each had moved by the end of a day."""
        return np.cumsum(np.isin(self.deal, MOVES), axis=1, dtype=np.int16)

    @cached_property
    def bought(self) -> np.ndarray:
        """(n, T): the day on which each bought the home in which he lives."""
        before = -self.draw(23).integers(30, 3600, self.n)
        return _latest(np.isin(self.deal, MOVES), before)

    @cached_property
    def mortgaged(self) -> np.ndarray:
        """(n, T): the day on which the mortgage on that home began."""
        return np.maximum(self.bought, _latest(self.deal == GOALS.index("REFINANCE"), np.full(self.n, -9999)))

    def home(self, who: np.ndarray, day: int) -> np.ndarray:
        """Which of his ``HOMES`` each of ``who`` lives in."""
        return self.moved[who, day] % HOMES

    def growth(self, who: np.ndarray, day: int | np.ndarray) -> np.ndarray:
        """Logarithm of what the value of the homes of ``who`` has grown by since the epoch; negative before it."""
        known = np.maximum(day, 0)
        return self.level[self.market[who], known] + self.wander[who, known] + MEAN_DRIFT * np.minimum(day, 0)


def _latest(happened: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(n, T): the latest day up to each on which it happened, ``before`` where it had not."""
    days = np.where(happened, np.arange(happened.shape[1], dtype=np.int32), before[:, None].astype(np.int32))
    return np.maximum.accumulate(days, axis=1)


def weekday(day: int) -> int:
    """1 Monday to 7 Sunday."""
    return (day + EPOCH.isoweekday() - 1) % 7 + 1


def season(day: int | np.ndarray) -> np.ndarray:
    """How busy the market is: most at the end of April, 1 on the mean."""
    return 1 + 0.5 * np.cos(2 * np.pi * (np.asarray(day) - 113) / 365.25)


def goal_shares(rate: float | np.ndarray) -> np.ndarray:
    """(..., 4): which goal one takes who begins while mortgages cost ``rate``."""
    rate = np.asarray(rate, dtype=float)
    weights = np.stack([0.34 + 0 * rate, 0.26 + 0 * rate, 0.22 * np.exp((RATE_MEAN - rate) / 0.02), 0.18 + 0 * rate])
    return np.moveaxis(weights / weights.sum(0), 0, -1)


def last_day(end: date | None) -> int:
    return ((end or datetime.now(UTC).date() - timedelta(days=1)) - EPOCH).days


@lru_cache(maxsize=2)
def world(scale: float, seed: int, last: int) -> World:
    """At least 60 users; the days up to ``last`` are the same whatever ``last`` is."""
    n, draw = max(60, round(USERS * scale)), np.random.default_rng([seed, 1])
    known = np.arange(n) < len(KNOWN)
    others = [f"user_{k}" for k in range(1, n + len(KNOWN)) if f"user_{k}" not in KNOWN]
    mobility = draw.choice(3, n, p=[0.4, 0.4, 0.2])
    eagerness, attention = draw.gamma(8, 1 / 8, n), np.clip(draw.beta(2, 3, n), 0.05, 0.95)
    market, lives = draw.integers(0, MARKETS, n), np.where(draw.random(n) < 0.2, draw.integers(200, 600, n), 0)
    signed = draw.integers(-1000, 3400, n)
    return World(
        seed=seed,
        last=last,
        ids=np.array([*KNOWN, *others][:n]),
        mobility=mobility,
        eagerness=eagerness,
        attention=attention,
        market=market,
        signed=np.where(known, signed.clip(max=0), signed),
        lives=np.where(known, 0, lives),
        **_lived(seed, mobility, last + BEYOND + 1),
    )


def _lived(seed: int, mobility: np.ndarray, days: int) -> dict[str, np.ndarray]:
    """What happens day by day from the epoch on."""
    n = len(mobility)
    state, deal = np.zeros((n, days), dtype=np.int8), np.full((n, days), -1, dtype=np.int8)
    wander, drift = np.zeros((n, days)), np.full((MARKETS, days), MEAN_DRIFT)
    rate, unemployment = np.full(days, RATE_MEAN), np.full(days, 4.5)
    for day in range(1, days):
        draw = np.random.default_rng([seed, 2, day])
        rate[day] = rate[day - 1] + RATE_REVERTS * (RATE_MEAN - rate[day - 1]) + RATE_SHOCK * draw.normal()
        unemployment[day] = unemployment[day - 1] + (4.5 - unemployment[day - 1]) / 300 + 0.04 * draw.normal()
        pull = REVERTS * (MEAN_DRIFT - drift[:, day - 1])
        drift[:, day] = drift[:, day - 1] + pull + SHOCK * draw.normal(size=MARKETS)
        wander[:, day] = wander[:, day - 1] + WANDER * draw.normal(size=n)
        state[:, day], deal[:, day] = _next(
            state[:, day - 1], BEGIN[mobility] * season(day), rate[day], *draw.random((2, n))
        )
    return {
        "state": state,
        "deal": deal,
        "wander": wander,
        "level": np.cumsum(drift, axis=1),
        "drift": drift,
        "rate": rate.clip(0.02, 0.12),
        "unemployment": unemployment.clip(2, 12),
    }


def _next(
    state: np.ndarray, begin: np.ndarray, rate: float, chance: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The states of the day after, and the goals that closed (-1: none)."""
    goal = np.searchsorted(np.cumsum(goal_shares(np.clip(rate, 0.02, 0.12)))[:-1], which)
    considers, active = (state >= 1) & (state <= 4), state >= 5
    begins = (state == 0) & (chance < begin)
    closes = active & (chance < CLOSE)
    ends = (active & (chance < CLOSE + GIVE_UP)) | (considers & (chance >= ADVANCE) & (chance < ADVANCE + DROP))
    after = np.where(begins, 1 + goal, np.where(considers & (chance < ADVANCE), state + 4, state))
    return np.where(ends, 0, after), np.where(closes, state - 5, -1)


def days_of(rows: Callable[[int], dict[str, np.ndarray]], days: range) -> pl.DataFrame:
    """``rows`` of each day, one after the other, with ``day`` and a number ``id`` that no other day has."""
    made = list(_numbered(rows, days))
    return pl.DataFrame({name: np.concatenate([part[name] for part in made]) for name in made[0]})


def _numbered(rows: Callable[[int], dict[str, np.ndarray]], days: range) -> Iterator[dict[str, np.ndarray]]:
    for day in days:
        part = rows(day)
        count = len(next(iter(part.values())))
        yield {"id": day * 10_000_000 + np.arange(count), "day": np.full(count, day), **part}


def on(day: str = "day") -> pl.Expr:
    """Days since the epoch as dates."""
    return (pl.col(day) + (EPOCH - date(1970, 1, 1)).days).cast(pl.Int32).cast(pl.Date)


def at(day: str = "day", second: str = "second") -> pl.Expr:
    """Days since the epoch and seconds of the day as times."""
    seconds = (pl.col(day) + (EPOCH - date(1970, 1, 1)).days) * 86_400 + pl.col(second).cast(pl.Int64)
    return (seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))


def name_of(ids: np.ndarray, user: str = "user") -> pl.Expr:
    return pl.col(user).replace_strict(range(len(ids)), ids.tolist(), return_dtype=pl.String)


def seconds_around(draw: np.random.Generator, hour: np.ndarray, spread: float = 2.5) -> np.ndarray:
    """Seconds of the day around an hour, between 5:30 and 23:30."""
    return (np.clip(draw.normal(hour, spread), 5.5, 23.5) * 3600).astype(np.int64)


def leaning(
    draw: np.random.Generator, state: np.ndarray, taste: np.ndarray, usual: np.ndarray, towards: np.ndarray
) -> np.ndarray:
    """Which of k kinds each of m events is of: ``usual`` (k,) shares, ``taste`` (m, k) of the user, and ``towards``
    (4, k), by how much a goal raises each."""
    goal = (state - 1) % 4
    raised = np.where((state == 0)[:, None], 1.0, towards[goal])
    weights = usual * taste * raised
    return (draw.random(len(state))[:, None] > np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)).sum(1)
