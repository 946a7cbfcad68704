"""How a nutrient solution goes on from hour to hour, and what can be expected of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from karat_projects.hydroponics.gold._crops import CROP, Crops, Units, draw_of

AHEAD = 6
_FUTURES = 32


@dataclass
class Solution:
    """What decides on pH: (..., L) each. ``acid`` is what was given and has not mixed in yet."""

    ph: np.ndarray
    acid: np.ndarray
    uptake: np.ndarray
    level: np.ndarray


def _light(crops: Crops, age: int) -> np.ndarray:
    """1 in the 14 hours of light, else 0: (L,)."""
    return ((crops.begin + age - crops.lights) % 24 < 14).astype(float)


def _later(crops: Crops, now: Solution, age: int, empty: np.ndarray, noise: np.ndarray) -> Solution:
    """An hour later; ``noise`` (2, ..., L) disturbs uptake and pH."""
    growth = 0.6 + 0.8 * age / CROP
    room = np.clip(1 - (now.ph - 5.0) / 3.2, 0, 1)
    risen = crops.rise * np.clip(now.uptake, 0, None) * (0.3 + _light(crops, age)) * growth * room
    due = ((crops.begin + age) % crops.period == crops.phase) & ~empty
    acid = now.acid + due * np.clip(0.9 * (now.ph - crops.goal), 0, 0.7)
    level = now.level - 0.25 - 0.35 * growth * _light(crops, age)
    low = level < 45
    tap = low * 0.05 * (7.4 - now.ph)
    return Solution(
        ph=now.ph + risen - 0.8 * acid + tap + 0.045 * noise[1],
        acid=0.2 * acid,
        uptake=1 + 0.97 * (now.uptake - 1) + 0.04 * noise[0],
        level=np.where(low, 95.0, level),
    )


def _expected(crops: Crops, now: Solution, age: int, noise: np.ndarray) -> list[np.ndarray]:
    """pH 1 to ``AHEAD`` hours later, the mean over futures; the acid is taken to stay as it is: (L,) each.

    ``noise`` is (AHEAD, 2, futures, 1)."""
    found = []
    for hour in range(AHEAD):
        now = _later(crops, now, age + hour, crops.empty[age], noise[hour])
        found.append(now.ph.mean(0) if now.ph.ndim > 1 else now.ph)
    return found


def weather(seed: int, first: int, last: int) -> np.ndarray:
    """Degrees outside at noon, by day since 2000 from ``first - 2`` on; two more days smooth it."""
    days = np.arange(first - 2, last + 1)
    swing = np.array([draw_of(seed, 3, int(d)).normal() for d in days])
    return 15 - 8 * np.cos(2 * np.pi * days / 365.25) + 2.5 * (swing + np.roll(swing, 1) + np.roll(swing, 2))


def grown(crops: Crops, units: Units, seed: int, outside: np.ndarray, first: int) -> dict[str, np.ndarray]:
    """Every hidden state, hour by hour: (CROP, L) each."""
    lanes = len(crops.unit)
    now = Solution(crops.start, np.zeros(lanes), np.ones(lanes), np.full(lanes, 95.0))
    tds, stress, drift = np.full(lanes, 900.0), np.zeros(lanes), np.zeros(lanes)
    water = np.full(lanes, 20.0)
    slowness = np.clip(units.litres[crops.unit] / 700, 0.3, 0.95)
    futures = draw_of(seed, 4).normal(size=(AHEAD, 2, _FUTURES // 2, 1))
    futures = np.concatenate([futures, -futures], axis=2)  # in pairs, so that their mean is that of no noise
    found: dict[str, list[np.ndarray]] = {}
    for age in range(CROP):
        hour, light, noise = (crops.begin + age) % 24, _light(crops, age), crops.noise[age]
        day = np.clip((crops.begin + age) // 24 - first + 2, 0, len(outside) - 1)
        drift = 0.9 * drift + 0.4 * noise[2]
        air = 20 + 0.25 * (outside[day] - 15 + 4 * np.cos(2 * np.pi * (hour - 15) / 24)) + 2.0 * light + drift
        water = slowness * water + (1 - slowness) * (air - 1.0)
        fed = (hour == crops.lights) * 0.8 * np.clip(950 - tds, 0, None)
        tds = tds - 9 * now.uptake * (0.2 + light) + 3 * light + fed + 4 * noise[3]
        stress = 0.985 * stress + 0.17 * noise[4]
        state = {
            "ph": now.ph, "uptake": now.uptake, "level": now.level, "tds": tds, "stress": stress, "water": water,
            "air": air, "humid": np.clip(72 - 1.6 * (air - 20) - 4 * light + 2 * noise[5], 20, 99),
        }  # fmt: skip
        state |= {f"ph_{h}h": v for h, v in enumerate(_expected(crops, now, age, futures), start=1)}
        for name, values in state.items():
            found.setdefault(name, []).append(values)
        now = _later(crops, now, age, crops.empty[age], noise[:2])
    return {name: np.stack(values) for name, values in found.items()}


def well_off(hidden: dict[str, np.ndarray]) -> np.ndarray:
    """The probability of a verdict that plants are well off."""
    far = (
        ((hidden["ph"] - 6.0) / 0.6) ** 2
        + 0.5 * ((hidden["tds"] - 870) / 80) ** 2
        + 0.7 * ((hidden["water"] - 20.5) / 2.5) ** 2
    )
    score: np.ndarray = 1 / (1 + np.exp(-(2.6 - 1.6 * far - 0.6 * hidden["stress"])))
    return score
