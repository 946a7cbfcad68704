"""Patients on a ward: the day's vital signs, where they are heading, and the scores that nurses count."""

from __future__ import annotations

from collections.abc import Iterator

from karat.declare import Feature, FeatureTable, aggregate, between, from_sql

SIGNS = {
    "heart_rate": ("heart_rate", "Beats a minute"),
    "respiratory_rate": ("respiratory_rate", "Breaths a minute"),
    "temperature": ("temperature", "Degrees Celsius"),
    "systolic": ("systolic_bp", "Upper blood pressure, mmHg"),
    "saturation": ("spo2", "Oxygen saturation, percent"),
}


def _of_signs() -> Iterator[Feature]:
    for name, (column, what) in SIGNS.items():
        for window in ("1d", "3d"):
            yield aggregate(
                f"{name}_mean_{window}",
                "mean",
                column,
                window=window,
                description=f"{what}: the mean of {window[0]} day{'s' if window != '1d' else ''}",
            )
        for function, word in (("min", "lowest"), ("max", "highest")):
            yield aggregate(
                f"{name}_{function}_1d", function, column, window="1d", description=f"{what}: the {word} of the day"
            )
        yield from_sql(
            f"{name}_trend",
            f"{name}_mean_1d - {name}_mean_3d",
            description=f"{what}: the day's mean less that of three days",
        )


sepsis_features = FeatureTable(
    name="sepsis_features",
    description="Vital signs of a patient on a ward and their course, one row a day",
    owner="clinical-analytics",
    source="vitals",
    entity=("patient_id",),
    time="day",
    where="setting = 'ward'",
    features=(
        *_of_signs(),
        aggregate("measurements_1d", "count", window="1d", description="How often nurses measured on the day"),
        aggregate(
            "days_on_ward",
            "count_distinct",
            "measured_at::date",
            window="21d",
            description="Days on a ward within the last 21, this one included",
        ),
        from_sql(
            "shock_index", "heart_rate_mean_1d / nullif(systolic_mean_1d, 0)", description="Heart rate over pressure"
        ),
        from_sql(
            "fever", "temperature_max_1d > 38.3", dtype="bool", description="Whether the day saw more than 38.3 degrees"
        ),
        from_sql(
            "sirs_signs",
            "coalesce((temperature_max_1d > 38 OR temperature_min_1d < 36)::int, 0) "
            "+ coalesce((heart_rate_mean_1d > 90)::int, 0) + coalesce((respiratory_rate_mean_1d > 20)::int, 0)",
            dtype="int64",
            description="SIRS signs of the day among temperature, heart rate and breathing, 0 to 3",
        ),
        from_sql(
            "qsofa_signs",
            "coalesce((respiratory_rate_max_1d >= 22)::int, 0) + coalesce((systolic_min_1d <= 100)::int, 0)",
            dtype="int64",
            description="qSOFA signs of the day among breathing and pressure, 0 to 2",
        ),
    ),
    checks=(
        between("sirs_signs", 0, 3),
        between("qsofa_signs", 0, 2),
        between("days_on_ward", 1, 21),
        between("measurements_1d", 1),
    ),
)
