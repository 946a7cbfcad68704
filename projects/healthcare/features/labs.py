"""What the laboratory found: the newest value of each test, and where a value is heading."""

from __future__ import annotations

from collections.abc import Iterator

from karat.declare import Feature, FeatureTable, aggregate, between, from_sql

#: How long a value of the check-up's panel counts, and one of a ward's.
SLOW, FAST = "60d", "3d"
CHECK_UP = {
    "cholesterol": "Total cholesterol, mg/dL",
    "hdl": "HDL cholesterol, mg/dL",
    "triglycerides": "Triglycerides, mg/dL",
    "glucose": "Fasting glucose, mg/dL",
    "hba1c": "HbA1c, percent",
}
WARD = {
    "lactate": "Lactate, mmol/L",
    "white_cells": "White cells, 10^9/L",
    "platelets": "Platelets, 10^9/L",
    "bilirubin": "Bilirubin, mg/dL",
    "crp": "C-reactive protein, mg/L",
    "creatinine": "Creatinine, mg/dL",
}


def _of_check_ups() -> Iterator[Feature]:
    for test, what in CHECK_UP.items():
        yield aggregate(
            test,
            "mean",
            "value",
            window=SLOW,
            where=f"test = '{test}'",
            description=f"{what}: the mean of the last 60 days",
        )


def _of_wards() -> Iterator[Feature]:
    for test, what in WARD.items():
        of = f"test = '{test}'"
        yield aggregate(
            test, "last", "value", window=FAST, where=of, description=f"{what}: the last value of the last 3 days"
        )
        yield aggregate(
            f"{test}_mean_7d", "mean", "value", window="7d", where=of, description=f"{what}: the mean of 7 days"
        )


lab_features = FeatureTable(
    name="lab_features",
    description="Laboratory values of a patient, one row for each day on which a sample was taken",
    owner="clinical-analytics",
    source="lab_results",
    entity=("patient_id",),
    time="day",
    features=(
        *_of_check_ups(),
        from_sql("cholesterol_ratio", "cholesterol / nullif(hdl, 0)", description="Total cholesterol over HDL"),
        from_sql("non_hdl_cholesterol", "cholesterol - hdl", description="Total cholesterol less HDL, mg/dL"),
        *_of_wards(),
        from_sql(
            "lactate_rise", "lactate - lactate_mean_7d", description="The last lactate less the mean of 7 days, mmol/L"
        ),
        from_sql("crp_rise", "crp / nullif(crp_mean_7d, 0) - 1", description="The last CRP over that mean, less 1"),
        aggregate("values_1d", "count", window="1d", description="Values that the laboratory found on the day"),
    ),
    checks=(between("values_1d", 1), between("cholesterol", 20, 1000, on_fail="warn")),
)
