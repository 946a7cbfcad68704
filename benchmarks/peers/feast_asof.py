"""Feast's get_historical_features on its DuckDB file store: `python feast_asof.py FOLDER`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from _loop import serve
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64


def main() -> None:
    folder = Path(sys.argv[1])
    config = RepoConfig(
        project="bench",
        registry=str(folder / "registry.db"),
        provider="local",
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    region = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING)
    names = [f"f{i}" for i in range(5)]
    view = FeatureView(
        name="wide",
        entities=[customer, region],
        ttl=timedelta(days=0),
        schema=[Field(name=n, dtype=Float64) for n in names],
        source=FileSource(path=str(folder / "features.parquet"), timestamp_field="event_timestamp"),
        online=False,
    )
    store.apply([customer, region, view])
    spine = pd.read_parquet(folder / "spine.parquet")
    references = [f"wide:{n}" for n in names]

    def work() -> dict[str, int]:
        got = store.get_historical_features(entity_df=spine, features=references).to_df()
        return {"rows": len(got)}

    serve(work, "feast", "duckdb")


if __name__ == "__main__":
    main()
