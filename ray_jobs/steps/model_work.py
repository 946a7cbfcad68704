"""What a worker opens for the model that it was given the name of."""

from __future__ import annotations

from dataclasses import dataclass
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
    settings = Settings()
    project = load_project(item.project, settings)
    return ModelWork(
        project=project,
        spec=project.models[item.model],
        lake=Lake(settings.lake, settings.environment),
        registry=Registry(settings.mlflow_url),
        parameters=item.parameters,
        commit=item.commit,
    )
