"""Vital signs: their contract, and the sample; the planted truth is told in ``outcomes.py``."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.healthcare.gold._draws import Draws, logistic
from karat_projects.healthcare.gold._people import Episodes, episodes, span
from karat_projects.healthcare.gold._rows import Rows, ids, joined, recorded, some, until
from karat_projects.healthcare.gold._stays import Stays, Visits, stays, visits

from karat.declare import Column, GoldTable, fresh, matches, not_null, volume

vitals = GoldTable(
    name="vitals",
    description="One row a measurement of vital signs: at a check-up in the clinic, or some four times a day on a ward",
    owner="clinical-analytics",
    key=("vital_id",),
    event_time="measured_at",
    cluster_by=("patient_id",),
    checks=(
        matches("systolic_bp > diastolic_bp", description="The upper pressure is the higher one"),
        matches("setting = 'clinic' OR max_heart_rate IS NULL", description="Exercise tests are made in the clinic"),
        matches("recorded_on >= measured_at::date", description="Nothing is recorded before it is measured"),
        not_null("heart_rate", at_most=0.1, on_fail="warn"),
        not_null("temperature", at_most=0.3, on_fail="warn"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "vital_id": Column(dtype="int64", description="Measurement"),
        "patient_id": Column(dtype="string", nullable=False, description="As in patients"),
        "measured_at": Column(dtype="timestamp", nullable=False, description="When it was measured"),
        "recorded_on": Column(dtype="date", description="UTC day on which it came into the record, often later"),
        "setting": Column(dtype="string", nullable=False, allowed=("clinic", "ward"), description="Where"),
        "heart_rate": Column(dtype="float64", minimum=20, maximum=300, description="Beats a minute at rest"),
        "systolic_bp": Column(dtype="float64", minimum=40, maximum=300, description="Upper blood pressure, mmHg"),
        "diastolic_bp": Column(dtype="float64", minimum=20, maximum=200, description="Lower blood pressure, mmHg"),
        "respiratory_rate": Column(dtype="float64", minimum=3, maximum=80, description="Breaths a minute"),
        "temperature": Column(
            dtype="float64", minimum=30, maximum=45, description="Degrees Celsius; what is in Fahrenheit is set aside"
        ),
        "spo2": Column(dtype="float64", minimum=40, maximum=100, description="Oxygen saturation by finger clip, %"),
        "max_heart_rate": Column(
            dtype="float64", minimum=40, maximum=260, description="Highest beats a minute of the exercise test"
        ),
        "exercise_angina": Column(dtype="bool", description="Whether the exercise test brought chest pain"),
        "st_depression": Column(
            dtype="float64", minimum=-5, maximum=12, description="Of the ECG by exercise against rest, millimetres"
        ),
    },
)


def _measured(draws: Draws, e: Episodes, visits: Visits, stays: Stays) -> Rows:
    """Once a check-up; three to seven times a day on a ward, more often the iller."""
    at_visit = ids(e, visits.episode, visits.number)
    seconds = (8.5 * 3600 + 7 * 3600 * draws.uniform("clock", at_visit)).astype(np.int64)
    none = np.zeros(len(at_visit))
    clinic = Rows(visits.episode, at_visit, visits.day, seconds, none, none > 0)
    busy = 3 + 2 * draws.uniform("rounds", ids(e, stays.episode, stays.number)) + 0.6 * np.maximum(stays.severity, 0)
    day, turn = np.nonzero(np.arange(7) < np.minimum(np.floor(busy), 7)[:, None])
    episode = stays.episode[day]
    at_bed = ids(e, episode, 10 + stays.number[day] * 7 + turn)
    seconds = (5 + 18 * (turn + draws.uniform("clock", at_bed)) / 7) * 3600
    ward = Rows(episode, at_bed, stays.day[day], seconds.astype(np.int64), stays.severity[day], turn >= 0)
    return joined(clinic, ward)


def _vitals(draws: Draws, e: Episodes, at: Rows) -> pl.DataFrame:
    who, z, n = e.who[at.episode], at.severity, at.id

    def noise(stream: str) -> np.ndarray:
        return draws.normal(stream, n)

    own = 8 * draws.normal("own heart rate", who.number) + 45 * np.exp(-who.age / 4)
    pressure = 124 + 9 * who.burden + 6 * draws.normal("own pressure", who.number) - 6.5 * z + 8 * noise("pressure")
    systolic = np.clip(pressure, 65, 240)
    celsius = np.clip(36.7 + 0.35 * z + 0.35 * noise("temperature"), 34, 42.5)
    degrees = np.where(draws.uniform("fahrenheit", n) < 1 / 400, celsius * 1.8 + 32, celsius)
    clip = 96.6 - 0.9 * z + 1.1 * noise("spo2") + 2 * (who.ethnicity == 1)
    untested = at.ward | (draws.uniform("no exercise", n) < 0.15)
    highest = 202 - 0.6 * who.age - 10 * who.burden + 11 * noise("exercise")
    chest_pain = draws.uniform("angina", n) < logistic(-1.1 + 1.3 * who.burden - 1.0 * who.female)
    columns = {
        "vital_id": n,
        "patient_id": who.ids,
        "measured_at": at.day * 86_400 + at.second,
        "recorded_on": recorded(draws, n, at.day, 0.01, (1, 3)),
        "setting": np.where(at.ward, "ward", "clinic"),
        "heart_rate": some(draws, "heart rate", n, 0.03, np.clip(76 + own + 7 * z + 6 * noise("rate"), 35, 220)),
        "systolic_bp": some(draws, "pressure", n, 0.04, systolic),
        "diastolic_bp": some(
            draws, "pressure", n, 0.04, np.minimum(8 + 0.55 * systolic + 5 * noise("low"), systolic - 8)
        ),
        "respiratory_rate": some(draws, "breath", n, 0.15, np.clip(16 + 1.7 * z + 1.8 * noise("breath"), 6, 60)),
        "temperature": some(draws, "temperature", n, 0.1, degrees),
        "spo2": some(draws, "spo2", n, 0.08, np.clip(clip, 60, 100)),
        "max_heart_rate": pl.Series(np.clip(highest, 70, 230)).set(pl.Series(untested), None),
        "exercise_angina": pl.Series(chest_pain).set(pl.Series(untested), None),
        "st_depression": pl.Series(np.maximum(0.4 + 0.5 * who.burden + 0.8 * noise("st"), 0)).set(
            pl.Series(untested), None
        ),
    }
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).round(1))


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``vitals`` of the year up to ``end`` (yesterday, UTC, by default): about 100,000 at scale 1."""
    draws = Draws(seed)
    e = episodes(draws, scale, end)
    return {"vitals": until(_vitals(draws, e, _measured(draws, e, visits(draws, e), stays(draws, e))), *span(end))}
