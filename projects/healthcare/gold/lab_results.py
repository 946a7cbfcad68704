"""Laboratory values: their contract, and the sample; the planted truth is told in ``outcomes.py``."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.healthcare.gold._draws import Draws
from karat_projects.healthcare.gold._people import Episodes, episodes, span
from karat_projects.healthcare.gold._rows import Rows, ids, joined, recorded, until
from karat_projects.healthcare.gold._stays import Stays, Visits, stays, visits

from karat.declare import Column, GoldTable, fresh, matches, volume

#: The laboratory's tests and the units that their values are in.
TESTS = {
    "cholesterol": "mg/dL",
    "hdl": "mg/dL",
    "triglycerides": "mg/dL",
    "glucose": "mg/dL",
    "hba1c": "%",
    "creatinine": "mg/dL",
    "lactate": "mmol/L",
    "white_cells": "10^9/L",
    "platelets": "10^9/L",
    "bilirubin": "mg/dL",
    "crp": "mg/L",
}

lab_results = GoldTable(
    name="lab_results",
    description="One row a value that the laboratory found",
    owner="clinical-analytics",
    key=("lab_id",),
    event_time="taken_at",
    cluster_by=("patient_id",),
    checks=(
        matches("test <> 'hba1c' OR value <= 25", description="HbA1c in mmol/mol instead of percent"),
        matches("recorded_on >= taken_at::date", description="Nothing is found before it is taken"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "lab_id": Column(dtype="int64", description="Value; a corrected one has the number of the first"),
        "patient_id": Column(dtype="string", nullable=False, description="As in patients"),
        "taken_at": Column(dtype="timestamp", nullable=False, description="When the sample was taken"),
        "recorded_on": Column(dtype="date", description="UTC day on which the value came into the record"),
        "test": Column(dtype="string", nullable=False, allowed=tuple(TESTS), description="What was measured"),
        "value": Column(dtype="float64", nullable=False, minimum=0, description="What was found, in unit"),
        "unit": Column(dtype="string", description="As the laboratory writes it"),
    },
)

#: Of each test: what it is at a burden and a severity of 0, what a unit of either adds, its noise (own to the patient,
#: and of the day), and whether all of that multiplies (on the log scale).
CLINIC = {
    "cholesterol": (200.0, 15.0, 0.0, 26.0, 16.0, False),
    "hdl": (54.0, -4.5, 0.0, 9.0, 5.0, False),
    "triglycerides": (4.85, 0.12, 0.0, 0.3, 0.2, True),
    "glucose": (4.58, 0.03, 0.0, 0.06, 0.08, True),
    "hba1c": (1.7, 0.02, 0.0, 0.05, 0.03, True),
    "creatinine": (-0.1, 0.06, 0.1, 0.15, 0.1, True),
}
WARD = {
    "lactate": (0.15, 0.0, 0.26, 0.1, 0.25, True),
    "white_cells": (2.05, 0.0, 0.15, 0.15, 0.18, True),
    "platelets": (5.45, 0.0, -0.08, 0.2, 0.12, True),
    "bilirubin": (-0.4, 0.0, 0.12, 0.25, 0.25, True),
    "crp": (2.4, 0.0, 0.5, 0.3, 0.5, True),
    "creatinine": (-0.1, 0.06, 0.1, 0.15, 0.1, True),
}


def _drawn(e: Episodes, visits: Visits, stays: Stays) -> Rows:
    """A sample at each check-up, and each morning on a ward; ``id`` is that of the first of its six values."""
    at_visit, at_bed = ids(e, visits.episode, visits.number * 6), ids(e, stays.episode, 100 + stays.number * 6)
    none = np.zeros(len(at_visit))
    noon, dawn = np.full(len(at_visit), 12 * 3600), np.full(len(at_bed), 6 * 3600)
    clinic = Rows(visits.episode, at_visit, visits.day, noon, none, none > 0)
    ward = Rows(stays.episode, at_bed, stays.day, dawn, stays.severity, np.ones(len(at_bed), dtype=bool))
    return joined(clinic, ward)


def _values(draws: Draws, e: Episodes, at: Rows, panel: dict[str, tuple], place: int) -> pl.DataFrame:
    """The results of one test of a panel: 8 % of its values are missing, of one sample in 25 all are."""
    test, (base, burden, severity, own, day, multiplies) = list(panel.items())[place]
    who, n = e.who[at.episode], at.id + place
    sugar = (0.3 if test in ("glucose", "hba1c") else 0.0) * who.diabetes
    value = base + burden * who.burden + severity * at.severity + sugar
    value = value + own * draws.normal(f"own {test}", who.number) + day * draws.normal("value", n)
    frame = pl.DataFrame(
        {
            "lab_id": n,
            "patient_id": who.ids,
            "taken_at": at.day * 86_400 + at.second,
            "recorded_on": recorded(draws, n, at.day, 0.01, (1, 3)),
            "test": np.full(len(n), test),
            "value": np.round(np.exp(value) if multiplies else np.maximum(value, 1), 2),
            "unit": np.full(len(n), TESTS[test]),
        }
    )
    found = (draws.uniform("value missing", n) > 0.08) & (draws.uniform("sample missing", at.id) > 0.04)
    return frame.filter(pl.Series(found))


def _corrected(draws: Draws, rows: pl.DataFrame) -> pl.DataFrame:
    """Of one value in 300 a wrong one came first, under the same number."""
    wrong = rows.filter(pl.Series(draws.uniform("wrong", rows["lab_id"].to_numpy()) < 1 / 300))
    return pl.concat([wrong.with_columns((pl.col("value") * 10).round(2)), rows])


def _lab_results(draws: Draws, e: Episodes, at: Rows) -> pl.DataFrame:
    parts = []
    for panel, ward in ((CLINIC, False), (WARD, True)):
        some = Rows(*(value[at.ward == ward] for value in vars(at).values()))
        parts += [_values(draws, e, some, panel, place) for place in range(len(panel))]
    return _corrected(draws, pl.concat(parts).sort("taken_at", "lab_id"))


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``lab_results`` of the year up to ``end`` (yesterday, UTC, by default): about 200,000 at scale 1."""
    draws = Draws(seed)
    e = episodes(draws, scale, end)
    return {"lab_results": until(_lab_results(draws, e, _drawn(e, visits(draws, e), stays(draws, e))), *span(end))}
