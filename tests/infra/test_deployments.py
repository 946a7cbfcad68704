from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.deployments import SCHEDULED, crons_of, flows, register, register_deployments
from infra.local.probes import call_prefect
from infra.zombies import HEARTBEAT, NAME, RUNNING
from karat.declare import load_project
from karat.settings import Settings

ROOT = Path(__file__).parents[2]
FLOWS = {
    "feature-pipeline",
    "training-pipeline",
    "inference-pipeline",
    "monitoring-pipeline",
    "promotion",
    "master-orchestrator",
}


def test_flows_are_found_in_the_text_of_their_files() -> None:
    assert set(flows()) >= FLOWS
    for entrypoint in flows().values():
        assert (ROOT / entrypoint.partition(":")[0]).is_file()


def test_registering_imports_no_flow() -> None:
    code = (
        "import sys, infra.deployments as d; d.flows(); print([m for m in sys.modules if m.split('.')[0] == 'flows'])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("mode", ["master", "independent"])
def test_either_the_master_has_a_schedule_or_the_others(mode: str, settings: Settings) -> None:
    loaded = load_project("health_monitor", settings)
    project = replace(loaded, spec=loaded.spec.model_copy(update={"mode": mode}))
    crons = {flow: crons_of(flow, project) for flow in FLOWS}
    schedules = project.spec.schedules.model_dump()
    named = [name for found in crons.values() for name in found]
    if mode == "master":
        assert {flow: found for flow, found in crons.items() if found} == {
            "master-orchestrator": {"master": schedules["master"]}
        }
    else:
        assert crons["promotion"] == crons["master-orchestrator"] == {}
        assert sorted(named) == sorted(schedules.keys() - {"master"})
        assert all(found == {n: schedules[n] for n in found} for found in crons.values())


def test_each_schedule_of_the_watch_asks_for_its_own_check() -> None:
    assert SCHEDULED["monitoring-pipeline"] == {
        "dataset_drift": {"checks": ["dataset"]},
        "prediction_drift": {"checks": ["prediction"]},
        "fairness": {"checks": ["fairness"]},
    }


def on_server(settings: Settings) -> dict[tuple[str, str], dict]:
    """Every deployment on the server, by entry point and project; without what the worker's polls change."""
    found = call_prefect(settings, "/deployments/filter", {"limit": 200})
    polled = ("last_polled", "status")
    return {(d["entrypoint"], d["name"]): {k: v for k, v in d.items() if k not in polled} for d in found}


@pytest.fixture(scope="module")
def others(platform: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the platform with two projects of their own; the repository's deployments are put back."""
    yield platform.model_copy(update={"projects": tmp_path_factory.mktemp("others") / "projects"})
    register(platform)


@pytest.fixture
def projects(others: Settings) -> Settings:
    """Each test has the two projects as they were."""
    shutil.rmtree(others.projects, ignore_errors=True)
    for name in ("one", "two"):
        shutil.copytree(ROOT / "projects" / "customers", others.projects / name)
    register(others)
    return others


@pytest.mark.platform
def test_there_is_one_deployment_of_each_flow_for_each_project(platform: Settings) -> None:
    """As `karat up` registers them; again, because another test here may have replaced them by its own."""
    assert register(platform).problems == []
    found = on_server(platform)
    for flow, entrypoint in flows().items():
        deployment = found[entrypoint, "health_monitor"]
        assert deployment["parameters"] == {"project": "health_monitor"}
        assert deployment["work_pool_name"] == "karat"
        assert deployment["enforce_parameter_schema"]
        assert "project" in deployment["parameter_openapi_schema"]["properties"]
        crons = [s["schedule"]["cron"] for s in deployment["schedules"]]
        assert crons == list(crons_of(flow, load_project("health_monitor", platform)).values())


@pytest.mark.platform
def test_registering_twice_changes_nothing_and_a_paused_schedule_stays_paused(projects: Settings) -> None:
    names = register_deployments(projects)
    assert len(names) == 2 * len(flows())
    master = on_server(projects)[flows()["master-orchestrator"], "one"]
    (schedule,) = master["schedules"]
    assert schedule["active"]
    path = f"/deployments/{master['id']}/pause_deployment"
    call_prefect(projects, path, {})
    before = on_server(projects)
    assert register_deployments(projects) == names
    assert on_server(projects) == before
    assert before[flows()["master-orchestrator"], "one"]["paused"]


@pytest.mark.platform
def test_a_changed_schedule_is_taken_over_in_the_projects_time_zone(projects: Settings) -> None:
    spec = projects.projects / "one" / "project.yaml"
    written = re.sub(r"(?m)^timezone: .*$", "timezone: Europe/Berlin", spec.read_text())
    spec.write_text(written + '\nschedules:\n  master: "15 6 * * *"\n')
    assert register(projects).problems == []
    (schedule,) = on_server(projects)[flows()["master-orchestrator"], "one"]["schedules"]
    assert schedule["schedule"] == {"cron": "15 6 * * *", "timezone": "Europe/Berlin", "day_or": True}


@pytest.mark.platform
def test_removed_project_goes_and_a_broken_one_keeps_what_it_has(projects: Settings) -> None:
    shutil.rmtree(projects.projects / "two")
    (projects.projects / "one" / "project.yaml").write_text("mode: sometimes\n")
    done = register(projects)
    assert done.deployments == []
    assert len(done.problems) == 1
    assert "mode" in done.problems[0]
    assert {name for _, name in on_server(projects)} == {"one"}


@pytest.mark.platform
def test_there_is_one_automation_against_zombies(platform: Settings) -> None:
    """It counts from a run's begin, not only from its first heartbeat, and registering again leaves it as it is."""
    found = [a for a in call_prefect(platform, "/automations/filter", {}) if a["name"] == NAME]
    assert [(a["enabled"], set(a["trigger"]["after"])) for a in found] == [(True, {RUNNING, HEARTBEAT})]
    register(platform)
    again = [a for a in call_prefect(platform, "/automations/filter", {}) if a["name"] == NAME]
    assert [a["id"] for a in again] == [a["id"] for a in found]
