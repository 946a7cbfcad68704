"""Program: train a candidate version of each model."""

from __future__ import annotations

from collections.abc import Iterator

from infra.job_records import Outcome
from ray_jobs.models import for_each_model
from ray_jobs.program import Job, main


def work(job: Job) -> Iterator[Outcome]:
    """Train one candidate of each model."""
    return for_each_model(job, "train")


if __name__ == "__main__":
    main(work)
