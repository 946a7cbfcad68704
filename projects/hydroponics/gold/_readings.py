"""What the sensors said of the hidden states, and what of it has arrived by a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.hydroponics.gold._crops import (
    CLEANING,
    CROP,
    EPOCH,
    Crops,
    Units,
    crops_of,
    draw_of,
    names_of,
    units_of,
)
from karat_projects.hydroponics.gold._growth import grown, weather, well_off

#: Days.
HISTORY = 120
#: So many days after a reading the grower's verdict on it is known.
KNOWN_AFTER = 1


def read(crops: Crops, units: Units, hidden: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """What the sensors said, with NaN where a value is missing: (CROP, L) each."""
    shape, lanes = hidden["ph"].shape, len(crops.unit)
    n = len(units.kind)
    # Drawn crop by crop, so that a lane has its noise whatever other crops there are.
    draws = [draw_of(seed, 5, int(b) // CROP) for b in crops.begin[::n]]
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
    last = (end - EPOCH).days
    first, units = last - HISTORY + 1, units_of(scale, seed)
    # Weather from the first crop's first day on, so that the water has the past that it had.
    before = first - 2 * CROP // 24
    crops = crops_of(units, seed, first, last)
    hidden = grown(crops, units, seed, weather(seed, before, last), before)
    chance = well_off(hidden)
    said = read(crops, units, hidden, seed)
    hour = crops.begin + np.arange(CROP)[:, None]
    late = np.where((hour * 7919 + crops.unit * 104729 + seed) % 211 == 0, 1 + hour % 2, 0)
    there = ~crops.fallow & ~crops.offline & (np.arange(CROP)[:, None] >= CLEANING)
    kept = there & (hour // 24 >= first) & (hour // 24 + late <= last)
    states = hidden | said | {"optimal_probability": chance, "acid_empty": crops.empty, "late": late}
    states |= {"hour": hour, "unit": np.broadcast_to(crops.unit, hour.shape)}
    return _frame({name: values[kept] for name, values in states.items()}, names_of(len(units.kind)), last)


def _frame(states: dict[str, np.ndarray], names: list[str], last: int) -> pl.DataFrame:
    hour, unit = states["hour"], states["unit"]
    epoch = (EPOCH - date(1970, 1, 1)).days * 24
    rows = pl.DataFrame(states).with_columns(
        reading_id=pl.Series(hour * 10_000 + unit),
        timestamp_key=pl.Series((hour + epoch) * 3_600_000_000).cast(pl.Datetime("us", "UTC")),
        equipment_id=pl.Series(names).gather(unit),
        is_env_optimal=pl.when(pl.Series(hour // 24 + KNOWN_AFTER <= last)).then(
            pl.col("verdict") < pl.col("optimal_probability")
        ),
    )
    return rows.with_columns(pl.col("ph_level", "tds_level", "humidity").fill_nan(None)).sort("reading_id")
