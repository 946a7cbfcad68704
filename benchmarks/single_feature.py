"""One feature of one entity as of a date, from gold, in a warm process: the required figure is 100 ms."""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.measure import Claim, conclude, versions
from karat.declare import load_project
from karat.features.on_the_fly import features_as_of
from karat.lake import Lake
from karat.quality import write_sample
from karat.settings import Settings

LIMIT = 0.1
READS = 200


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        measure(Settings(home=folder, projects=Path(__file__).parent.parent / "projects"))
    finally:
        shutil.rmtree(folder)


def measure(settings: Settings) -> None:
    project, lake = load_project("health_monitor", settings), Lake(settings.lake, settings.environment)
    write_sample(project, lake, tables=["fact_usage"])
    usage = lake.read(project.gold_name("fact_usage"))
    workspaces = usage["workspace_id"].unique().sort().to_list()
    first, last = (
        datetime.combine(d, datetime.min.time(), UTC) for d in (usage["usage_date"].min(), usage["usage_date"].max())
    )
    rng = np.random.default_rng(3)
    features = [f.name for f in project.tables["cost_features"].stored]
    taken: dict[str, list[float]] = {"one feature": [], "all features": []}
    for read in range(READS + 5):
        entity = pl.DataFrame({"workspace_id": [workspaces[rng.integers(len(workspaces))]]})
        at = first + (last - first) * float(rng.uniform(0.2, 1))
        for what, chosen in (("one feature", [features[rng.integers(len(features))]]), ("all features", features)):
            began = time.perf_counter()
            features_as_of(project, "cost_features", lake, entity, at=at, features=chosen)
            if read >= 5:
                taken[what].append(time.perf_counter() - began)
    shares = {f"{what}, p{q}": [float(np.percentile(times, q))] for what, times in taken.items() for q in (50, 95)}
    claims = [
        Claim("one feature's median over 100 ms", median(taken["one feature"]) / LIMIT, 1),
        Claim("one feature's p95 over 100 ms", shares["one feature, p95"][0] / LIMIT, 1),
    ]
    conclude("single_feature", claims, shares, versions("duckdb", "polars", "deltalake"), gold_rows=usage.height)


if __name__ == "__main__":
    main()
