"""The online store: an 83-feature vector with statuses, in process; Feast's get_online_features on SQLite beside it.

Each read is timed by itself over keys in random order; 100 vectors are read in one call.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.measure import Claim, Peer, conclude, versions
from karat import FeatureEngineeringClient
from karat.clock import microseconds
from karat.online import KeySpace, RowReader, open_store
from karat.settings import Settings

FEATURES = [f"f{i}" for i in range(83)]
ENTITIES = 10_000
READS = 50_000
FEAST_READS = 300


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        measure(folder)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path) -> None:
    rng = np.random.default_rng(5)
    table = pl.DataFrame(
        {"user_id": [f"user_{i}" for i in range(ENTITIES)], "day": [date(2025, 1, 1)] * ENTITIES}
        | {name: rng.normal(size=ENTITIES) for name in FEATURES}
    )
    stamped = table.drop("day").with_columns(pl.lit(datetime.now(UTC) - timedelta(minutes=1)).alias("event_timestamp"))
    stamped.write_parquet(folder / "features.parquet")
    reader = published(folder, table)
    keys = [(f"user_{i}",) for i in rng.integers(0, ENTITIES, READS)]
    at = microseconds(datetime.now(UTC))
    assert np.array_equal(
        reader.read_array(keys[0], at)[0], table.row(by_predicate=pl.col("user_id") == keys[0][0])[2:]
    )
    hundreds = [keys[i : i + 100] for i in range(0, READS, 100)]
    with Peer("feast_online", str(folder), str(FEAST_READS)) as feast:
        feast.measure()
        rounds = []
        for _ in range(3):  # taking turns
            rounds.append(
                {
                    "array": each(lambda key: reader.read_array(key, at), keys),
                    "dict": each(lambda key: reader.read_dict(key, at), keys),
                    "100 vectors": each(lambda some: reader.read_many(some, at), hundreds),
                    "Feast": np.array(feast.measure()["reads"]),
                }
            )
        peers = feast.versions
    seconds = {
        f"{side}, {p}": [at_share(r[side], q) for r in rounds]
        for side in rounds[0]
        for p, q in (("p50", 50), ("p99", 99))
    }
    took = {name: median(taken) for name, taken in seconds.items()}
    claims = [
        Claim("p99 as an array, over 30 microseconds", took["array, p99"] / 30e-6, 1),
        Claim("p99 as a dict, over 50 microseconds", took["dict, p99"] / 50e-6, 1),
        Claim("100 vectors, over 2 milliseconds", took["100 vectors, p50"] / 2e-3, 1),
        Claim("Feast's p99 over Karat's", took["Feast, p99"] / took["dict, p99"], 1, at_least=True),
    ]
    conclude("online_read", claims, seconds, versions("lmdb") | peers)


def published(folder: Path, table: pl.DataFrame) -> RowReader:
    settings = Settings(home=folder / "home")
    client = FeatureEngineeringClient("bench_dev", settings)
    client.create_table("wide", ["user_id", "day"], table, timeseries_columns="day")
    client.publish_table("wide")
    return RowReader(open_store(settings), KeySpace("bench_dev.features.wide", "latest"), FEATURES)


def each(read: Callable[[object], object], keys: list) -> np.ndarray:
    """Seconds of every single call."""
    clock, taken = time.perf_counter_ns, np.empty(len(keys))
    for i, key in enumerate(keys):
        began = clock()
        read(key)
        taken[i] = clock() - began
    return taken / 1e9


def at_share(taken: np.ndarray, percent: float) -> float:
    return float(np.percentile(taken, percent))


if __name__ == "__main__":
    main()
