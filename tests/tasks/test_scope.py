"""What a run covers, and how often its tasks try."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from prefect import task

from infra.code import ROOT
from karat.declare import load_project
from karat.declare.project import Retries
from karat.errors import ServiceDown
from karat.settings import Settings
from tasks.job_task import next_try, tries_again
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
    assert (retried.retries, retried.retry_delay_seconds) == (2, [1])
    assert retried.retry_condition_fn is tries_again


@pytest.mark.parametrize(("environment", "delays"), [("dev", [5, 15, 45]), ("prod", [300])])
def test_a_project_that_says_nothing_waits_seconds_on_a_laptop_and_minutes_in_production(
    scope: Scope, environment: str, delays: list[float]
):
    silent = replace(
        scope.project, environment=environment, spec=scope.project.spec.model_copy(update={"retries": Retries()})
    )
    assert Scope(scope.settings, silent, scope.models).retried(step).retry_delay_seconds == delays


def test_the_wait_is_said_with_its_number_and_its_reason(scope: Scope):
    waiting = step.with_options(retries=3, retry_delay_seconds=[5, 15])
    error = ServiceDown("Ray does not answer", where="here")
    assert next_try(waiting, 1, error) == "step step: try 2 of 4 in 5 s, because Ray does not answer"
    assert next_try(waiting, 3, error) == "step step: try 4 of 4 in 15 s, because Ray does not answer"
    assert "try 2 of 3 in 0 s" in next_try(step.with_options(retries=2), 1, OSError("gone"))


def test_settings_override_the_project(scope: Scope):
    ours = scope.settings.model_copy(update={"retry_attempts": 0, "retry_delay_seconds": 7.5})
    retried = Scope(ours, scope.project, scope.models).retried(step)
    assert (retried.retries, retried.retry_delay_seconds) == (0, [7.5])


def test_the_tables_are_those_that_the_models_read(scope: Scope):
    assert scope.tables == ("spend",)
    assert Scope(scope.settings, scope.project, {}).tables == ("spend",)
    assert list(scope.only(["next_week"]).models) == ["next_week"]
