"""Some of the behavioural features of document 002, and what of the day's date is a feature."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate, between, from_sql

behavioral_features = FeatureTable(
    name="behavioral_features",
    description="What a user does",
    source="activity",
    entity=("user_id",),
    time="day",
    rows="window",
    features=(
        aggregate("doc_access_count_7d", "count", where="kind = 'document'", window="7d", description="Documents"),
        aggregate("doc_access_count_30d", "count", where="kind = 'document'", window="30d", description="Documents"),
        aggregate("doc_seconds_30d", "mean", "seconds", window="30d", description="Seconds a document"),
        aggregate(
            "email_open_rate_30d", "share", "opened", where="kind = 'email'", window="30d", description="Opened e-mails"
        ),
    ),
    checks=(between("doc_seconds_30d", 0, 100_000),),
)
temporal_features = FeatureTable(
    name="temporal_features",
    description="What day it is",
    source="activity",
    entity=("user_id",),
    time="day",
    rows="window",
    features=(
        aggregate("activity_count_1d", "count", window="1d", description="All of the day"),
        from_sql("day_of_week", "isodow(day)", dtype="int64", description="1 Monday"),
        from_sql("month_sin", "sin(2 * pi() * month(day) / 12)", description="The month on a circle"),
    ),
)
