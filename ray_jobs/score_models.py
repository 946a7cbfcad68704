"""Program: write batch predictions of champions, then the batch tables of several models."""

from __future__ import annotations

from collections.abc import Iterator

from infra.job_records import Outcome
from ray_jobs.batch_tables import for_each_batch_table
from ray_jobs.models import for_each_model
from ray_jobs.program import Job, main


def work(job: Job) -> Iterator[Outcome]:
    """Score each champion, then combine the predictions."""
    yield from for_each_model(job, "score")
    yield from for_each_batch_table(job)


if __name__ == "__main__":
    main(work)
