"""Patients and their vital signs."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable

PATIENTS = ["PT123", *(f"PT{n}" for n in range(200, 220))]

patients = GoldTable(
    name="patients",
    description="One row a patient",
    key=("patient_id",),
    columns={"patient_id": Column(dtype="string"), "age": Column(dtype="int64", minimum=0)},
)
vital_signs = GoldTable(
    name="vital_signs",
    description="One row a patient and day",
    key=("patient_id", "on"),
    event_time="on",
    columns={
        "patient_id": Column(dtype="string"),
        "on": Column(dtype="date"),
        "systolic": Column(dtype="float64"),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date = date(2024, 3, 31)) -> dict[str, pl.DataFrame]:
    random = np.random.default_rng(seed)
    days = [end - timedelta(days=back) for back in range(30)]
    return {
        "patients": pl.DataFrame({"patient_id": PATIENTS, "age": random.integers(1, 95, len(PATIENTS))}),
        "vital_signs": pl.DataFrame(
            {
                "patient_id": [p for p in PATIENTS for _ in days],
                "on": days * len(PATIENTS),
                "systolic": random.normal(130, 15, len(PATIENTS) * len(days)).round(0),
            }
        ),
    }
