"""What others rely on: names, parameters and hooks of the flows, the programs they submit, and how light they are."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import import_module
from typing import get_args

import pytest
from prefect import Flow

from infra.code import ROOT
from infra.deployments import flows
from infra.job_records import Program
from tests import warm

FLOWS = {
    "feature-pipeline": "flows.feature_pipeline:feature_pipeline",
    "training-pipeline": "flows.training_pipeline:training_pipeline",
    "promotion": "flows.promotion:promotion",
    "monitoring-pipeline": "flows.monitoring_pipeline:monitoring_pipeline",
    "inference-pipeline": "flows.inference_pipeline:inference_pipeline",
    "master-orchestrator": "flows.master_orchestrator:master_orchestrator",
}


def flow_of(name: str) -> Flow:
    module, function = FLOWS[name].split(":")
    return getattr(import_module(module), function)


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_takes_a_project_a_domain_and_models(name: str):
    flow = flow_of(name)
    assert flow.name == name
    assert list(inspect.signature(flow.fn).parameters)[:3] == ["project", "domain", "models"]


@pytest.mark.parametrize("name", FLOWS)
def test_hooks_take_the_three_names_that_prefect_calls_them_by(name: str):
    flow = flow_of(name)
    hooks = [*(flow.on_cancellation_hooks or []), *(flow.on_failure_hooks or []), *(flow.on_crashed_hooks or [])]
    assert len(hooks) == 3
    assert all(list(inspect.signature(h).parameters) == ["flow", "flow_run", "state"] for h in hooks)


def test_every_flow_has_its_deployment():
    found = {name: entry.replace("/", ".").replace(".py:", ":") for name, entry in flows().items()}
    assert found == FLOWS


@pytest.mark.parametrize("program", get_args(Program))
def test_every_entry_point_of_a_job_resolves_and_says_what_it_is(program: str):
    module = import_module(program)
    assert callable(module.work)
    done = warm.run([sys.executable, "-m", program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--spec" in done.stdout
    assert (module.__doc__ or "").split()[0] in done.stdout


def test_every_program_of_the_room_is_an_entry_point_that_a_spec_may_name():
    written = {f"ray_jobs.{p.stem}" for p in (ROOT / "ray_jobs").glob("*.py") if "main(work)" in p.read_text()}
    assert written == set(get_args(Program))


def test_what_starts_often_does_not_load_what_only_workers_need():
    """A flow's process and a job's driver start on the user's time; these cost seconds each."""
    often = "flows.master_orchestrator, infra.cli.run, ray_jobs.train_models, ray_jobs.monitor_models"
    heavy = {"mlflow", "sklearn", "xgboost", "matplotlib", "torch", "pandas", "skops", "evidently", "ray.serve"}
    probe = f"import json, sys; import {often}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(json.loads(done.stdout)) == set()
