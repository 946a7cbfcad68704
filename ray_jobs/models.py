"""One model as one Ray task, so that a failing model leaves the others."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any, Literal

from infra.job_records import JobError, Outcome
from karat.declare.models import ModelSpec
from karat.names import TableName
from ray_jobs.executor import RayExecutor
from ray_jobs.missing_gold import skipped_for_gold
from ray_jobs.order import largest_first
from ray_jobs.program import Job, attempt, configure_logging, log_outcome, nothing_known

Step = Literal["train", "promote", "score", "combine", "monitor"]


@dataclass(frozen=True)
class ModelItem:
    """What travels to the worker: names and the flow's parameters."""

    step: Step
    project: str
    model: str
    parameters: dict[str, Any] = field(default_factory=dict)
    commit: str = ""


def for_each_model(job: Job, step: Step) -> Iterator[Outcome]:
    """Run ``ray_jobs.steps.STEP`` for each model of the job, each as a task; a failure leaves the others."""
    models = largest_first(job, {m: tables_of(job, m) for m in job.models()})
    left_out = skipped_for_gold(job, {m: job.project.gold_read_by({m: job.project.models[m]}) for m in models})
    items = [
        ModelItem(step, job.project.name, name, job.parameters, job.commit) for name in models if name not in left_out
    ]
    worked = (outcome for _, outcome in RayExecutor().map(run_step, items, lost=lost_worker, cpus=_cpus(job)))
    for done, outcome in enumerate(chain(left_out.values(), worked), start=1):
        log_outcome(outcome, done, len(models))
        yield outcome


def _cpus(job: Job) -> Callable[[ModelItem], float]:
    """The CPUs of a model's task: none where it waits for trials or for workers, which have their own."""

    def waits(spec: ModelSpec) -> bool:
        return bool(spec.search) or spec.distributed.backend in ("ray_train", "xgboost_ray")

    return lambda item: 0 if item.step == "train" and waits(job.project.models[item.model]) else 1


def tables_of(job: Job, model: str) -> list[TableName]:
    """Return the feature tables that the model reads."""
    return [job.project.table_name(t) for t in job.project.tables_of({model: job.project.models[model]})]


def lost_worker(item: ModelItem, error: Exception) -> Outcome:
    """Return the failed outcome of a model whose worker died."""
    return Outcome(name=item.model, state="failed", error=JobError.of(error))


def run_step(item: ModelItem) -> Outcome:
    """Run the step in the worker, which alone imports MLflow, scikit-learn and the like: they take seconds."""
    configure_logging()
    return attempt(nothing_known(item.model), _run, item)


def _run(item: ModelItem) -> Outcome:
    step = _imported(f"ray_jobs.steps.{item.step}").step
    opened = _imported("ray_jobs.steps.model_work").open_model(item)
    outcome: Outcome = step(opened)
    return outcome


@cache
def _imported(name: str) -> ModuleType:
    """The module, out of reach of the garbage collector.

    Modules stay as long as the process; the collector would take half a second each time to walk through MLflow's.
    """
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()
