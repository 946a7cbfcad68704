"""24 windowed features: six aggregations over four windows."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate

WINDOWS = (1, 7, 14, 30)

wide = FeatureTable(
    name="wide",
    description="Six aggregations over four windows",
    source="events",
    entity=("entity_id",),
    time="day",
    features=tuple(
        aggregate(f"{name}_{days}d", function, column, window=f"{days}d", description=f"{name} of {days} days")
        for days in WINDOWS
        for name, function, column in (
            ("events", "count", None),
            ("amount", "sum", "amount"),
            ("mean_amount", "mean", "amount"),
            ("least_amount", "min", "amount"),
            ("largest_amount", "max", "amount"),
            ("quantity", "sum", "quantity"),
        )
    ),
)
