"""Document 004's age group and blood pressure."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate, from_sql

patient_demographics = FeatureTable(
    name="patient_demographics",
    description="Who a patient is",
    source="patients",
    entity=("patient_id",),
    features=(
        aggregate("age", "max", "age", dtype="int64", description="Years", intermediate=True),
        from_sql(
            "age_group",
            "CASE WHEN age < 5 THEN 0 WHEN age < 18 THEN 1 WHEN age < 65 THEN 2 WHEN age >= 65 THEN 3 END",
            dtype="int64",
            description="Patient age bracket (0-4: 0, 5-17: 1, 18-64: 2, 65+: 3)",
        ),
    ),
)
vitals = FeatureTable(
    name="vitals",
    description="Vital signs",
    source="vital_signs",
    entity=("patient_id",),
    time="day",
    features=(
        aggregate("blood_pressure", "last", "systolic", window="1d", description="The day's last systolic pressure"),
    ),
)
