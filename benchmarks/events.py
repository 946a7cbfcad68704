"""Gold events for the benchmarks, and the table of 24 windowed features computed from them on a warm Ray."""

from __future__ import annotations

import logging
import uuid
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import ray

from karat.declare import Project, load_project
from karat.features import MaterializationResult, compute_table
from karat.lake import Lake, Work
from karat.settings import Settings
from ray_jobs.executor import RayExecutor

START, DAYS = date(2025, 1, 1), 90


def settings_in(folder: Path) -> Settings:
    return Settings(home=folder / "home", projects=Path(__file__).parent / "projects")


def project_in(folder: Path) -> Project:
    return load_project("bench", settings_in(folder))


def write_events(folder: Path, count: int, entities: int = 100_000) -> Path:
    """``count`` events, spread evenly, as the Delta table bench_dev.gold.events; the folder of its Parquet files."""
    project, lake = project_in(folder), Lake(settings_in(folder).lake, "dev")
    source, name = project.gold["events"], project.gold_name("events")
    lake.create(name, source.schema, primary_key=source.key, timeseries=source.event_time)
    staged = []
    for day in range(DAYS):
        staged += lake.stage(name, events_of(day, count // DAYS, entities), label=f"day-{day}")
    lake.commit(name, staged, replace="all", work=Work("benchmark", uuid.uuid4().hex))
    return lake.path(name)


def events_of(day: int, count: int, entities: int) -> pl.DataFrame:
    rng = np.random.default_rng(day)
    start = datetime.combine(START, datetime.min.time()) + timedelta(days=day)
    at = np.datetime64(start, "us") + rng.integers(0, 86_400_000_000, count).astype("timedelta64[us]")
    return pl.DataFrame(
        {
            "event_id": np.arange(day * count, (day + 1) * count),
            "entity_id": rng.integers(0, entities, count),
            "time": pl.Series(at).dt.replace_time_zone("UTC"),
            "amount": rng.normal(100, 30, count),
            "quantity": rng.integers(1, 20, count),
        }
    )


def warm_ray(cpus: int = 2) -> None:
    """A Ray of this process with workers that have imported what they need: the platform, warm."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    root = str(Path(__file__).parent.parent)
    ray.init(
        num_cpus=cpus, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": root}}
    )
    list(RayExecutor().map(_import, range(2 * cpus)))


def _import(_: int) -> None:
    import karat.features.shard  # noqa: F401


def compute(folder: Path, shards: int | None = None) -> MaterializationResult:
    """The whole table anew, spread over Ray, in one Delta commit."""
    lake = Lake(settings_in(folder).lake, "dev")
    return compute_table(project_in(folder), "wide", lake, executor=RayExecutor(), full=True, shards=shards)
