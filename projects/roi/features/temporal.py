"""Temporal features (10): what day it is, on the calendar and on its circles, and how old the account is."""

from __future__ import annotations

from karat.declare import Feature, FeatureTable, aggregate, between, from_sql


def _circle(name: str, angle: str, what: str) -> tuple[Feature, Feature]:
    """Sine and cosine of a part of a circle, so that its end lies beside its beginning."""
    sine, cosine = (
        from_sql(f"{name}_{f}", f"{f}(2 * pi() * {angle})", description=f"{told} of {what} as a part of a circle")
        for f, told in (("sin", "Sine"), ("cos", "Cosine"))
    )
    return sine, cosine


temporal_features = FeatureTable(
    name="temporal_features",
    description="The day, for each user with an account; until three weeks after his last snapshot",
    owner="roi-analytics",
    source="users",
    entity=("user_id",),
    time="day",
    rows="window",
    features=(
        aggregate(
            "signed_up",
            "last",
            "date_diff('day', DATE '1970-01-01', signed_up_on)",
            window="21d",
            dtype="int64",
            intermediate=True,
            description="Day of signing up",
        ),
        from_sql(
            "account_age_days",
            "date_diff('day', DATE '1970-01-01', day) - signed_up",
            dtype="int64",
            description="Days since the account was opened",
        ),
        from_sql("day_of_week", "isodow(day)", dtype="int64", description="1 Monday to 7 Sunday"),
        from_sql("is_weekend", "isodow(day) >= 6", dtype="bool", description="Whether it is a Saturday or Sunday"),
        from_sql(
            "days_to_month_end",
            "date_diff('day', day, last_day(day))",
            dtype="int64",
            description="Days left in the month, 0 on its last day",
        ),
        *_circle("day_of_week", "(isodow(day) - 1) / 7", "the day in the week"),
        *_circle("month", "(month(day) - 1) / 12", "the month in the year"),
        *_circle("day_of_month", "(day(day) - 1) / day(last_day(day))", "the day in the month"),
    ),
    checks=(between("account_age_days", 0), between("days_to_month_end", 0, 30)),
)
