"""Equipment features: what a growing unit is."""

from __future__ import annotations

from karat.declare import FeatureTable, aggregate, from_sql, is_in

equipment_features = FeatureTable(
    name="equipment_features",
    description="What a growing unit is; one row a unit, without time",
    owner="growing-operations",
    source="dim_equipment",
    entity=("equipment_id",),
    features=(
        aggregate("equipment_type", "max", "equipment_type", dtype="string", description="How roots get their water"),
        aggregate("crop", "max", "crop", dtype="string", description="What grows in it"),
        aggregate("volume_litres", "max", "volume_litres", description="Litres that its tank holds"),
        aggregate("probe_model", "max", "probe_model", dtype="string", description="A or B, of its pH probe"),
        from_sql(
            "is_small",
            "volume_litres < 200",
            dtype="bool",
            description="Whether its tank holds less than 200 litres, and so follows the air's temperature fast",
        ),
    ),
    checks=(is_in("probe_model", "A", "B"),),
)
