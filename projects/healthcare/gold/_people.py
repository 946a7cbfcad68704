"""Who comes to the hospital, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from karat_projects.healthcare.gold._draws import Draws, logistic

HISTORY = 365
#: New patients a day at scale 1, and regulars.
ARRIVALS, REGULARS, FIRST_REGULAR = 26, 60, 123
#: A regular comes back after so many days; nobody's time with the hospital is longer than that.
CYCLE = 84
ETHNIC_SHARES = (0.09, 0.16, 0.18, 0.52, 0.05)
EPOCH = date(2020, 1, 1)
_PATIENTS_A_DAY = 10_000


@dataclass(frozen=True)
class People:
    """Arrays of shape (n,); days count from 2020. ``number`` is a patient's address in the draws."""

    number: np.ndarray
    since: np.ndarray
    age: np.ndarray
    female: np.ndarray
    ethnicity: np.ndarray
    smoker: np.ndarray
    diabetes: np.ndarray
    burden: np.ndarray
    frailty: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> People:
        return People(*(value[rows] for value in vars(self).values()))

    @property
    def ids(self) -> np.ndarray:
        return np.char.add("PT", self.number.astype(str))


@dataclass(frozen=True)
class Episodes:
    """One time with the hospital each, in the order of ``who``: ``key`` tells a patient's episodes apart."""

    who: People
    key: np.ndarray
    start: np.ndarray
    clinic: np.ndarray
    ward: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Episodes:
        return Episodes(*(value[rows] for value in vars(self).values()))


def _people(draws: Draws, number: np.ndarray, since: np.ndarray) -> People:
    u, kind = draws.uniform("age", number), draws.uniform("age group", number)
    adult, old = 18 + 47 * np.sqrt(u), 65 + 30 * (1 - np.sqrt(1 - u))
    child = np.where(kind < 0.02, 5 * u, 5 + 13 * u)
    age = np.floor(np.select([kind < 0.06, kind < 0.56], [child, adult], old)).astype(np.int64)
    years = (age - 58) / 16
    female, smoker = draws.uniform("female", number) < 0.49, (draws.uniform("smoker", number) < 0.24) & (age > 16)
    diabetes = draws.uniform("diabetes", number) < logistic(-2.3 + 0.6 * years)
    shares = np.cumsum(ETHNIC_SHARES)[:-1]
    burden = 0.55 * years + 0.3 * ~female + 0.4 * smoker + 0.4 * diabetes + 0.7 * draws.normal("burden", number)
    return People(
        number=number,
        since=since,
        age=age,
        female=female,
        ethnicity=np.searchsorted(shares, draws.uniform("ethnicity", number)),
        smoker=smoker,
        diabetes=diabetes,
        burden=burden,
        frailty=0.35 * years + 0.3 * diabetes + 0.7 * draws.normal("frailty", number),
    )


def _newcomers(draws: Draws, scale: float, first: int, last: int) -> Episodes:
    """Those who come on one of these days, each with one episode."""
    days = np.arange(first, last + 1)
    winter = np.cos(2 * np.pi * (days - 15) / 365.25)
    weekend = np.isin((days + 2) % 7, (5, 6))  # 2020-01-01 was a Wednesday
    expected = ARRIVALS * scale * (1 + 0.15 * winter) * np.where(weekend, 0.55, 1.15)
    count = np.minimum(np.floor(expected + draws.uniform("arrivals", days)), _PATIENTS_A_DAY - 1).astype(np.int64)
    since = np.repeat(days, count)
    place = np.arange(len(since)) - np.repeat(np.cumsum(count) - count, count)
    who = _people(draws, since * _PATIENTS_A_DAY + place, since)
    kind = draws.uniform("kind", who.number) + 0.05 * np.repeat(winter, count)
    return Episodes(who, np.zeros(len(since), np.int64), since, clinic=kind < 0.75, ward=kind > 0.6)


def _regulars(draws: Draws, scale: float, first: int, last: int) -> Episodes:
    """The known, who come back every ``CYCLE`` days: to the clinic and then to a ward."""
    number = FIRST_REGULAR + np.arange(max(1, round(REGULARS * scale)))
    phase = draws.whole(0, CYCLE - 1, "phase", number)
    cycles = np.arange(first // CYCLE - 1, last // CYCLE + 1)
    key = np.tile(cycles, len(number))
    who = _people(draws, np.repeat(number, len(cycles)), np.zeros(len(key), np.int64))
    every = np.ones(len(key), dtype=bool)
    found = Episodes(who, key, np.repeat(phase, len(cycles)) + key * CYCLE, clinic=every, ward=every)
    return found[(found.start >= first) & (found.start <= last)]


def span(end: date | None) -> tuple[int, int]:
    """The first and the last day of the history that ends on ``end`` (yesterday, UTC, by default), since 2020."""
    last = ((end or datetime.now(UTC).date() - timedelta(days=1)) - EPOCH).days
    return last - HISTORY + 1, last


def episodes(draws: Draws, scale: float, end: date | None) -> Episodes:
    """All that may have left rows in the history that ends on ``end``."""
    first, last = span(end)
    parts = [_regulars(draws, scale, first - CYCLE, last), _newcomers(draws, scale, first - CYCLE, last)]
    who = People(*(np.concatenate(v) for v in zip(*(vars(p.who).values() for p in parts), strict=True)))
    rest = ("key", "start", "clinic", "ward")
    return Episodes(who, *(np.concatenate([getattr(p, name) for p in parts]) for name in rest))
