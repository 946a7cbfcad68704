"""Features of events: the Handbook's 1,754,155 payments to every customer and terminal feature, a row per payment.

Against one DuckDB query written by hand for exactly these features, with as many threads, from the same Parquet file to
Parquet. The claim is of the engine (``compute_frame`` of both tables). What ``compute_table`` takes for all of it is
measured beside: from the gold Delta table, with checks, a file a day and one commit for each of the two Delta tables.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import duckdb
import polars as pl

from benchmarks.measure import Claim, conclude, machine, take_turns, timed, versions
from karat.declare import Project, load_project
from karat.features import compute_frame, compute_table
from karat.lake import Lake
from karat.quality import ingest
from karat.settings import Settings

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "fraud_transactions" / "transactions.parquet"
TABLES = ("customer_transactions", "terminal_risk")
WINDOWS = (1, 7, 30)
_DAY = 86_400_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    if not chosen.data.exists():
        sys.exit(f"the payments are not at {chosen.data}: name them with --data")
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        measure(folder, chosen.data, chosen.runs)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, data: Path, runs: int) -> None:
    settings = Settings(home=folder / "home", projects=ROOT / "projects")
    project, lake = load_project("customers", settings), Lake(settings.lake, settings.environment)
    ingest(project, "transactions", [data], lake, map_path=Path("fraud_handbook"), timezone="UTC")
    gold, by_hand, cores = folder / "gold.parquet", folder / "by_hand.parquet", machine()["cores"]
    lake.scan(project.gold_name("transactions")).sort("transaction_id").sink_parquet(gold)
    seconds = take_turns(
        {
            "Karat's engine": timed(lambda: by_engine(project, gold, folder)),
            "DuckDB": timed(lambda: by_duckdb(gold, by_hand, cores)),
            "Karat's Delta tables": timed(lambda: [compute_table(project, t, lake, full=True) for t in TABLES]),
        },
        runs,
    )
    agree(folder, by_hand)
    took = {name: median(taken) for name, taken in seconds.items()}
    claims = [Claim("the engine's time over DuckDB's", took["Karat's engine"] / took["DuckDB"], 1.5)]
    whole = round(took["Karat's Delta tables"] / took["DuckDB"], 2)
    rows = pl.scan_parquet(gold).select(pl.len()).collect().item()
    installed = versions("duckdb", "polars", "deltalake")
    conclude("event_features", claims, seconds, installed, events=rows, delta_tables_over_duckdb=whole)


def by_engine(project: Project, gold: Path, folder: Path) -> None:
    for name in TABLES:
        table = project.tables[name]
        rows = compute_frame(table, pl.scan_parquet(gold), source=project.gold[table.source])
        rows.write_parquet(folder / f"{name}.parquet")


def by_duckdb(gold: Path, out: Path, threads: int) -> None:
    """As somebody would write it by hand."""
    outputs = ", ".join(
        f"""count(*) OVER c{d} AS customer_count_{d}d, avg(amount) OVER c{d} AS customer_mean_amount_{d}d,
            count(*) OVER t{d} AS terminal_count_{d}d, avg(is_fraud::INT) OVER t{d} AS terminal_fraud_share_{d}d"""
        for d in WINDOWS
    )
    windows = ", ".join(
        f"""c{d} AS (PARTITION BY customer_id ORDER BY t RANGE BETWEEN {d * _DAY - 1} PRECEDING AND CURRENT ROW),
            t{d} AS (PARTITION BY terminal_id ORDER BY t
                     RANGE BETWEEN {(7 + d) * _DAY - 1} PRECEDING AND {7 * _DAY} PRECEDING)"""
        for d in WINDOWS
    )
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute(
            f"""COPY (
              WITH payments AS (SELECT *, epoch_us(tx_time) AS t, make_timestamp(t) AS utc FROM '{gold}')
              SELECT transaction_id, customer_id, terminal_id, utc, amount, isodow(utc) >= 6 AS is_weekend,
                     hour(utc) <= 6 AS is_night, {outputs}
              FROM payments WINDOW {windows}
            ) TO '{out}' (FORMAT parquet)"""
        )


def agree(folder: Path, by_hand: Path) -> None:
    """Two sides that compute different things are not compared."""
    other = pl.read_parquet(by_hand).sort("transaction_id")
    for name in TABLES:
        own = pl.read_parquet(folder / f"{name}.parquet").sort("transaction_id")
        for column in set(own.columns) & set(other.columns):
            one, two = own[column], other[column]
            near = (one - two).abs() <= 1e-9 * two.abs().clip(1e-9) if one.dtype.is_float() else one == two
            if one.null_count() != two.null_count() or not near.fill_null(True).all():
                raise SystemExit(f"Karat and DuckDB differ in {column}")


if __name__ == "__main__":
    main()
