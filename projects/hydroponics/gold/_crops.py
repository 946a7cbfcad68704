"""Growing units, their crops, and what was drawn for each: nothing here depends on the day on which a sample ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

UNITS = 18
#: Hours of a crop, of which the first 10 go by before the probes are in.
CROP = 28 * 24
CLEANING = 10
#: The hour (UTC) at which lights go on, for 14 hours.
LIGHTS_ON = 6
TYPES = ("deep water culture", "nutrient film", "ebb and flow")
CROPS = ("lettuce", "basil", "tomato")
EPOCH = date(2000, 1, 1)


@dataclass(frozen=True)
class Units:
    """What growing units are like: arrays by unit."""

    kind: np.ndarray
    crop: np.ndarray
    litres: np.ndarray
    probe_b: np.ndarray
    house: np.ndarray
    offset: np.ndarray
    period: np.ndarray
    phase: np.ndarray
    rise: np.ndarray
    installed: np.ndarray


@dataclass(frozen=True)
class Crops:
    """Crops side by side, one a lane (L = crops x units): ``unit`` and ``begin`` (hours since 2000) of each, what was
    drawn for it, and its disturbances: ``noise`` (hours, 8, L) and masks (hours, L)."""

    unit: np.ndarray
    begin: np.ndarray
    fallow: np.ndarray
    period: np.ndarray
    phase: np.ndarray
    goal: np.ndarray
    rise: np.ndarray
    lights: np.ndarray
    start: np.ndarray
    noise: np.ndarray
    empty: np.ndarray
    offline: np.ndarray


def draw_of(seed: int, *what: int) -> np.random.Generator:
    return np.random.default_rng([seed, *what])


def units_of(scale: float, seed: int) -> Units:
    draw, n = draw_of(seed, 1), max(4, round(UNITS * scale))
    kind = np.arange(n) % len(TYPES)
    crop = draw.integers(0, len(CROPS), n)
    return Units(
        kind=kind,
        crop=crop,
        litres=np.array([600.0, 120.0, 250.0])[kind] * draw.uniform(0.8, 1.2, n).round(2),
        probe_b=draw.random(n) < 0.4,
        house=np.arange(n) // 4 + 1,
        offset=draw.integers(0, CROP // 24, n),
        period=np.array([6, 4, 8])[kind],
        phase=draw.integers(0, 4, n),
        rise=np.array([0.13, 0.17, 0.10])[kind] * np.array([0.9, 1.0, 1.15])[crop],
        installed=draw.integers(3000, 8000, n),
    )


def crops_of(units: Units, seed: int, first: int, last: int) -> Crops:
    """All crops that fall into the days ``first`` to ``last`` (since 2000)."""
    days, n = CROP // 24, len(units.kind)
    numbers = range((first - days) // days, last // days + 1)
    made: list[dict[str, np.ndarray]] = []
    for k in numbers:
        draw, hours = draw_of(seed, 2, k), CROP
        made.append(
            {
                "unit": np.arange(n),
                "begin": (k * days + units.offset) * 24,
                "fallow": draw.random(n) < 0.08,
                "period": units.period,
                "phase": units.phase,
                "goal": draw.uniform(5.65, 5.75, n),
                "rise": units.rise * draw.uniform(0.9, 1.1, n),
                "lights": np.full(n, LIGHTS_ON),
                "start": draw.uniform(5.5, 6.2, n),
                "noise": draw.normal(size=(hours, 8, n)),
                "empty": _spells(draw, (hours, n), often=1 / 2000, shortest=24, longest=84),
                "offline": _spells(draw, (hours, n), often=1 / 300, shortest=3, longest=30),
            }
        )
    return Crops(**{name: np.concatenate([m[name] for m in made], axis=-1) for name in made[0]})


def _spells(
    draw: np.random.Generator, shape: tuple[int, int], *, often: float, shortest: int, longest: int
) -> np.ndarray:
    """True in the hours of spells that begin at random: ``shape`` (hours, n)."""
    begins = draw.random(shape) < often
    lengths = np.where(begins, draw.integers(shortest, longest + 1, shape), 0)
    ends = np.where(begins, np.arange(shape[0])[:, None] + lengths, 0)
    out: np.ndarray = np.maximum.accumulate(ends, axis=0) > np.arange(shape[0])[:, None]
    return out


def names_of(count: int) -> list[str]:
    return [f"unit_{i + 1:02d}" for i in range(count)]
