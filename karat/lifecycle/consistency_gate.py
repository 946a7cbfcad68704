"""Gate on ``catalog.monitoring.consistency``: how well served features agreed with the offline store."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from karat.declare.models import ModelSpec
from karat.lake import Lake
from karat.names import ModelName, TableName

SCHEMA = pa.schema(
    [
        pa.field("model_name", pa.string(), nullable=False, metadata={"comment": "The registered model"}),
        pa.field(
            "checked_at", pa.timestamp("us", tz="UTC"), nullable=False, metadata={"comment": "When it was compared"}
        ),
        pa.field("feature", pa.string(), nullable=False, metadata={"comment": "As the model names it"}),
        pa.field("rows", pa.int64(), metadata={"comment": "Predictions of the sample that looked the feature up"}),
        pa.field("mismatches", pa.int64(), metadata={"comment": "Those whose value or status was another offline"}),
        pa.field("share", pa.float64(), metadata={"comment": "mismatches / rows"}),
    ]
)
KEY = ("model_name", "checked_at", "feature")


def consistency_table(catalog: str) -> TableName:
    """Return the name of the catalog's table."""
    return TableName(catalog, "monitoring", "consistency")


def record_consistency(lake: Lake, model: ModelName, features: pl.DataFrame) -> None:
    """Append a comparison.

    Args:
        lake: Holds the table, which is made at first use.
        model: Registered name.
        features: Rows of ``SCHEMA``, one per feature.
    """
    name = consistency_table(model.catalog)
    lake.create(
        name, SCHEMA, primary_key=KEY, description="Served feature values against the offline store, by feature"
    )
    lake.merge(name, features.select(SCHEMA.names))


def latest_consistency(lake: Lake, model: ModelName) -> pl.DataFrame:
    """Return the newest comparison of the model, one row per feature; empty without."""
    name = consistency_table(model.catalog)
    if not lake.exists(name):
        return pl.DataFrame(SCHEMA.empty_table())
    rows = lake.scan(name).filter(pl.col("model_name") == str(model))
    return rows.filter(pl.col("checked_at") == pl.col("checked_at").max()).sort("feature").collect()


def inconsistent_features(lake: Lake, model: ModelName, spec: ModelSpec) -> list[str]:
    """Return the features whose share of mismatches exceeds the limit, in words.

    Empty if the model declares no limit, or nothing was compared yet.
    """
    limit = spec.gates.consistency
    if limit is None:
        return []
    over = latest_consistency(lake, model).filter(pl.col("share") > limit)
    return [
        f"{row['feature']} was served otherwise than the offline store says for {row['share']:.2%} of {row['rows']} "
        f"predictions (limit {limit:.2%})"
        for row in over.to_dicts()
    ]
