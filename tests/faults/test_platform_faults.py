"""kill -9 of each part of the platform: it comes back by itself, and ``karat up`` repairs what cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from infra.local.environment import runtime_folder
from infra.local.platform import down, up
from infra.local.probes import PROBES, call_prefect
from infra.local.processes import FLOW_MARK, PART_MARK, marks, ours, part_of
from infra.local.status import status
from infra.local.supervisor import Supervisor
from karat.settings import Settings
from tests.faults.conftest import await_until, run_states

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

#: What is killed: words that its command line has, and the part of the platform that it belongs to.
VICTIMS = {
    "mlflow": ("mlflow server", "mlflow"),
    "mlflow's worker": ("-m uvicorn", "mlflow"),
    "prefect server": ("prefect server start", "prefect"),
    "prefect worker": ("prefect worker start", "worker"),
    "keeper": ("infra.local.keeper", "keeper"),
    "ray start": ("infra.local.ray_head", "ray"),
    "gcs_server": ("gcs/gcs_server", "ray"),
    "raylet": ("raylet/raylet", "ray"),
    "dashboard": ("dashboard/dashboard.py", "ray"),
}


def instances(settings: Settings, name: str) -> list[psutil.Process]:
    """The victim's processes, oldest first: Ray forks children that bear their parent's command line for a moment."""
    words, part = VICTIMS[name]
    found = ours(settings, lambda p: part_of(p) == part and words in " ".join(command(p)))
    return sorted(found, key=lambda process: process.create_time())


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def kill_supervisor(settings: Settings) -> None:
    pid = Supervisor(settings).pid()
    assert pid is not None
    kill(psutil.Process(pid))


@pytest.mark.parametrize(
    "names",
    [
        # Each wait is for the slowest: those that do not restart one another go together.
        ["mlflow", "prefect server", "prefect worker", "keeper", "raylet"],
        pytest.param(["mlflow's worker", "dashboard"], marks=pytest.mark.faults),
        pytest.param(["ray start"], marks=pytest.mark.faults),
        pytest.param(["gcs_server"], marks=pytest.mark.faults),
    ],
    ids=" and ".join,
)
def test_kill_9_of_parts(platform: Settings, zombie: str, names: list[str]) -> None:
    killed = {name: instances(platform, name)[0] for name in names}
    for process in killed.values():
        kill(process)
    for name, process in killed.items():  # another instance must answer, not the one that was killed
        await_until(
            lambda name=name, process=process: any(  # type: ignore[misc]
                again.create_time() > process.create_time() for again in instances(platform, name)
            )
        )
    await_until(lambda: not any(probe(platform) for probe in PROBES.values()))


def test_a_killed_flow_does_not_stay_running(platform: Settings, zombie: str) -> None:
    await_until(lambda: run_states(platform, zombie) == ["CRASHED"])


def test_status_sees_a_schedule_without_runs(platform: Settings) -> None:
    """What Prefect's scheduler leaves when it stops: all is well, but for the runs that never come.

    A deployment that was registered a moment ago is given time; by now these no longer are.
    """
    (deployment,) = call_prefect(
        platform,
        "/deployments/filter",
        {"flows": {"name": {"any_": ["master-orchestrator"]}}, "deployments": {"name": {"any_": ["health_monitor"]}}},
    )
    runs = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    await_until(lambda: schedule_problems(platform) == [])
    for run in call_prefect(platform, "/flow_runs/filter", runs):
        httpx.delete(f"{platform.prefect_api_url}/flow_runs/{run['id']}", trust_env=False).raise_for_status()
    assert "'health_monitor' has a schedule and no scheduled run" in " ".join(schedule_problems(platform))


def schedule_problems(settings: Settings) -> list[str]:
    return next(check.problems for check in status(settings).checks if check.name == "schedules")


@pytest.fixture
def running_flow(platform: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A process as Prefect's worker starts one for a flow run: marked, and in a session of its own."""
    environment = os.environ | marks(platform) | {PART_MARK: "worker", FLOW_MARK: "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(900)"], env=environment, start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


def test_kill_9_of_the_supervisor(platform: Settings, running_flow: subprocess.Popen[bytes]) -> None:
    """``up`` repairs it, and flow runs go on; ``down`` ends the orphans of the next one, flow runs too."""
    kill_supervisor(platform)
    assert not status(platform).running
    orphans = {process.pid for process in ours(platform)} - {running_flow.pid}
    assert orphans
    assert up(platform).fresh
    assert not orphans & {process.pid for process in ours(platform)}
    assert running_flow.poll() is None
    await_until(lambda: status(platform).sound)

    kill_supervisor(platform)
    assert down(platform) > 5
    assert running_flow.poll() is not None
    assert ours(platform) == []
    assert [p.pid for p in psutil.process_iter() if str(platform.home) in " ".join(command(p))] == []
    assert down(platform) == 0
    assert not runtime_folder(platform).exists()
    assert (platform.home / "logs" / "ray" / "gcs_server.out").is_file(), "what Ray said last is kept"
