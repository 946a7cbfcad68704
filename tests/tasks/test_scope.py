"""What a run covers, and how often its tasks try."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prefect import task

from infra.code import ROOT
from karat.declare import load_project
from karat.settings import Settings
from tasks.job_task import is_retryable
from tasks.scope import Scope


@pytest.fixture
def scope(settings: Settings, tmp_path: Path) -> Scope:
    shutil.copytree(ROOT / "tests" / "shop_project", tmp_path / "projects" / "shop")
    settings = settings.model_copy(update={"projects": tmp_path / "projects"})
    project = load_project("shop", settings)
    return Scope(settings, project, project.models)


@task
def step() -> None: ...


def test_tasks_try_as_often_as_the_project_declares(scope: Scope):
    retried = scope.retried(step)
    assert (retried.retries, retried.retry_delay_seconds) == (2, 1)
    assert retried.retry_condition_fn is is_retryable


def test_settings_override_the_project(scope: Scope):
    ours = scope.settings.model_copy(update={"retry_attempts": 0, "retry_delay_seconds": 7.5})
    retried = Scope(ours, scope.project, scope.models).retried(step)
    assert (retried.retries, retried.retry_delay_seconds) == (0, 7.5)


def test_the_tables_are_those_that_the_models_read(scope: Scope):
    assert scope.tables == ("spend",)
    assert Scope(scope.settings, scope.project, {}).tables == ("spend",)
    assert list(scope.only(["next_week"]).models) == ["next_week"]
