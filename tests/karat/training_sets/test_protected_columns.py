"""Which groups fairness sees, in training and in the audit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from karat.declare import FeatureTable, Project, aggregate
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import Lookup
from karat.lake import Lake
from karat.training_sets.protected_columns import protected_columns


def test_a_protected_column_of_another_table_is_looked_up_for_the_models_own_rows(shop: Project, lake: Lake) -> None:
    """Of a table with a time of its own the newest row that was known on the row's day."""
    tiers = FeatureTable(
        name="tiers",
        description="What a customer belongs to",
        source="orders",
        entity=("customer",),
        time="since",
        features=(aggregate("tier", "max", "channel", window="7d", description="Tier", dtype="string"),),
    )
    project = replace(shop, tables={**shop.tables, "tiers": tiers})
    spec = project.models["next_week"]
    lookups = (*spec.lookups, Lookup(table="tiers", features=("tier",)))
    spec = spec.model_copy(update={"lookups": lookups, "protected": ("tier",)})
    rows = pl.DataFrame({"customer": "a", "since": [date(2026, 1, 1), date(2026, 2, 1)], "tier": ["low", "high"]})
    lake.create(
        project.table_name("tiers"), rows.to_arrow().schema, primary_key=["customer", "since"], timeseries="since"
    )
    lake.overwrite(project.table_name("tiers"), rows)
    keys = pl.DataFrame({"customer": ["a", "a", "b"], "day": [date(2026, 1, 20), date(2026, 3, 1), date(2026, 3, 1)]})
    tier = protected_columns(DeclaredModel(project, spec), lake, keys)["tier"]
    assert tier.to_list() == ["low", "high", None]
