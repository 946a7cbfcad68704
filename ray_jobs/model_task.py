"""One model as one Ray task: a worker opens the project, the lake and the registry for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from infra.job_records import Outcome
from karat.declare import ModelSpec, Project, load_project
from karat.lake import Lake
from karat.registry import Registry
from karat.settings import Settings
from ray_jobs.executor import RayExecutor
from ray_jobs.program import Job, attempt, configure_logging, log


@dataclass(frozen=True)
class ModelItem:
    """What travels to the worker: names and the flow's parameters."""

    project: str
    model: str
    parameters: dict[str, Any] = field(default_factory=dict)
    commit: str = ""


@dataclass(frozen=True)
class ModelWork:
    """What the worker opens from it."""

    settings: Settings
    project: Project
    spec: ModelSpec
    lake: Lake
    registry: Registry
    parameters: dict[str, Any]
    commit: str


Step = Callable[[ModelWork], Outcome]


def for_each_model(job: Job, step: Step) -> Iterator[Outcome]:
    """``step`` for every model of the job, each in a task of one CPU; a failing one leaves the others."""
    items = [ModelItem(job.project.name, name, job.parameters, job.commit) for name in job.models()]
    for done, (_, outcome) in enumerate(RayExecutor().map(partial(run_step, step), items), start=1):
        log.info("%s: %s (%d/%d)", outcome.name, outcome.error or outcome.state, done, len(items))
        yield outcome


def run_step(step: Step, item: ModelItem) -> Outcome:
    """In the worker."""
    configure_logging()
    return attempt(item.model, _opened, step, item)


def _opened(step: Step, item: ModelItem) -> Outcome:
    return step(_open(item))


def _open(item: ModelItem) -> ModelWork:
    settings = Settings()
    project = load_project(item.project, settings)
    return ModelWork(
        settings=settings,
        project=project,
        spec=project.models[item.model],
        lake=Lake(settings.lake, settings.environment),
        registry=Registry(settings.mlflow_url),
        parameters=item.parameters,
        commit=item.commit,
    )
