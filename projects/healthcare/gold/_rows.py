"""Rows of measurements: their ids, which are their addresses too, what is missing, and when they are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from karat_projects.healthcare.gold._draws import Draws
from karat_projects.healthcare.gold._people import EPOCH, Episodes

_TIMES = ("measured_at", "taken_at", "outcome_on", "day")


@dataclass(frozen=True)
class Rows:
    """Measurements to be: the episode, an id that is also its address, day, second of the day, severity, setting."""

    episode: np.ndarray
    id: np.ndarray
    day: np.ndarray
    second: np.ndarray
    severity: np.ndarray
    ward: np.ndarray


def ids(e: Episodes, episode: np.ndarray, slot: np.ndarray | int) -> np.ndarray:
    """Unique for slots below 1,000, whatever else is sampled."""
    return e.who.number[episode] * 1000 + e.key[episode] * 10_000_000 + slot


def joined(clinic: Rows, ward: Rows) -> Rows:
    return Rows(*(np.concatenate(pair) for pair in zip(vars(clinic).values(), vars(ward).values(), strict=True)))


def some(draws: Draws, stream: str, ids: np.ndarray, missing: float, values: np.ndarray) -> pl.Series:
    """The values, less a share that nobody has written down."""
    return pl.Series(values).set(pl.Series(draws.uniform(f"no {stream}", ids) < missing), None)


def recorded(draws: Draws, ids: np.ndarray, day: np.ndarray, share: float, delay: tuple[int, int]) -> np.ndarray:
    """The day on which a row comes into the record: a share of them some days late."""
    return day + draws.whole(*delay, "delay", ids) * (draws.uniform("late", ids) < share)


def until(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """What is in the record on the last day, of the days of the history; days and seconds as dates and times."""
    time = next((c for c in _TIMES if c in frame.columns), None)
    if time is not None:
        day = pl.col(time) // (86_400 if time.endswith("_at") else 1)
        frame = frame.filter(day >= first, (pl.col("recorded_on") if "recorded_on" in frame.columns else day) <= last)
        frame = frame.sort(time, frame.columns[0], maintain_order=True)
    since = (EPOCH - date(1970, 1, 1)).days
    dates = [c for c in ("registered_on", "recorded_on", "outcome_on", "day") if c in frame.columns]
    moments = [c for c in ("measured_at", "taken_at") if c in frame.columns]
    return frame.with_columns(
        *((pl.col(c) + since).cast(pl.Int32).cast(pl.Date) for c in dates),
        *(((pl.col(c) + since * 86_400) * 1_000_000).cast(pl.Datetime("us", "UTC")) for c in moments),
    )
