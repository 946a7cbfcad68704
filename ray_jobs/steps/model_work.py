"""What a worker opens for the model that it was given the name of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from karat.declare import ModelSpec, Project, load_project
from karat.lake import Lake
from karat.registry import Registry
from karat.settings import Settings
from ray_jobs.models import ModelItem


@dataclass(frozen=True)
class ModelWork:
    project: Project
    spec: ModelSpec
    lake: Lake
    registry: Registry
    parameters: dict[str, Any]
    commit: str


def open_model(item: ModelItem) -> ModelWork:
    project, lake, registry = _opened(item.project)
    return ModelWork(project, project.models[item.model], lake, registry, item.parameters, item.commit)


@cache  # A worker works for one job alone, and a job is of one version of the code.
def _opened(project: str) -> tuple[Project, Lake, Registry]:
    settings = Settings()
    return load_project(project, settings), Lake(settings.lake, settings.environment), Registry(settings.mlflow_url)
