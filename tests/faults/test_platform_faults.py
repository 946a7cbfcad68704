"""kill -9 of each part of the platform: it comes back by itself, and ``karat up`` repairs what cannot."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from infra.local.environment import runtime_folder
from infra.local.instances import instances
from infra.local.platform import down, up
from infra.local.platform_parts import prefect_database
from infra.local.probes import PROBES, call_prefect
from infra.local.processes import FLOW_MARK, PART_MARK, marks, ours, part_of
from infra.local.status import status
from infra.local.supervisor import Supervisor
from infra.prefect_api import Prefect
from karat.credentials import prefect_login
from karat.settings import Settings
from tests.faults.conftest import await_until, run_states

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

#: What is killed: words that its command line has, and the part of the platform that it belongs to.
VICTIMS = {
    "mlflow": ("infra.local.servers mlflow", "mlflow"),
    "prefect server": ("infra.local.servers prefect", "prefect"),
    "prefect worker": ("prefect worker start", "worker"),
    "keeper": ("infra.local.keeper", "keeper"),
    "ray start": ("infra.local.ray_head", "ray"),
    "gcs_server": ("gcs/gcs_server", "ray"),
    "raylet": ("raylet/raylet", "ray"),
    "dashboard": ("dashboard/dashboard.py", "ray"),
}


def processes_of(settings: Settings, name: str) -> list[psutil.Process]:
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


@pytest.mark.faults
@pytest.mark.parametrize(
    "names",
    [
        # Each wait is for the slowest: those that do not restart one another go together.
        ["mlflow", "prefect server", "prefect worker", "keeper", "raylet"],
        ["dashboard"],
        ["ray start"],
        ["gcs_server"],
    ],
    ids=" and ".join,
)
def test_kill_9_of_parts(platform: Settings, zombie: str, names: list[str]) -> None:
    killed = {name: processes_of(platform, name)[0] for name in names}
    for process in killed.values():
        kill(process)
    for name, process in killed.items():  # another instance must answer, not the one that was killed
        await_until(
            lambda name=name, process=process: any(  # type: ignore[misc]
                again.create_time() > process.create_time() for again in processes_of(platform, name)
            )
        )
    await_until(lambda: not any(probe(platform) for probe in PROBES.values()))


@pytest.mark.faults
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

    def is_told() -> bool:
        """Prefect's scheduler, which runs meanwhile, may bring the runs back in between: then once more."""
        for run in call_prefect(platform, "/flow_runs/filter", runs):
            address = f"{platform.prefect_api_url}/flow_runs/{run['id']}"
            httpx.delete(address, auth=prefect_login(platform), trust_env=False)
        return "'health_monitor' has a schedule and no scheduled run" in " ".join(schedule_problems(platform))

    await_until(is_told, 60)


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


def instance_pids(settings: Settings) -> dict[str, int]:
    return {name: process.pid for name, process in instances(settings).items()}


def is_watched(settings: Settings) -> bool:
    """Whether the keeper is a child of the supervisor: for some seconds after a new one came it is not."""
    keeper = instances(settings).get("keeper")
    try:
        return keeper is not None and keeper.ppid() == Supervisor(settings).pid()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.faults
def test_a_supervisor_that_hangs_is_told_and_replaced(platform: Settings) -> None:
    await_until(lambda: status(platform).sound and is_watched(platform))
    kept, (hanging,) = instance_pids(platform), Supervisor(platform).processes()
    hanging.suspend()
    seen = status(platform)
    assert f"process {hanging.pid}) does not answer" in " ".join(seen.problems)
    assert not up(platform).fresh
    # Who has adopted it may be slow to ask for its end.
    assert not hanging.is_running() or hanging.status() == psutil.STATUS_ZOMBIE
    assert {k: v for k, v in instance_pids(platform).items() if k != "keeper"} == {
        k: v for k, v in kept.items() if k != "keeper"
    }


@pytest.mark.faults
def test_kill_9_of_the_supervisor(platform: Settings, running_flow: subprocess.Popen[bytes]) -> None:
    """Another one takes over what runs, without a restart; ``down`` ends the orphans of the last, flow runs too."""
    await_until(lambda: status(platform).sound and is_watched(platform))
    before, supervisor = instance_pids(platform), Supervisor(platform)
    old = supervisor.pid()
    kill_supervisor(platform)
    await_until(lambda: supervisor.pid() not in (None, old), 30)
    # The keeper that started it has ended, and made room for one that is its child.
    keeper = before.pop("keeper")
    await_until(lambda: instance_pids(platform).get("keeper", keeper) != keeper, 60)
    await_until(lambda: status(platform).sound, 60)
    assert {name: pid for name, pid in instance_pids(platform).items() if name != "keeper"} == before
    assert running_flow.poll() is None

    # One of them dies under the stand-in that its supervisor has for it.
    kill(instances(platform)["mlflow"])
    await_until(lambda: instance_pids(platform).get("mlflow", before["mlflow"]) != before["mlflow"])
    await_until(lambda: status(platform).sound and is_watched(platform))

    # Nobody is left who would start another one.
    kept = instance_pids(platform)
    leave_unwatched(platform)
    seen = status(platform)
    assert (seen.running, seen.watched, seen.sound) == (True, False, False)
    assert "karat up" in " ".join(seen.problems)
    assert {p.name: p.pid for p in seen.parts if p.name != "keeper"} == {k: v for k, v in kept.items() if k != "keeper"}
    assert [p.problem for p in seen.parts if p.name != "keeper"] == [""] * (len(PROBES) - 1)
    assert not up(platform).fresh
    assert {k: v for k, v in instance_pids(platform).items() if k != "keeper"} == {
        k: v for k, v in kept.items() if k != "keeper"
    }

    leave_unwatched(platform)
    run = Prefect(platform).start("monitoring-pipeline", "customers", "stopped", {"project": "customers"})
    stopped = down(platform)
    assert stopped.processes > 5
    assert stopped.cancelled == [f"{run.name} ({run.id})"]
    with sqlite3.connect(prefect_database(platform)) as database:
        assert database.execute("SELECT state_type FROM flow_run WHERE id = ?", (run.id,)).fetchall() == [
            ("CANCELLED",)
        ]
    assert running_flow.poll() is not None
    assert ours(platform) == []
    assert [p.pid for p in psutil.process_iter() if str(platform.home) in " ".join(command(p))] == []
    assert down(platform).processes == 0
    assert not runtime_folder(platform).exists()
    assert (platform.home / "logs" / "ray" / "gcs_server.out").is_file(), "what Ray said last is kept"


def leave_unwatched(settings: Settings) -> None:
    """Kill the supervisor and the keeper, each before the other can notice."""
    await_until(lambda: is_watched(settings))
    keeper = instances(settings)["keeper"]
    keeper.suspend()
    kill_supervisor(settings)
    kill(keeper)
