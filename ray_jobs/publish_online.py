"""What has changed in the feature tables, into the online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from infra.job_records import Outcome
from karat.online import OnlineStore, open_store, publish_table
from ray_jobs.program import Job, attempt, log, logged, main


def work(job: Job) -> Iterator[Outcome]:
    store = open_store(job.settings)
    for table in job.parameters["tables"]:
        yield attempt(table, publish, job, store, table)


def publish(job: Job, store: OnlineStore, table: str) -> Outcome:
    published = publish_table(job.lake, store, job.project.table_name(table), progress=logged(table))
    log.info("%s: %s", table, published)
    reference = asdict(published) | {"table": str(published.table)}
    return Outcome(name=table, state="done" if published.changed else "kept", reference=reference)


if __name__ == "__main__":
    main(work)
