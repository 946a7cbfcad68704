"""Windowed features: 20 million events of 100,000 entities in 90 days, to 24 features in a Delta table.

Against PySpark in local mode on as many cores, and against a DuckDB query written by hand with as many threads; both
write Parquet. Ray is warm; what a job costs before its first line is measured beside it. ``--growth``: a fifth of the
events beside all of them, without peers.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.events import compute, warm_ray, write_events
from benchmarks.measure import Claim, Peer, conclude, family, machine, peak_memory, take_turns, timed, versions

WINDOWS = (1, 7, 14, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--without-peers", action="store_true", help="Karat and DuckDB alone")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        if chosen.growth:
            growth(folder, chosen.events)
        else:
            measure(folder, chosen.events, chosen.runs, spark=not chosen.without_peers)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, events: int, runs: int, *, spark: bool) -> None:
    files = write_events(folder, events)
    cores = machine()["cores"]
    warm_ray(cores)
    sides = {
        "Karat": timed(lambda: compute(folder)),
        "DuckDB": timed(lambda: by_duckdb(files, folder / "duckdb.parquet", cores)),
    }
    peer = Peer("spark_windows", str(files), str(folder / "spark.parquet"), str(cores)) if spark else None
    if peer:
        sides["PySpark"] = peer.run
    with peak_memory(lambda: [p for p in family() if not peer or p not in family(peer.pid)]) as peak:
        seconds = take_turns(sides, runs)
    took = {name: median(taken) for name, taken in seconds.items()}
    claims = [
        Claim("Karat's time over DuckDB's", took["Karat"] / took["DuckDB"], 1.3),
        Claim("peak memory of any process over 3 GiB", peak["process"] / 3, 1),
    ]
    if peer:
        peer.close()
        claims.append(Claim("PySpark's time over Karat's", took["PySpark"] / took["Karat"], 5, at_least=True))
    installed = versions("duckdb", "polars", "ray", "deltalake") | (peer.versions if peer else {})
    conclude("window_features", claims, seconds, installed, events=events, peak_gib=peak, job_start_seconds=job_start())


def job_start() -> float:
    """Seconds until a job's program has what it needs: its imports in a process of its own."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import ray_jobs.compute_features"], check=True)
    return round(time.perf_counter() - began, 2)


def growth(folder: Path, events: int) -> None:
    for part, count in (("fifth", events // 5), ("whole", events)):
        write_events(folder / part, count)
    warm_ray(machine()["cores"])
    sides = {f"{part} of the events": timed(lambda part=part: compute(folder / part)) for part in ("fifth", "whole")}
    with peak_memory(family) as peak:
        seconds = take_turns(sides, 3)
    ratio = median(seconds["whole of the events"]) / median(seconds["fifth of the events"])
    claims = [
        Claim("five times the events, times the time", ratio, 5.5),
        Claim("peak memory of any process over 3 GiB", peak["process"] / 3, 1),
    ]
    conclude("window_growth", claims, seconds, versions("duckdb", "polars", "ray"), events=events, peak_gib=peak)


def by_duckdb(files: Path, out: Path, threads: int) -> None:
    """As somebody would write it by hand: a tile a day, then windows over tiles."""
    outputs = ", ".join(
        f"""sum(n) OVER w{d} AS events_{d}d, sum(a) OVER w{d} AS amount_{d}d,
            sum(a) OVER w{d} / sum(n) OVER w{d} AS mean_amount_{d}d, min(lo) OVER w{d} AS least_amount_{d}d,
            max(hi) OVER w{d} AS largest_amount_{d}d, sum(q) OVER w{d} AS quantity_{d}d"""
        for d in WINDOWS
    )
    windows = ", ".join(
        f"w{d} AS (PARTITION BY entity_id ORDER BY day RANGE BETWEEN {d - 1} PRECEDING AND CURRENT ROW)"
        for d in WINDOWS
    )
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute(
            f"""COPY (
              WITH tiles AS (
                SELECT entity_id, (epoch_us(time) // 86400000000)::INTEGER AS day, count(*) AS n, sum(amount) AS a,
                       min(amount) AS lo, max(amount) AS hi, sum(quantity) AS q
                FROM read_parquet('{files}/**/*.parquet', hive_partitioning = false) GROUP BY ALL)
              SELECT entity_id, DATE '1970-01-01' + day AS day, {outputs} FROM tiles WINDOW {windows}
            ) TO '{out}' (FORMAT parquet)"""
        )


if __name__ == "__main__":
    main()
