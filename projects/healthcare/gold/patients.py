"""Patients: their contract, and the sample; the planted truth is told in ``outcomes.py``."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.healthcare.gold._draws import Draws
from karat_projects.healthcare.gold._people import People, episodes, span
from karat_projects.healthcare.gold._rows import some, until

from karat.declare import Column, GoldTable, matches, not_null, volume

ETHNICITIES = ("Asian", "Black", "Hispanic", "White", "Other")

patients = GoldTable(
    name="patients",
    description="One row a patient, as of the day of registration; no history",
    owner="clinical-analytics",
    key=("patient_id",),
    checks=(
        matches("weight_kg IS NULL OR height_cm IS NULL OR weight_kg < height_cm * 3", description="Units mixed up"),
        not_null("ethnicity", at_most=0.15, on_fail="warn", description="A group that is not told can't be audited"),
        volume(low=20, on_fail="warn"),
    ),
    columns={
        "patient_id": Column(dtype="string", description="Patient, as in PT123"),
        "registered_on": Column(dtype="date", nullable=False, description="First contact with the hospital"),
        "age": Column(
            dtype="int64", nullable=False, minimum=0, maximum=120, description="Whole years on registered_on"
        ),
        "gender": Column(dtype="string", allowed=("Female", "Male"), description="A protected attribute"),
        "ethnicity": Column(
            dtype="string",
            allowed=ETHNICITIES,
            description="As the patient says; a protected attribute; null where not told",
        ),
        "height_cm": Column(dtype="float64", minimum=30, maximum=250, description="Height in centimetres"),
        "weight_kg": Column(dtype="float64", minimum=1, maximum=400, description="Weight in kilograms"),
        "smoker": Column(dtype="bool", description="Smokes or has smoked for years; null where nobody asked"),
        "diabetes": Column(dtype="bool", description="Known diabetes"),
    },
)


def _patients(draws: Draws, who: People) -> pl.DataFrame:
    n = who.number
    height = np.where(who.age < 18, 52 + 6.6 * who.age, np.where(who.female, 163, 177)) + 7 * draws.normal("height", n)
    index = np.where(who.age < 18, 16 + 0.3 * who.age, 26 + 0.8 * who.burden + 4 * draws.normal("weight", n))
    weight = np.clip(index, 14, 55) * (height / 100) ** 2
    frame = pl.DataFrame(
        {
            "patient_id": who.ids,
            "registered_on": who.since,
            "age": who.age,
            "gender": np.where(who.female, "Female", "Male"),
            "ethnicity": some(draws, "ethnicity", n, 0.04, np.array(ETHNICITIES)[who.ethnicity]),
            "height_cm": some(draws, "size", n, 0.06, np.clip(height, 45, 210)),
            "weight_kg": some(draws, "size", n, 0.06, np.clip(weight, 3, 200)),
            "smoker": some(draws, "smoking", n, 0.08, who.smoker),
            "diabetes": who.diabetes,
        }
    )
    return frame.unique("patient_id", keep="first", maintain_order=True).with_columns(pl.col(pl.Float64).round(1))


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``patients`` who may have been seen in the year up to ``end``: about 11,000 at scale 1."""
    draws = Draws(seed)
    return {"patients": until(_patients(draws, episodes(draws, scale, end).who), *span(end))}
