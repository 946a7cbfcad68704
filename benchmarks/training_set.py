"""A training set of 20 million payments: two as-of lookups and the label, from Delta tables to Parquet files.

Karat builds it in blocks of customers on Ray: labels, joins, statuses and ages for the leakage report, split, digest,
files by part. The peer is one DuckDB query with two ASOF joins over the Parquet files of the same tables; it takes the
label from the payments themselves and writes one Parquet file. Both use all cores; their start is not measured.
``--rows`` makes it smaller; ``--data`` keeps the tables in a folder for another run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import polars as pl
import ray

from benchmarks.measure import Claim, conclude, family, peak_memory, take_turns, timed, versions
from karat.declare import Project, load_project
from karat.declare.declared_model import DeclaredModel
from karat.features.materialize import define
from karat.lake import Lake, Work
from karat.names import TableName
from karat.settings import Settings
from karat.training.split import split_rule
from karat.training_sets.sharded_build import FileTrainingSet, build_training_set
from ray_jobs.executor import RayExecutor

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 90
PART = 2_500_000
FILES = {
    "project.yaml": "description: Payments of a benchmark\nowner: benchmarks\n",
    "gold.py": """
from karat.declare import Column, GoldTable

payments = GoldTable(
    name="payments",
    description="Card payments",
    key=("payment_id",),
    event_time="at",
    columns={
        "payment_id": Column(dtype="int64", nullable=False),
        "customer_id": Column(dtype="int64", nullable=False),
        "at": Column(dtype="timestamp", nullable=False),
        "amount": Column(dtype="float64"),
        "fraud": Column(dtype="int64"),
    },
)
""",
    "features/tables.py": """
from datetime import timedelta

from karat.declare import Feature, FeatureTable

DAY = timedelta(days=1)
events = FeatureTable(
    name="events", description="Payments", owner="benchmarks", source="payments", entity=("customer_id",), time="at",
    event_id="payment_id", grain="event",
    features=[Feature(name="amount", description="Its amount", dtype="float64", event="amount")],
)


def table(name, windows):
    return FeatureTable(
        name=name, description=name, owner="benchmarks", source="payments", entity=("customer_id",), time="day",
        features=[Feature(name=f"{name}_{w}d", description="A sum", dtype="float64", function="sum", column="amount",
                          window=w * DAY) for w in windows],
    )


spend = table("spend", (1, 7, 14, 28, 56))
visits = table("visits", (2, 5, 10, 20, 40))
""",
    "models/fraud.yaml": """
description: Whether a payment is fraud
task: binary
kind: logistic_regression
spine: events
label: {name: is_fraud, source: payments, expression: fraud}
lookups: [{table: spend}, {table: visits}]
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder that keeps the tables")
    asked = parser.parse_args()
    folder = asked.data or Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        measure(folder, asked.rows, asked.runs)
    finally:
        if asked.data is None:
            shutil.rmtree(folder)


def measure(folder: Path, rows: int, runs: int) -> None:
    project, lake = opened(folder)
    if not lake.exists(project.gold_name("payments")):
        fill(project, lake, rows)
    model = DeclaredModel(project, project.models["fraud"])
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    made: list[FileTrainingSet] = []

    def karat() -> None:
        shutil.rmtree(folder / "made", ignore_errors=True)
        made[:] = [built(model, lake, folder / "made" / "set")]

    def peer() -> None:
        asof_query(project, lake, folder / "peer.parquet")

    with peak_memory(family) as peak:
        karat()
    peer()
    compare(made[0], folder / "peer.parquet")
    seconds = take_turns({"Karat": timed(karat), "DuckDB": timed(peer)}, runs, warm=0)
    ratio = median(seconds["Karat"]) / median(seconds["DuckDB"])
    claims = [
        Claim("Karat's time over DuckDB's", ratio, 1.3),
        Claim("peak of the largest process over 4 GiB", peak["process"] / 4, 1),
    ]
    conclude(
        "training_set", claims, seconds, versions("polars", "deltalake", "ray", "duckdb"), rows=made[0].rows,
        peak_gib=peak, digest=made[0].digest,
    )  # fmt: skip
    shutil.rmtree(folder / "made")
    (folder / "peer.parquet").unlink()


def opened(folder: Path) -> tuple[Project, Lake]:
    for name, text in FILES.items():
        path = folder / "projects" / "bench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    settings = Settings(home=folder / "home", projects=folder / "projects")
    return load_project("bench", settings), Lake(settings.lake, settings.environment)


def fill(project: Project, lake: Lake, rows: int) -> None:
    """Write the tables as Karat's engine does: gold in the order of time, features by key; 100 payments a customer."""
    gold, customers = project.gold["payments"], rows // 100
    lake.create(project.gold_name("payments"), gold.schema, primary_key=gold.key)
    write(lake, project.gold_name("payments"), payments(rows, customers))
    for name, share in (("spend", 0.5), ("visits", 0.15)):
        define(project, project.tables[name], lake)
        features = [f.name for f in project.tables[name].stored]
        write(lake, project.table_name(name), daily(features, customers, share))
    define(project, project.tables["events"], lake)
    keyed = (part.select("customer_id", "at", "payment_id", "amount") for part in payments(rows, customers))
    write(lake, project.table_name("events"), (part.sort("customer_id", "at") for part in keyed))


def write(lake: Lake, name: TableName, parts: Iterator[pl.DataFrame]) -> None:
    staged = [file for n, part in enumerate(parts) for file in lake.stage(name, part, label=f"part-{n}")]
    lake.commit(name, staged, replace="all", work=Work("benchmark", "fill"))


def payments(rows: int, customers: int) -> Iterator[pl.DataFrame]:
    span = DAYS * 86_400_000_000
    for start in range(0, rows, PART):
        number = np.arange(start, min(start + PART, rows))
        random = np.random.default_rng(start)
        at = START.timestamp() * 1e6 + number * (span / rows)
        yield pl.DataFrame(
            {
                "payment_id": number,
                "customer_id": random.integers(0, customers, len(number)),
                "at": pl.Series(at.astype(np.int64)).cast(pl.Datetime("us", "UTC")),
                "amount": random.gamma(2.0, 20.0, len(number)),
                "fraud": (random.random(len(number)) < 0.02).astype(np.int64),
            }
        )


def daily(features: list[str], customers: int, share: float) -> Iterator[pl.DataFrame]:
    """Rows of ``share`` of all days of each customer."""
    each = max(1, PART // DAYS)
    for start in range(0, customers, each):
        random = np.random.default_rng(start)
        count = min(each, customers - start)
        customer, day = np.divmod(np.flatnonzero(random.random(count * DAYS) < share), DAYS)
        keys = {
            "customer_id": customer + start,
            "day": pl.Series(day + (START.date() - datetime(1970, 1, 1).date()).days),
        }
        frame = pl.DataFrame(keys).with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date))
        yield frame.with_columns(pl.Series(name, random.gamma(2.0, 50.0, len(day))) for name in features)


def built(model: DeclaredModel, lake: Lake, folder: Path) -> FileTrainingSet:
    return build_training_set(
        model,
        lake,
        folder,
        lambda days: split_rule(model.spec, days, time=model.spine.time, entity=model.spine.entity),
        executor=RayExecutor(),
    )


def asof_query(project: Project, lake: Lake, out: Path) -> None:
    """As somebody would write it by hand; a day's row is known one day later."""
    names = {t: project.table_name(t) for t in ("spend", "visits")} | {"payments": project.gold_name("payments")}
    files = {t: [str(lake.path(n) / f) for f in lake.files(n)] for t, n in names.items()}
    features = {t: ", ".join(f.name for f in project.tables[t].stored) for t in ("spend", "visits")}
    known = "epoch_us((day + INTERVAL 1 DAY)::TIMESTAMP) AS known"
    with duckdb.connect() as connection:
        connection.sql(
            f"""COPY (
                SELECT p.customer_id, p.at, p.payment_id, p.fraud AS is_fraud, {features["spend"]}, {features["visits"]}
                FROM read_parquet({files["payments"]}) p
                ASOF LEFT JOIN (SELECT *, {known} FROM read_parquet({files["spend"]})) s
                    ON p.customer_id = s.customer_id AND epoch_us(p.at) >= s.known
                ASOF LEFT JOIN (SELECT *, {known} FROM read_parquet({files["visits"]})) v
                    ON p.customer_id = v.customer_id AND epoch_us(p.at) >= v.known
            ) TO '{out}' (FORMAT parquet)"""
        )


def compare(made: FileTrainingSet, peer: Path) -> None:
    """Both sides have the same rows: their columns have the same sums, to rounding."""
    sums = (pl.col(c).cast(pl.Float64).sum() for c in ("customer_id", "payment_id", *made.features, str(made.label)))
    nulls = (pl.col(c).null_count().alias(f"{c}_nulls") for c in made.features)
    asked = [*sums, *nulls, pl.len()]
    ours, theirs = (
        scan.select(asked).collect(engine="streaming").row(0) for scan in (made.files.scan(), pl.scan_parquet(peer))
    )
    assert np.allclose(ours, theirs, rtol=1e-9), f"the two sides differ: {ours} and {theirs}"


if __name__ == "__main__":
    main()
