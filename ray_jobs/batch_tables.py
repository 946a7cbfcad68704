"""The batch tables in which the job's models stand side by side, made when these are scored."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from infra.job_records import Outcome
from ray_jobs.executor import RayExecutor
from ray_jobs.models import ModelItem, lost_worker
from ray_jobs.program import Job, attempt, conclude, configure_logging


def for_each_batch_table(job: Job) -> Iterator[Outcome]:
    """Each as a task of one CPU; a failing one leaves the rest."""
    items = [ModelItem("combine", job.project.name, name) for name in job.project.batch_tables_of(job.models())]
    for done, (_, outcome) in enumerate(RayExecutor().map(run_combine, items, lost=lost_worker), start=1):
        conclude(outcome, done, len(items))
        yield outcome


def run_combine(item: ModelItem) -> Outcome:
    """In the worker, as ``ray_jobs.models.run_step``."""
    configure_logging()
    return attempt(item.model, import_module("ray_jobs.steps.combine").step, item.project, item.model)
