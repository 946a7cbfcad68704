"""Sensor readings of nutrient solutions, the equipment that they are of, and a sample with a planted truth.

THE PLANTED TRUTH. A growing unit runs crops of 28 days, each from a fresh solution; some are left fallow, so that units
come and go. A crop is a pure function of (seed, unit, crop): a later ``end`` adds hours, the readings that came late
and the verdicts that were given since, and changes nothing else. Hour by hour, hidden:

- ``ph``: plants take up nitrate and drive it up, faster under light, as they grow, and with ``uptake`` (a slow process
  that nobody measures). A doser looks at it every 6, 8 or 12 hours, by a clock of the crop's own that is written
  nowhere, and gives acid in proportion to what is above the crop's set point; half of what is left mixes in each hour.
  So the hours of the last day tell when the next fall is due: a model of the last reading alone cannot know.
- regimes: for one to three days at a time the acid is empty, and pH climbs unhindered. Water runs low and is topped up
  with tap water of pH 7.4; its level is measured.
- ``tds`` sinks with uptake, rises with evaporation, and is fed once a day; water follows the air's temperature slowly,
  by the unit's volume; ``stress`` (oxygen at the roots) is never measured.
- ``is_env_optimal`` is a grower's verdict on the plants, known a day later: drawn with a probability that falls with
  the squared distances of pH, TDS and water temperature from what plants like, and with stress.

Readings are the hidden states with noise; probes of model B are worse. Rows that real systems have: hours without any
reading (a station is offline for 3 to 30 hours), missing values, single readings far off, readings that arrive a day or
two late. What the truth expects: ``sensor_truth``, pH 1 to 6 hours ahead given every hidden state, as a mean over
simulated futures, and the probability of the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable, fresh, is_in, not_null, volume

HISTORY = 120
UNITS = 12
AHEAD = 6
#: Hours of a crop, of which the first 10 go by before the probes are in.
CROP = 28 * 24
CLEANING = 10
#: The hour (UTC) at which lights go on, for 14 hours.
LIGHTS_ON = 6
KNOWN_AFTER = 1
TYPES = ("deep water culture", "nutrient film", "ebb and flow")
CROPS = ("lettuce", "basil", "tomato")
_EPOCH = date(2000, 1, 1)
_FUTURES = 32

iot_data = GoldTable(
    name="iot_data",
    description="One row a reading: what the sensors of a growing unit said in an hour",
    owner="growing-operations",
    key=("reading_id",),
    event_time="timestamp_key",
    cluster_by=("equipment_id",),
    checks=(
        not_null("ph_level", at_most=0.05, on_fail="warn", description="What is to be forecast"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "reading_id": Column(dtype="int64", description="Reading"),
        "timestamp_key": Column(dtype="timestamp", nullable=False, description="The hour of the reading"),
        "equipment_id": Column(dtype="string", nullable=False, description="Growing unit"),
        "ph_level": Column(dtype="float64", minimum=0, maximum=14, description="Acidity of the solution"),
        "tds_level": Column(dtype="float64", minimum=0, description="Dissolved solids in parts per million"),
        "water_level": Column(dtype="float64", minimum=0, maximum=100, description="Percent of the tank"),
        "water_temperature": Column(dtype="float64", minimum=-5, maximum=60, description="Degrees Celsius"),
        "air_temperature": Column(dtype="float64", minimum=-40, maximum=70, description="Degrees Celsius"),
        "humidity": Column(dtype="float64", minimum=0, maximum=100, description="Percent, of the air"),
        "is_env_optimal": Column(
            dtype="bool", description="A grower's verdict: whether plants are well off; null until it is given"
        ),
    },
)

dim_equipment = GoldTable(
    name="dim_equipment",
    description="One row a growing unit",
    owner="growing-operations",
    key=("equipment_id",),
    checks=(is_in("probe_model", "A", "B"),),
    columns={
        "equipment_id": Column(dtype="string", description="Growing unit"),
        "equipment_type": Column(dtype="string", allowed=TYPES, description="How roots get their water"),
        "crop": Column(dtype="string", allowed=CROPS, description="What grows in it"),
        "volume_litres": Column(dtype="float64", minimum=0, description="Of its tank"),
        "probe_model": Column(dtype="string", description="A or B, of its pH probe"),
        "greenhouse": Column(dtype="string", nullable=False, description="Where it stands"),
        "installed_on": Column(dtype="date", description="Day of its installation"),
    },
)

sensor_truth = GoldTable(
    name="sensor_truth",
    description="The hidden states behind the sample's iot_data and what they let one expect; sample data only",
    owner="growing-operations",
    key=("reading_id",),
    event_time="timestamp_key",
    truth=True,
    columns={
        "reading_id": Column(dtype="int64", description="As in iot_data"),
        "timestamp_key": Column(dtype="timestamp", nullable=False, description="As in iot_data"),
        "equipment_id": Column(dtype="string", nullable=False, description="As in iot_data"),
        "ph": Column(dtype="float64", description="pH without the probe's noise"),
        "uptake": Column(dtype="float64", description="Of nutrients by the plants; 1 is usual"),
        "stress": Column(dtype="float64", description="Lack of oxygen at the roots; 0 is usual"),
        "acid_empty": Column(dtype="bool", description="Whether the doser has nothing to give"),
        **{
            f"ph_{h}h": Column(dtype="float64", description=f"pH to be expected {h} hours later, given all states")
            for h in range(1, AHEAD + 1)
        },
        "optimal_probability": Column(dtype="float64", description="Of a verdict that plants are well off"),
    },
)


@dataclass(frozen=True)
class _Units:
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
class _Crops:
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


@dataclass
class _Solution:
    """What decides on pH: (..., L) each. ``acid`` is what was given and has not mixed in yet."""

    ph: np.ndarray
    acid: np.ndarray
    uptake: np.ndarray
    level: np.ndarray


def _draw(seed: int, *what: int) -> np.random.Generator:
    return np.random.default_rng([seed, *what])


def _units(scale: float, seed: int) -> _Units:
    draw, n = _draw(seed, 1), max(4, round(UNITS * scale))
    kind = np.arange(n) % len(TYPES)
    crop = draw.integers(0, len(CROPS), n)
    return _Units(
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


def _crops(units: _Units, seed: int, first: int, last: int) -> _Crops:
    """All crops that fall into the days ``first`` to ``last`` (since 2000)."""
    days, n = CROP // 24, len(units.kind)
    numbers = range((first - days) // days, last // days + 1)
    made: list[dict[str, np.ndarray]] = []
    for k in numbers:
        draw, hours = _draw(seed, 2, k), CROP
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
    return _Crops(**{name: np.concatenate([m[name] for m in made], axis=-1) for name in made[0]})


def _spells(
    draw: np.random.Generator, shape: tuple[int, int], *, often: float, shortest: int, longest: int
) -> np.ndarray:
    """True in the hours of spells that begin at random: ``shape`` (hours, n)."""
    begins = draw.random(shape) < often
    lengths = np.where(begins, draw.integers(shortest, longest + 1, shape), 0)
    ends = np.where(begins, np.arange(shape[0])[:, None] + lengths, 0)
    out: np.ndarray = np.maximum.accumulate(ends, axis=0) > np.arange(shape[0])[:, None]
    return out


def _light(crops: _Crops, age: int) -> np.ndarray:
    """1 in the 14 hours of light, else 0: (L,)."""
    return ((crops.begin + age - crops.lights) % 24 < 14).astype(float)


def _later(crops: _Crops, now: _Solution, age: int, empty: np.ndarray, noise: np.ndarray) -> _Solution:
    """An hour later; ``noise`` (2, ..., L) disturbs uptake and pH."""
    growth = 0.6 + 0.8 * age / CROP
    room = np.clip(1 - (now.ph - 5.0) / 3.2, 0, 1)
    risen = crops.rise * np.clip(now.uptake, 0, None) * (0.3 + _light(crops, age)) * growth * room
    due = ((crops.begin + age) % crops.period == crops.phase) & ~empty
    acid = now.acid + due * np.clip(0.9 * (now.ph - crops.goal), 0, 0.7)
    level = now.level - 0.25 - 0.35 * growth * _light(crops, age)
    low = level < 45
    tap = low * 0.05 * (7.4 - now.ph)
    return _Solution(
        ph=now.ph + risen - 0.8 * acid + tap + 0.045 * noise[1],
        acid=0.2 * acid,
        uptake=1 + 0.97 * (now.uptake - 1) + 0.04 * noise[0],
        level=np.where(low, 95.0, level),
    )


def _expected(crops: _Crops, now: _Solution, age: int, noise: np.ndarray) -> list[np.ndarray]:
    """pH 1 to ``AHEAD`` hours later, the mean over futures; the acid is taken to stay as it is: (L,) each.

    ``noise`` is (AHEAD, 2, futures, 1)."""
    found = []
    for hour in range(AHEAD):
        now = _later(crops, now, age + hour, crops.empty[age], noise[hour])
        found.append(now.ph.mean(0) if now.ph.ndim > 1 else now.ph)
    return found


def _weather(seed: int, first: int, last: int) -> np.ndarray:
    """Degrees outside at noon, by day since 2000 from ``first - 2`` on; two more days smooth it."""
    days = np.arange(first - 2, last + 1)
    swing = np.array([_draw(seed, 3, int(d)).normal() for d in days])
    return 15 - 8 * np.cos(2 * np.pi * days / 365.25) + 2.5 * (swing + np.roll(swing, 1) + np.roll(swing, 2))


def _grown(crops: _Crops, units: _Units, seed: int, outside: np.ndarray, first: int) -> dict[str, np.ndarray]:
    """Every hidden state, hour by hour: (CROP, L) each."""
    lanes = len(crops.unit)
    now = _Solution(crops.start, np.zeros(lanes), np.ones(lanes), np.full(lanes, 95.0))
    tds, stress, drift = np.full(lanes, 900.0), np.zeros(lanes), np.zeros(lanes)
    water = np.full(lanes, 20.0)
    slowness = np.clip(units.litres[crops.unit] / 700, 0.3, 0.95)
    futures = _draw(seed, 4).normal(size=(AHEAD, 2, _FUTURES // 2, 1))
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


def _well_off(hidden: dict[str, np.ndarray]) -> np.ndarray:
    """The probability of a verdict that plants are well off."""
    far = (
        ((hidden["ph"] - 6.0) / 0.6) ** 2
        + 0.5 * ((hidden["tds"] - 870) / 80) ** 2
        + 0.7 * ((hidden["water"] - 20.5) / 2.5) ** 2
    )
    score: np.ndarray = 1 / (1 + np.exp(-(2.6 - 1.6 * far - 0.6 * hidden["stress"])))
    return score


def _read(crops: _Crops, units: _Units, hidden: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """What the sensors said, with NaN where a value is missing: (CROP, L) each."""
    shape, lanes = hidden["ph"].shape, len(crops.unit)
    n = len(units.kind)
    # Drawn crop by crop, so that a lane has its noise whatever other crops there are.
    draws = [_draw(seed, 5, int(b) // CROP) for b in crops.begin[::n]]
    normal = np.concatenate([d.normal(size=(5, shape[0], n)) for d in draws], axis=-1)
    chance = np.concatenate([d.random((5, shape[0], n)) for d in draws], axis=-1)
    assert normal.shape[-1] == lanes
    probe = np.where(units.probe_b[crops.unit], 0.035, 0.02)
    off = (chance[0] < 0.001) * np.sign(normal[1]) * 0.5
    ph = np.where(chance[1] < 0.004, np.nan, hidden["ph"] + probe * normal[0] + off)
    return {
        "ph_level": ph.round(3),
        "tds_level": np.where(chance[2] < 0.004, np.nan, hidden["tds"] + 8 * normal[1]).round(1),
        "water_level": np.clip(hidden["level"] + 0.3 * normal[2], 0, 100).round(1),
        "water_temperature": (hidden["water"] + 0.15 * normal[3]).round(2),
        "air_temperature": (hidden["air"] + 0.2 * normal[4]).round(2),
        "humidity": np.where(chance[3] < 0.01, np.nan, hidden["humid"]).round(1),
        "verdict": chance[4],
    }


def history(scale: float = 1.0, seed: int = 0, end: date | None = None) -> pl.DataFrame:
    """``iot_data`` and ``sensor_truth`` in one, with ``late`` (days)."""
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - _EPOCH).days
    first, units = last - HISTORY + 1, _units(scale, seed)
    # Weather from the first crop's first day on, so that the water has the past that it had.
    before = first - 2 * CROP // 24
    crops = _crops(units, seed, first, last)
    hidden = _grown(crops, units, seed, _weather(seed, before, last), before)
    chance = _well_off(hidden)
    said = _read(crops, units, hidden, seed)
    hour = crops.begin + np.arange(CROP)[:, None]
    late = np.where((hour * 7919 + crops.unit * 104729 + seed) % 211 == 0, 1 + hour % 2, 0)
    there = ~crops.fallow & ~crops.offline & (np.arange(CROP)[:, None] >= CLEANING)
    kept = there & (hour // 24 >= first) & (hour // 24 + late <= last)
    states = hidden | said | {"optimal_probability": chance, "acid_empty": crops.empty, "late": late}
    states |= {"hour": hour, "unit": np.broadcast_to(crops.unit, hour.shape)}
    return _frame({name: values[kept] for name, values in states.items()}, _names(len(units.kind)), last)


def _frame(states: dict[str, np.ndarray], names: list[str], last: int) -> pl.DataFrame:
    hour, unit = states["hour"], states["unit"]
    epoch = (_EPOCH - date(1970, 1, 1)).days * 24
    rows = pl.DataFrame(states).with_columns(
        reading_id=pl.Series(hour * 10_000 + unit),
        timestamp_key=pl.Series((hour + epoch) * 3_600_000_000).cast(pl.Datetime("us", "UTC")),
        equipment_id=pl.Series(names).gather(unit),
        is_env_optimal=pl.when(pl.Series(hour // 24 + KNOWN_AFTER <= last)).then(
            pl.col("verdict") < pl.col("optimal_probability")
        ),
    )
    return rows.with_columns(pl.col("ph_level", "tds_level", "humidity").fill_nan(None)).sort("reading_id")


def _names(count: int) -> list[str]:
    return [f"unit_{i + 1:02d}" for i in range(count)]


def equipment(scale: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """``dim_equipment``."""
    units = _units(scale, seed)
    return pl.DataFrame(
        {
            "equipment_id": _names(len(units.kind)),
            "equipment_type": np.array(TYPES)[units.kind],
            "crop": np.array(CROPS)[units.crop],
            "volume_litres": units.litres,
            "probe_model": np.where(units.probe_b, "B", "A"),
            "greenhouse": [f"greenhouse_{i}" for i in units.house],
            "installed_on": [_EPOCH + timedelta(days=int(d)) for d in units.installed],
        }
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """The ``HISTORY`` days up to ``end`` (yesterday, UTC, by default): 12 units and about 22,000 readings at scale 1,
    four units at least."""
    rows = history(scale, seed, end)
    return {
        "iot_data": rows.select(*iot_data.columns),
        "dim_equipment": equipment(scale, seed).select(*dim_equipment.columns),
        "sensor_truth": rows.select(*sensor_truth.columns),
    }
