"""Feast's get_online_features on SQLite: `python feast_online.py FOLDER READS`; each run times so many single reads."""

from __future__ import annotations

import random
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from _loop import serve
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64


def main() -> None:
    folder, reads = Path(sys.argv[1]), int(sys.argv[2])
    config = RepoConfig(
        project="bench",
        registry=str(folder / "registry.db"),
        provider="local",
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    path = str(folder / "features.parquet")
    rows = pd.read_parquet(path)
    names = [f"f{i}" for i in range(83)]
    view = FeatureView(
        name="wide",
        entities=[user],
        ttl=timedelta(days=1),
        schema=[Field(name=n, dtype=Float64) for n in names],
        source=FileSource(path=path, timestamp_field="event_timestamp"),
        online=True,
    )
    store.apply([user, view])
    store.write_to_online_store("wide", rows)
    references = [f"wide:{n}" for n in names]
    count = len(rows)

    def work() -> dict[str, list[float]]:
        taken = []
        for _ in range(reads):
            key = f"user_{random.randrange(count)}"
            began = time.perf_counter()
            store.get_online_features(features=references, entity_rows=[{"user_id": key}]).to_dict()
            taken.append(time.perf_counter() - began)
        return {"reads": taken}

    serve(work, "feast")


if __name__ == "__main__":
    main()
