"""Sensor features: the reading, and what the unit's readings have been in the hours up to it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_event, from_polars, matches, not_null

SENSORS = {
    "ph_level": "Acidity of the solution",
    "tds_level": "Dissolved solids in parts per million",
    "water_level": "Percent of the tank that is filled",
    "water_temperature": "Degrees Celsius of the solution",
    "air_temperature": "Degrees Celsius of the air",
    "humidity": "Percent, of the air",
}
#: The hours before the reading whose own reading is a feature.
LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 18, 23, 24, 47, 48)
ROLLED = ("ph_level", "tds_level", "water_temperature")


def _lag(sensor: str, hours: int) -> Feature:
    """The window of one hour that ended so many hours ago holds that hour's reading and no other."""
    return aggregate(
        f"{sensor}_lag_{hours}h",
        "last",
        sensor,
        window="1h",
        delay=f"{hours}h",
        description=f"{sensor} {hours} hours before; null where there was no reading",
    )


def _rolled() -> Iterator[Feature]:
    for sensor in ROLLED:
        for hours in (6, 24):
            for function, what in (("mean", "Mean"), ("std", "Standard deviation")):
                yield aggregate(
                    f"{sensor}_{function}_{hours}h",
                    function,  # type: ignore[arg-type]
                    sensor,
                    window=f"{hours}h",
                    description=f"{what} of {sensor} over the last {hours} hours, this reading included",
                )


def _circle(of: pl.Expr, length: float) -> tuple[pl.Expr, pl.Expr]:
    angle = of.cast(pl.Float64) * (6.283185307179586 / length)
    return angle.sin(), angle.cos()


HOUR_SIN, HOUR_COS = _circle(pl.col("timestamp_key").dt.hour(), 24)

sensor_features = FeatureTable(
    name="sensor_features",
    description="One row a reading: its values, those of the hours before it, and the time of day",
    owner="growing-operations",
    source="iot_data",
    entity=("equipment_id",),
    grain="event",
    time="timestamp_key",
    event_id="reading_id",
    closed="right",
    features=(
        *(from_event(sensor, description=f"{what}, as read") for sensor, what in SENSORS.items()),
        from_polars("hour_sin", HOUR_SIN, description="Sine of the hour of the day (UTC) on a circle of 24"),
        from_polars("hour_cos", HOUR_COS, description="Cosine of the hour of the day (UTC) on a circle of 24"),
        from_polars(
            "hour", pl.col("timestamp_key").dt.hour(), dtype="int64", description="Hour of the day (UTC), 0 to 23"
        ),
        from_polars(
            "day_of_week", pl.col("timestamp_key").dt.weekday(), dtype="int64", description="Day of the week, Monday 1"
        ),
        *(_lag("ph_level", hours) for hours in LAGS),
        _lag("tds_level", 1),
        _lag("tds_level", 24),
        *_rolled(),
        aggregate(
            "ph_level_min_24h", "min", "ph_level", window="24h", description="Least ph_level of the last 24 hours"
        ),
        aggregate(
            "ph_level_max_24h", "max", "ph_level", window="24h", description="Greatest ph_level of the last 24 hours"
        ),
        aggregate(
            "readings_24h", "count", window="24h", description="Readings of the last 24 hours, this one included"
        ),
        from_polars(
            "ph_level_change_1h",
            pl.col("ph_level") - pl.col("ph_level_lag_1h"),
            description="ph_level less that of an hour before",
        ),
        from_polars(
            "ph_level_change_6h",
            pl.col("ph_level") - pl.col("ph_level_lag_6h"),
            description="ph_level less that of six hours before",
        ),
        *(
            from_polars(
                f"ph_level_as_{hours}h_ago",
                pl.col("ph_level") + pl.col(f"ph_level_lag_{hours - 1}h") - pl.col(f"ph_level_lag_{hours}h"),
                description=f"ph_level an hour later, if it changes as it did {hours} hours before",
            )
            for hours in (4, 6, 8, 12, 16, 18, 24, 48)
        ),
        from_polars(
            "tds_level_change_24h",
            pl.col("tds_level") - pl.col("tds_level_lag_24h"),
            description="tds_level less that of a day before",
        ),
        from_polars(
            "temperature_difference",
            pl.col("air_temperature") - pl.col("water_temperature"),
            description="Air less water, degrees Celsius",
        ),
        aggregate(
            "optimal_share_72h",
            "share",
            "is_env_optimal",
            window="72h",
            delay="2d",
            description="Which share of the verdicts were good, in the 72 hours that ended two days before: only then "
            "are they all known",
        ),
    ),
    checks=(
        not_null("ph_level", at_most=0.05, on_fail="warn"),
        between("ph_level_mean_24h", 0, 14),
        between("readings_24h", 1),
        matches("ph_level_min_24h IS NULL OR ph_level_min_24h <= ph_level_max_24h"),
    ),
)
