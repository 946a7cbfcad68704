"""Scope of a run: the models and feature tables that its parameters name, and how often its tasks retry."""

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
from tasks.job_task import begin_root, tries_again

T = TypeVar("T")


@dataclass(frozen=True)
class Scope:
    """A selection of one project's models, checked against its declarations."""

    settings: Settings
    project: Project
    models: dict[str, ModelSpec]

    @property
    def tables(self) -> tuple[str, ...]:
        """The feature tables that the models read; all of them without a model."""
        return self.project.tables_of(self.models) if self.models else tuple(self.project.tables)

    def only(self, models: Sequence[str]) -> Scope:
        """Return the same scope with fewer models."""
        return replace(self, models={n: m for n, m in self.models.items() if n in models})

    def retried(self, task: Task[..., T], **options: Any) -> Task[..., T]:
        """Return the task with retries: the project's, or KARAT_RETRY_ATTEMPTS and KARAT_RETRY_DELAY_SECONDS."""
        ours, theirs = self.settings, self.project.spec.retries
        declared, set_delay = theirs.delays(self.project.environment), ours.retry_delay_seconds
        return task.with_options(
            retries=theirs.attempts if ours.retry_attempts is None else ours.retry_attempts,
            retry_delay_seconds=list(declared) if set_delay is None else [set_delay],
            retry_condition_fn=tries_again,
            cache_policy=NO_CACHE,
            **options,
        )


def open_scope(project: str, domain: str | None = None, models: Sequence[str] | None = None) -> Scope:
    """Load the project and select models; every flow calls this first.

    Args:
        project: Name of the project.
        domain: Only the models of this domain.
        models: Only these models.

    Raises:
        UnknownProject: no such project.
        UnknownModel: no such model or domain.
        DeclarationError: the project's declarations are wrong.
    """
    settings = Settings()
    use_platform(settings)
    run = FlowRunContext.get()
    if run is not None and run.flow_run is not None and run.flow_run.parent_task_run_id is None:
        begin_root(str(run.flow_run.id))
    loaded = load_project(project, settings)
    return Scope(settings, loaded, loaded.select(domain=domain, models=tuple(models or ())))
