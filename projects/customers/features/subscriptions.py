"""What a customer subscribes to and has given up; for models of one's own: churn does with customers alone."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate, between, from_sql

RUNS = "ended_months_ago IS NULL"

subscription_features = FeatureTable(
    name="subscription_features",
    description="Subscriptions of a customer, running and ended; one row a customer, without time",
    owner="customer-analytics",
    source="subscriptions",
    entity=("customer_id",),
    features=(
        aggregate("subscriptions", "count", where=RUNS, description="Subscriptions that run"),
        aggregate("list_price", "sum", "monthly_price", where=RUNS, description="What they cost by the list, dollars"),
        aggregate(
            "newest_months", "min", "began_months_ago", where=RUNS, description="Months since the newest of them began"
        ),
        aggregate(
            "cancelled", "count", where="ended_months_ago IS NOT NULL", description="Subscriptions that were given up"
        ),
        aggregate(
            "cancelled_6m", "count", where="ended_months_ago < 6", description="Those given up in the last six months"
        ),
        from_sql(
            "cancelled_share",
            "cancelled / nullif(cancelled + subscriptions, 0)",
            description="Which share of all subscriptions was given up",
        ),
    ),
    checks=(between("subscriptions", 0, 9), between("cancelled_share", 0, 1)),
)
