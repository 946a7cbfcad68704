"""What a run covers: the models and feature tables that its parameters name, and how often its tasks try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from infra.local.environment import use_platform
from karat.declare import ModelSpec, Project, load_project
from karat.settings import Settings
from tasks.jobs import begin_root, worth_another_try

T = TypeVar("T")


@dataclass(frozen=True)
class Scope:
    """A checked selection of one project."""

    settings: Settings
    project: Project
    models: dict[str, ModelSpec]

    @property
    def tables(self) -> tuple[str, ...]:
        """The feature tables that the models read; without any model, all of them."""
        return self.project.tables_of(self.models) if self.models else tuple(self.project.tables)

    def only(self, models: Sequence[str]) -> Scope:
        """The same scope with fewer models."""
        return replace(self, models={n: m for n, m in self.models.items() if n in models})

    def retried(self, task: Task[..., T], **options: Any) -> Task[..., T]:
        """``task`` with the project's retries; KARAT_RETRY_ATTEMPTS and KARAT_RETRY_DELAY_SECONDS override them."""
        ours, theirs = self.settings, self.project.spec.retries
        return task.with_options(
            retries=theirs.attempts if ours.retry_attempts is None else ours.retry_attempts,
            retry_delay_seconds=theirs.delay_seconds if ours.retry_delay_seconds is None else ours.retry_delay_seconds,
            retry_condition_fn=worth_another_try,
            cache_policy=NO_CACHE,
            **options,
        )


def open_scope(project: str, domain: str | None = None, models: Sequence[str] | None = None) -> Scope:
    """Called first by every flow. Raises UnknownProject, UnknownModel or DeclarationError before anything starts."""
    settings = Settings()
    use_platform(settings)
    run = FlowRunContext.get()
    if run is not None and run.flow_run is not None and run.flow_run.parent_task_run_id is None:
        begin_root(str(run.flow_run.id))
    loaded = load_project(project, settings)
    return Scope(settings, loaded, loaded.select(domain=domain, models=tuple(models or ())))
