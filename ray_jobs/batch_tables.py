"""Batch tables: the predictions of several models side by side, written after these are scored."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from infra.job_records import Outcome
from ray_jobs.executor import RayExecutor
from ray_jobs.models import ModelItem, lost_worker
from ray_jobs.program import Job, attempt, configure_logging, log_outcome, nothing_known


def for_each_batch_table(job: Job) -> Iterator[Outcome]:
    """Write every batch table of the job's models, each as a task of one CPU; a failure leaves the others."""
    items = [ModelItem("combine", job.project.name, name) for name in job.project.batch_tables_of(job.models())]
    for done, (_, outcome) in enumerate(RayExecutor().map(run_combine, items, lost=lost_worker), start=1):
        log_outcome(outcome, done, len(items))
        yield outcome


def run_combine(item: ModelItem) -> Outcome:
    """Run the step in the worker, as ``ray_jobs.models.run_step`` does."""
    configure_logging()
    return attempt(nothing_known(item.model), import_module("ray_jobs.steps.combine").step, item.project, item.model)
