"""kill -9 of the worker in a run, with and without the run's process: it ends well, and its log names the worker."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from infra.local.instances import running_instance
from infra.local.platform import register
from infra.local.probes import call_ray
from infra.local.processes import flow_processes
from infra.prefect_api import Prefect, Run
from karat.settings import Settings
from tests.faults.conftest import await_until
from tests.shop import SHOP, Shop

pytestmark = [pytest.mark.platform, pytest.mark.faults, pytest.mark.timeout(900)]
FLOW = "feature-pipeline"


@pytest.fixture
def shop(platform: Settings) -> Shop:
    """The shop among the platform's own projects, where its worker finds it."""
    name = f"shop_{uuid.uuid4().hex[:8]}"
    shutil.copytree(SHOP, platform.projects / name, ignore=shutil.ignore_patterns("__pycache__"))
    (platform.projects / name / "hold").mkdir()
    register(platform)
    return Shop(name, platform)


def held_run(shop: Shop) -> Run:
    """A run of the platform's worker that waits in the middle of a job until the shop is released."""
    shop.hold()
    run = Prefect(shop.settings).start(FLOW, shop.name, shop.name, {"project": shop.name, "sample": True})
    await_until(lambda: shop.reached)
    return run


def end_of(shop: Shop, run: Run, seconds: float = 300) -> Run:
    api = Prefect(shop.settings)
    await_until(lambda: api.run(run.id).is_final, seconds)
    return api.run(run.id)


def warnings_of(shop: Shop, run: Run) -> str:
    lines = Prefect(shop.settings).logs([run.id], datetime.now(UTC) - timedelta(minutes=30))
    return "\n".join(line.message for line in lines if line.level >= logging.WARNING)


def running_jobs(shop: Shop, run: Run) -> list[str]:
    jobs = call_ray(shop.settings, "/api/jobs/")
    return [j["submission_id"] for j in jobs if j["submission_id"].startswith(run.id) and j["status"] == "RUNNING"]


def kill_worker(shop: Shop, *others: psutil.Process) -> int:
    worker = running_instance(shop.settings, "worker")
    assert worker is not None
    for process in (worker, *others):
        process.kill()
    await_until(lambda: running_instance(shop.settings, "worker") is not None)
    return worker.pid


def test_a_run_goes_on_without_its_worker(shop: Shop) -> None:
    run = held_run(shop)
    killed = kill_worker(shop)
    await_until(lambda: "the run goes on in its process" in warnings_of(shop, run), 60)
    shop.release()
    ended = end_of(shop, run)
    assert (ended.state_type, ended.run_count) == ("COMPLETED", 1)
    assert f"worker local (process {killed}) has ended" in warnings_of(shop, run)


def test_a_run_is_resumed_by_the_next_worker(shop: Shop) -> None:
    run = held_run(shop)
    (process, *_) = flow_processes(shop.settings)[run.id]
    killed = kill_worker(shop, process)
    shop.release()
    ended = end_of(shop, run)
    assert (ended.state_type, ended.run_count) == ("COMPLETED", 2)
    assert f"worker local (process {killed}) has ended" in warnings_of(shop, run)
    assert "resumed by the next worker, try 2 of 3" in warnings_of(shop, run)
    assert len(list((shop.settings.home / "jobs").glob(f"{run.id}-features-*"))) == 1, "it attached to the first's job"


def test_a_claimed_run_without_a_process_does_not_stay_pending(shop: Shop) -> None:
    """What a worker leaves that dies between its claim and the start of the process, before any heartbeat."""
    api = Prefect(shop.settings)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": later}}
    run = api.start(FLOW, shop.name, shop.name, {"project": shop.name, "sample": True}, state=state)
    api.set_state(run.id, "PENDING", "Submitting", "")
    kill_worker(shop)
    began = time.monotonic()
    await_until(lambda: api.run(run.id).state_type != "PENDING", 120)
    assert time.monotonic() - began < 120
    assert end_of(shop, run).state_type == "COMPLETED"


def test_a_run_without_a_worker_of_its_own_can_be_cancelled(shop: Shop) -> None:
    run = held_run(shop)
    kill_worker(shop)
    Prefect(shop.settings).cancel(run.id)
    assert end_of(shop, run, 120).state_type == "CANCELLED"
    assert run.id not in flow_processes(shop.settings)
    shop.release()


def test_the_pipelines_and_jobs_of_a_killed_run_end_with_it(shop: Shop) -> None:
    api = Prefect(shop.settings)
    shop.hold()
    run = api.start("master-orchestrator", shop.name, shop.name, {"project": shop.name})
    await_until(lambda: shop.reached)
    flow_processes(shop.settings)[run.id][0].kill()
    ended = end_of(shop, run, 120)
    assert ended.state_type == "CRASHED"
    assert "SIGKILL" in ended.message
    await_until(lambda: all(child.is_final for child in api.children(run.id)), 60)
    await_until(lambda: not running_jobs(shop, run), 60)
    shop.release()
