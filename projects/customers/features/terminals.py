"""What a terminal is; for models of one's own: fraud does with payments alone."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate

terminal_features = FeatureTable(
    name="terminal_features",
    description="A terminal as it stands; one row a terminal, without time",
    owner="customer-analytics",
    source="terminals",
    entity=("terminal_id",),
    features=(
        aggregate("unattended", "max", "unattended", dtype="bool", description="Whether nobody looks after it"),
        aggregate("category", "max", "category", dtype="string", description="What is sold there"),
    ),
)
