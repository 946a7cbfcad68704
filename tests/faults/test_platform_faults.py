"""kill -9 of each part of the platform: it comes back by itself, and ``karat up`` repairs what cannot."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from infra.local.platform import down, up
from infra.local.probes import PROBES
from infra.local.processes import ours, part_of
from infra.local.status import status
from infra.local.supervisor import Supervisor
from karat.settings import Settings

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]
RECOVERY_SECONDS = 240.0

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


def victim(settings: Settings, words: str, part: str) -> psutil.Process:
    found = ours(settings, lambda p: part_of(p) == part and words in " ".join(p.cmdline()))
    return min(found, key=lambda process: process.create_time())


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def await_recovery(settings: Settings) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while missing := {name: text for name, probe in PROBES.items() if (text := probe(settings))}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)


@pytest.mark.parametrize("name", VICTIMS)
def test_kill_9_of_a_part(platform: Settings, name: str) -> None:
    words, part = VICTIMS[name]
    process = victim(platform, words, part)
    kill(process)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:  # another instance, not the one that was killed, must answer
        states = Supervisor(platform).states()
        again = ours(platform, lambda p: part_of(p) == part and words in " ".join(p.cmdline()))
        if states[part].name == "RUNNING" and any(p.create_time() > process.create_time() for p in again):
            break
        assert time.monotonic() < deadline, states[part]
        time.sleep(0.2)
    await_recovery(platform)


def test_all_is_sound_after_that(platform: Settings) -> None:
    found = status(platform)
    assert [check for check in found.checks if check.problems] == []
    assert found.sound


def test_kill_9_of_the_supervisor_and_up_repairs(platform: Settings) -> None:
    pid = Supervisor(platform).pid()
    assert pid is not None
    kill(psutil.Process(pid))
    assert not status(platform).running
    orphans = {process.pid for process in ours(platform)}
    assert orphans
    assert up(platform).fresh
    assert not orphans & {process.pid for process in ours(platform)}
    assert status(platform).sound


def test_down_finds_the_orphans_of_a_killed_supervisor_and_leaves_nothing(platform: Settings) -> None:
    pid = Supervisor(platform).pid()
    assert pid is not None
    kill(psutil.Process(pid))
    begun = time.monotonic()
    assert down(platform) > 5
    assert time.monotonic() - begun < 60
    assert ours(platform) == []
    home = str(platform.home)
    assert [p.pid for p in psutil.process_iter() if home in " ".join(_command(p))] == []
    assert down(platform) == 0


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
