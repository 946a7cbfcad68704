"""What is measured at patients: vital signs by nurses and monitors, values by the laboratory."""

from __future__ import annotations

from karat.declare import Column, GoldTable, fresh, matches, not_null, volume

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
        "setting": Column(dtype="string", nullable=False, allowed=("clinic", "ward"), description="Where: clinic, ward"),
        "heart_rate": Column(dtype="float64", minimum=20, maximum=300, description="Beats a minute at rest"),
        "systolic_bp": Column(dtype="float64", minimum=40, maximum=300, description="Upper blood pressure, mmHg"),
        "diastolic_bp": Column(dtype="float64", minimum=20, maximum=200, description="Lower blood pressure, mmHg"),
        "respiratory_rate": Column(dtype="float64", minimum=3, maximum=80, description="Breaths a minute"),
        "temperature": Column(
            dtype="float64", minimum=30, maximum=45, description="Degrees Celsius; what is in Fahrenheit is set aside"
        ),
        "spo2": Column(dtype="float64", minimum=40, maximum=100, description="Oxygen saturation by finger clip, percent"),
        "max_heart_rate": Column(
            dtype="float64", minimum=40, maximum=260, description="Highest beats a minute of the exercise test"
        ),
        "exercise_angina": Column(dtype="bool", description="Whether the exercise test brought chest pain"),
        "st_depression": Column(
            dtype="float64", minimum=-5, maximum=12, description="Of the ECG by exercise against rest, millimetres"
        ),
    },
)

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
