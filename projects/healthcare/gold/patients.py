"""Who the patients are, as of their registration."""

from __future__ import annotations

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
