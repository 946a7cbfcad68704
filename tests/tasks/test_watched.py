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
from karat.monitoring import write_drift
from karat.monitoring.drift_table import POLARS_SCHEMA
from karat.settings import Settings
from tasks.monitoring_schedule import due_checks, requested_checks
from tasks.scope import Scope

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


def told(scope: Scope, check: str, day: date, version: int, at: datetime | None = None) -> None:
    row = {
        "day": day,
        "checked_at": at,
        "model_name": "shop_dev.models.next_week",
        "check_name": check,
        "column_name": "x",
    }
    lake = Lake(scope.settings.lake, "dev")
    write_drift(lake, "shop_dev", pl.DataFrame([row | {"model_version": version}], schema=POLARS_SCHEMA, orient="row"))


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


def at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Makes it this moment of UTC."""
    frozen = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    clock = type("Clock", (datetime,), {"now": classmethod(lambda _, zone: frozen.astimezone(zone))})
    monkeypatch.setattr("tasks.monitoring_schedule.datetime", clock)


def test_a_check_that_was_missed_on_its_day_is_made_up(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master failed on the first of the month: the next run makes the check, and no run after that."""
    scope = on(scope, NEVER | {"prediction_drift": "0 5 1 * *"})
    told(scope, "dataset", date(2026, 2, 20), 1)
    at(monkeypatch, "2026-02-28T06:00")  # the model was not yet there on the first of February
    assert due_checks(scope, {"next_week": 1}) == {}
    at(monkeypatch, "2026-03-03T06:00")
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["prediction"]}
    told(scope, "prediction", date(2026, 3, 3), 1)
    assert due_checks(scope, {"next_week": 1}) == {}
    at(monkeypatch, "2026-04-02T06:00")
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["prediction"]}


def test_what_a_new_champion_predicts_is_still_to_come(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = on(scope, NEVER | {"prediction_drift": "0 5 1 * *"})
    at(monkeypatch, "2026-03-03T06:00")
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["dataset"]}
    told(scope, "prediction", date(2026, 3, 1), 1)
    assert due_checks(scope, {"next_week": 2}) == {"next_week": ["dataset"]}


def test_days_are_those_of_the_projects_zone(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Zurich the second of March begins at 23:00 UTC on the first."""
    scope = on(scope, NEVER | {"dataset_drift": "0 5 * * *"})
    spec = scope.project.spec.model_copy(update={"timezone": "Europe/Zurich"})
    scope = replace(scope, project=replace(scope.project, spec=spec))
    told(scope, "dataset", date(2026, 3, 1), 1, datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    at(monkeypatch, "2026-03-01T23:45")
    assert due_checks(scope, {"next_week": 1}) == {}
    at(monkeypatch, "2026-03-02T06:00")
    assert due_checks(scope, {"next_week": 1}) == {}
    at(monkeypatch, "2026-03-02T23:15")
    assert due_checks(scope, {"next_week": 1}) == {"next_week": ["dataset"]}


def test_groups_are_asked_about_where_a_model_declares_some(scope: Scope) -> None:
    spec = scope.models["next_week"].model_copy(update={"protected": ("customer_id",)})
    both = replace(scope, models=scope.models | {"other": spec})
    assert requested_checks(both, None)["next_week"] == ["dataset", "prediction"]
    assert requested_checks(both, None)["other"] == ["dataset", "prediction", "fairness"]
    assert requested_checks(both, ["fairness"]) == {"other": ["fairness"]}
