"""Which reports are due: of champions that none has told of yet, and on the days of the schedules, once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from infra.code import ROOT
from karat.declare import load_project
from karat.lake import Lake
from karat.monitoring import record
from karat.monitoring.table import POLARS
from karat.settings import Settings
from tasks.scope import Scope
from tasks.watched import asked_checks, due_checks

TODAY = datetime.now(UTC).date()
NEVER = {"dataset_drift": "0 5 29 2 *", "prediction_drift": "0 5 29 2 *", "fairness": "0 5 29 2 *"}


@pytest.fixture
def scope(settings: Settings, tmp_path: Path) -> Scope:
    shutil.copytree(ROOT / "tests" / "shop_project", tmp_path / "projects" / "shop")
    settings = settings.model_copy(update={"projects": tmp_path / "projects"})
    project = load_project("shop", settings)
    return Scope(settings, project, {"next_week": project.models["next_week"]})


def on(scope: Scope, schedules: dict[str, str]) -> Scope:
    """The same scope in a project in UTC with these schedules."""
    spec = scope.project.spec
    spec = spec.model_copy(update={"timezone": "UTC", "schedules": spec.schedules.model_copy(update=schedules)})
    return replace(scope, project=replace(scope.project, spec=spec))


def told(scope: Scope, check: str, day: date, version: int) -> None:
    row = {"day": day, "model_name": "shop_dev.models.next_week", "check_name": check, "column_name": "x"}
    lake = Lake(scope.settings.lake, "dev")
    record(lake, "shop_dev", pl.DataFrame([row | {"model_version": version}], schema=POLARS, orient="row"))


def test_what_a_new_version_reads_is_told_at_once(scope: Scope) -> None:
    scope = on(scope, NEVER)
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["dataset"]}
    told(scope, "dataset", TODAY, 1)
    assert due_checks(scope, {"next_week": 1}) == {}
    assert due_checks(scope, {"next_week": 2}) == {"next_week": ["dataset"]}
    assert due_checks(scope, {}) == {}


def test_on_the_day_of_its_schedule_a_check_is_due_once(scope: Scope) -> None:
    scope = on(scope, NEVER | {"dataset_drift": "0 5 * * *", "prediction_drift": "0 5 * * *"})
    told(scope, "dataset", TODAY - timedelta(days=1), 1)
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["dataset", "prediction"]}
    for check in ("dataset", "prediction"):
        told(scope, check, TODAY, 1)
    assert due_checks(scope, {"next_week": 1}) == {}
    assert due_checks(scope, {"next_week": 2}) == {"next_week": ["dataset", "prediction"]}


def test_groups_are_asked_about_where_a_model_declares_some(scope: Scope) -> None:
    spec = scope.models["next_week"].model_copy(update={"protected": ("customer_id",)})
    both = replace(scope, models=scope.models | {"other": spec})
    assert asked_checks(both, None)["next_week"] == ["dataset", "prediction"]
    assert asked_checks(both, None)["other"] == ["dataset", "prediction", "fairness"]
    assert asked_checks(both, ["fairness"]) == {"other": ["fairness"]}
