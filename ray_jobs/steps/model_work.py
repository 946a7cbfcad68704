"""What a worker opens for the model that it is given by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from karat.declare import Project, load_project
from karat.lake import Lake
from karat.lifecycle import ModelContext
from karat.registry import Registry, open_server
from karat.settings import Settings
from ray_jobs.models import ModelItem


@dataclass(frozen=True)
class ModelWork:
    """One model of a job, with the flow's parameters and the commit of the code."""

    context: ModelContext
    parameters: dict[str, Any]
    commit: str

    @property
    def name(self) -> str:
        """The declared name."""
        return self.context.spec.name


def open_model(item: ModelItem) -> ModelWork:
    """Load the project and open lake and registry, once per worker."""
    project, lake, registry = _opened(item.project)
    context = ModelContext(project, project.models[item.model], lake, registry)
    return ModelWork(context, item.parameters, item.commit)


@cache  # A worker works for one job alone, and a job is of one version of the code.
def _opened(project: str) -> tuple[Project, Lake, Registry]:
    settings = Settings()
    return load_project(project, settings), Lake(settings.lake, settings.environment), open_server(settings)
