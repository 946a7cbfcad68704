"""Program: check champions for drift and fairness, and commit the results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl

from infra.job_records import MonitoringOutcome, Outcome
from karat.monitoring import write_drift
from karat.monitoring.drift_table import POLARS_SCHEMA
from ray_jobs.models import for_each_model
from ray_jobs.program import Job, log, main


def work(job: Job) -> Iterator[Outcome]:
    """Check the champions; the rows of all models become one commit when the last model is done."""
    outcomes = list(for_each_model(job, "monitor"))
    monitored = [o for o in outcomes if isinstance(o, MonitoringOutcome)]
    found = [pl.DataFrame(list(o.rows), schema=POLARS_SCHEMA, orient="row") for o in monitored if o.rows]
    rows = pl.concat(found) if found else pl.DataFrame(schema=POLARS_SCHEMA)
    at = pl.lit(datetime.now(UTC), dtype=POLARS_SCHEMA["checked_at"]).alias("checked_at")
    commit = write_drift(job.lake, job.project.catalog, rows.with_columns(at))
    if commit is not None:
        log.info("%s: %d rows, version %d", commit.table, rows.height, commit.version)
    yield from outcomes


if __name__ == "__main__":
    main(work)
