"""What has changed in the feature tables, into the online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from infra.job_records import Outcome
from karat.declare.known import KnownProjects
from karat.online import OnlineStore, open_store, publish_table
from ray_jobs.awaiting import waiting
from ray_jobs.program import Job, attempt, conclude, logged, main


def work(job: Job) -> Iterator[Outcome]:
    store = open_store(job.settings)
    tables = job.parameters["tables"]
    left_out = waiting(job, {t: [job.project.tables[t].source] for t in tables})
    for done, table in enumerate(tables, start=1):
        outcome = left_out.get(table) or attempt(table, publish, job, store, table)
        conclude(outcome, done, len(tables))
        yield outcome


def publish(job: Job, store: OnlineStore, table: str) -> Outcome:
    published = publish_table(
        job.lake,
        store,
        job.project.table_name(table),
        logged(table),
        sequence_length=longest(job, table),
        projects=KnownProjects(job.settings, job.project),
    )
    said = f"{published.written} keys written, {published.deleted} deleted, version {published.version} is online"
    reference = asdict(published) | {"table": str(published.table)}
    return Outcome(name=table, state="done" if published.changed else "kept", said=said, reference=reference)


def longest(job: Job, table: str) -> int | None:
    """The longest sequence that a model of the project looks up in the table; None where none does."""
    lookups = (lookup for model in job.project.models.values() for lookup in model.lookups)
    lengths = (getattr(lookup, "sequence_length", None) for lookup in lookups if lookup.table == table)
    return max((n for n in lengths if n), default=None)


if __name__ == "__main__":
    main(work)
