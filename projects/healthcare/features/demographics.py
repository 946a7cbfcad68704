"""Who a patient is: what was asked at the registration."""

from __future__ import annotations

import polars as pl

from karat.declare import FeatureTable, aggregate, between, from_polars, from_sql

patient_demographics = FeatureTable(
    name="patient_demographics",
    description="Age, size and what is known of a patient's life; one row a patient, without time",
    owner="clinical-analytics",
    source="patients",
    entity=("patient_id",),
    features=(
        aggregate("age", "max", "age", dtype="int64", description="Whole years on the day of registration"),
        from_sql(
            "age_group",
            "CASE WHEN age < 5 THEN 0 WHEN age < 18 THEN 1 WHEN age < 65 THEN 2 WHEN age >= 65 THEN 3 END",
            dtype="int64",
            description="Patient age bracket (0-4: 0, 5-17: 1, 18-64: 2, 65+: 3)",
        ),
        aggregate(
            "gender", "max", "gender", dtype="string", description="Female or Male; a protected attribute, for audits"
        ),
        aggregate(
            "ethnicity",
            "max",
            "ethnicity",
            dtype="string",
            description="As the patient says, null where not told; a protected attribute, for audits",
        ),
        aggregate("smoker", "max", "smoker", dtype="bool", description="Whether the patient smokes, or did for years"),
        aggregate("diabetes", "max", "diabetes", dtype="bool", description="Whether a diabetes is known"),
        aggregate("height_cm", "max", "height_cm", description="Height in centimetres"),
        aggregate("weight_kg", "max", "weight_kg", description="Weight in kilograms"),
        from_polars(
            "bmi",
            pl.col("weight_kg") / (pl.col("height_cm") / 100) ** 2,
            description="Body mass index: kilograms over squared metres",
        ),
        from_sql(
            "is_obese",
            "CASE WHEN age >= 18 THEN bmi >= 30 END",
            dtype="bool",
            description="Whether the BMI is 30 or more; null below 18, where other limits hold",
        ),
    ),
    checks=(
        between("age_group", 0, 3),
        between("bmi", 8, 80, on_fail="warn"),
    ),
)
