"""The point-in-time join: 1 million feature rows by 100,000 spine rows, two keys, unsorted.

How many rows an entity has decides what a join by inner join and row_number costs: the claim is for 1,000 (an hourly
table of six weeks); 100 (a daily table of three months) and 10 are measured and printed beside it.
Against Feast's get_historical_features on its DuckDB file store (both from files, Karat's being a Delta table), and
against Polars' join_asof with both sides sorted in the timing and the order restored (both in memory).
``--large``: 100 million by 1 million from Delta, with the peak memory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.measure import Claim, Peer, conclude, family, peak_memory, take_turns, timed, versions
from karat import FeatureEngineeringClient, FeatureLookup
from karat.features import point_in_time_join
from karat.lake import Work
from karat.settings import Settings

KEYS = {"customer_id": "customer_id", "region": "region"}
FEATURES = [f"f{i}" for i in range(5)]
#: Rows an entity of the claim.
DEPTH = 1000
START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(count: int, customers: int, seed: int) -> pl.DataFrame:
    """Keys (an integer and a string) and a time within 90 days, in no order; no key stands twice at one time."""
    rng = np.random.default_rng(seed)
    times = START.timestamp() * 1e6 + rng.integers(0, 90 * 86_400, count) * 1_000_000
    frame = pl.DataFrame(
        {
            "customer_id": rng.integers(0, customers, count),
            "region": pl.Series(rng.integers(0, 5, count)).cast(pl.String).cast(pl.Categorical).cast(pl.String),
            "event_timestamp": pl.Series(times.astype(np.int64)).cast(pl.Datetime("us", "UTC")),
        }
    )
    return frame.unique(["customer_id", "region", "event_timestamp"], maintain_order=True)


def features(count: int, customers: int, seed: int) -> pl.DataFrame:
    rng, keys = np.random.default_rng(seed + 1), rows(count, customers, seed)
    return keys.with_columns(pl.Series(name, rng.normal(size=keys.height)) for name in FEATURES)


def by_polars(spine: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """As somebody would write it by hand."""
    return (
        spine.with_row_index("row")
        .sort("event_timestamp")
        .join_asof(table.sort("event_timestamp"), on="event_timestamp", by=list(KEYS), check_sortedness=False)
        .sort("row")
    )


def by_karat(spine: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    return point_in_time_join(
        spine, table, keys=KEYS, time=("event_timestamp", "event_timestamp"), columns=FEATURES
    ).values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="100 million by 1 million instead, without peers")
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        large(folder) if parser.parse_args().large else small(folder)
    finally:
        shutil.rmtree(folder)


def small(folder: Path) -> None:
    seconds: dict[str, list[float]] = {}
    for depth, runs in ((10, 5), (100, 5), (DEPTH, 3)):
        taken, peers = against_feast(folder / str(depth), customers=200_000 // depth, runs=runs)
        seconds |= {f"{side}, {depth} rows an entity": t for side, t in taken.items()}
    spine, table = rows(100_000, 200_000 // DEPTH, seed=7), features(1_000_000, 200_000 // DEPTH, seed=1)
    assert by_karat(spine, table).equals(by_polars(spine, table).select(FEATURES)), "the two sides differ"
    seconds |= take_turns(
        {"Karat, in memory": timed(lambda: by_karat(spine, table)), "Polars": timed(lambda: by_polars(spine, table))}, 9
    )
    took = {name: median(taken) for name, taken in seconds.items()}
    feast = {d: took[f"Feast, {d} rows an entity"] / took[f"Karat, {d} rows an entity"] for d in (10, 100, DEPTH)}
    claims = [
        Claim(f"Feast's time over Karat's, {DEPTH} rows an entity", feast[DEPTH], 20, at_least=True),
        Claim("Karat's time over Polars'", took["Karat, in memory"] / took["Polars"], 1.5),
    ]
    conclude("asof_join", claims, seconds, versions("polars", "deltalake") | peers, feast_over_karat=feast)


def against_feast(folder: Path, *, customers: int, runs: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Both from files: Karat's training set (pins, statuses, report and digest with it) and Feast's frame."""
    folder.mkdir()
    spine, table = rows(100_000, customers, seed=7), features(1_000_000, customers, seed=1)
    table.write_parquet(folder / "features.parquet")
    spine.write_parquet(folder / "spine.parquet")
    client = stored(folder, table)
    with Peer("feast_asof", str(folder)) as feast:
        sides = {"Karat": timed(lambda: joined(client, spine)), "Feast": feast.run}
        return take_turns(sides, runs), feast.versions


def stored(folder: Path, table: pl.DataFrame) -> FeatureEngineeringClient:
    client = FeatureEngineeringClient("bench_dev", Settings(home=folder / "home"))
    client.create_table(
        "wide", [*KEYS, "event_timestamp"], schema=table.head(0).to_arrow().schema, timeseries_columns="event_timestamp"
    )
    client.write_table("wide", table, mode="overwrite")
    return client


def joined(client: FeatureEngineeringClient, spine: pl.DataFrame) -> pl.DataFrame:
    looked = FeatureLookup("wide", FEATURES, lookup_key=list(KEYS), timestamp_lookup_key="event_timestamp")
    return client.create_training_set(spine, [looked], label=None).load_df()


def large(folder: Path) -> None:
    client = FeatureEngineeringClient("bench_dev", Settings(home=folder / "home"))
    schema = features(10, 10, 1).to_arrow().schema
    client.create_table("wide", [*KEYS, "event_timestamp"], schema=schema, timeseries_columns="event_timestamp")
    name = client.get_table("wide").name
    staged = []
    for part in range(20):  # customers of its own for each part, so that no key stands twice
        block = features(5_000_000, 100_000, seed=part).with_columns(pl.col("customer_id") + part * 100_000)
        staged += client.lake.stage(name, block, label=f"part-{part}")
    client.lake.commit(name, staged, replace="all", work=Work("benchmark", "large"))
    spine = rows(1_000_000, 2_000_000, seed=99)
    with peak_memory(family) as peak:
        seconds = take_turns({"Karat, from Delta": timed(lambda: joined(client, spine))}, 1, warm=0)
    claims = [Claim("peak memory over 8 GiB", peak["process"] / 8, 1)]
    conclude("asof_join_large", claims, seconds, versions("polars", "deltalake"), peak_gib=peak)


if __name__ == "__main__":
    main()
