"""Vital signs a day: what was measured on it, and the last check-ups with their exercise tests."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate, between, from_sql, matches

CLINIC = "setting = 'clinic'"
#: A referral takes no longer: what was measured at any check-up of it counts.
REFERRAL = "60d"

vitals = FeatureTable(
    name="vitals",
    description="Vital signs of a patient, one row for each day on which some were measured",
    owner="clinical-analytics",
    source="vitals",
    entity=("patient_id",),
    time="day",
    features=(
        aggregate(
            "blood_pressure", "mean", "systolic_bp", window="1d", description="Mean upper pressure of the day, mmHg"
        ),
        aggregate("diastolic_pressure", "mean", "diastolic_bp", window="1d", description="Mean lower pressure, mmHg"),
        from_sql("pulse_pressure", "blood_pressure - diastolic_pressure", description="Upper less lower pressure"),
        from_sql(
            "mean_arterial_pressure",
            "(blood_pressure + 2 * diastolic_pressure) / 3",
            description="A third of the upper and two thirds of the lower pressure",
        ),
        aggregate("heart_rate", "mean", "heart_rate", window="1d", description="Mean beats a minute of the day"),
        aggregate(
            "respiratory_rate", "mean", "respiratory_rate", window="1d", description="Mean breaths a minute of the day"
        ),
        aggregate("temperature", "max", "temperature", window="1d", description="Highest of the day, degrees Celsius"),
        aggregate("oxygen_saturation", "min", "spo2", window="1d", description="Lowest of the day, percent"),
        aggregate("measurements_1d", "count", window="1d", description="How often something was measured on the day"),
        aggregate(
            "resting_bp",
            "mean",
            "systolic_bp",
            window=REFERRAL,
            where=CLINIC,
            description="Mean upper pressure of the check-ups of the last 60 days",
        ),
        aggregate(
            "resting_heart_rate",
            "mean",
            "heart_rate",
            window=REFERRAL,
            where=CLINIC,
            description="Mean beats a minute at the check-ups of the last 60 days",
        ),
        aggregate(
            "max_heart_rate",
            "mean",
            "max_heart_rate",
            window=REFERRAL,
            description="Highest beats a minute of an exercise test, the mean of those of the last 60 days",
        ),
        aggregate(
            "exercise_angina",
            "share",
            "exercise_angina",
            window=REFERRAL,
            description="Which share of the exercise tests of the last 60 days brought chest pain",
        ),
        aggregate(
            "st_depression",
            "mean",
            "st_depression",
            window=REFERRAL,
            description="ST depression of the exercise tests of the last 60 days, the mean in millimetres",
        ),
        aggregate(
            "check_ups_60d",
            "count",
            window=REFERRAL,
            where=CLINIC,
            description="Check-ups in the clinic in the last 60 days",
        ),
    ),
    checks=(
        between("exercise_angina", 0, 1),
        between("temperature", 30, 45),
        between("oxygen_saturation", 40, 100),
        matches("pulse_pressure > 0"),
    ),
)
