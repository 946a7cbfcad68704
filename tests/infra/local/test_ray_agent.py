"""Ray's agent lets go of the log of a job once it has written its line."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from ray._private import services
from ray._private.ray_constants import PROCESS_TYPE_DASHBOARD_AGENT
from ray.dashboard.modules.job.job_manager import JobManager

from infra.local.ray_agent import emit_and_close
from infra.local.ray_head import command_of


class Manager(JobManager):
    """A job manager as far as its loggers go: it knows where the log of a job lies, and no cluster."""

    def __init__(self, folder: Path) -> None:
        self._log_client = self
        self._folder = folder

    def get_log_file_path(self, job: str) -> str:
        return str(self._folder / f"job-driver-{job}.log")

    def logger(self, job: str) -> logging.Logger:
        return self._get_job_driver_logger(f"{job}-{self._folder}".replace("/", "-"))


def held(folder: Path) -> list[str]:
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists())
    return [link for link in links if link.startswith(str(folder))]


def test_a_job_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(tmp_path)
    manager.logger("before").warning("x")
    assert len(held(tmp_path)) == 1, "Ray has mended it: infra.local.ray_agent can go"

    monkeypatch.setattr(logging.FileHandler, "emit", emit_and_close)
    for job in ("a", "b"):
        manager.logger(job).warning("first")
        manager.logger(job).warning("second")
        (log,) = tmp_path.glob(f"job-driver-{job}-*")
        assert [line.split()[-1] for line in log.read_text().splitlines()] == ["first", "second"]
    assert len(held(tmp_path)) == 1

    other = logging.FileHandler(tmp_path / "agent.log")
    other.emit(logging.makeLogRecord({"msg": "x"}))
    assert len(held(tmp_path)) == 2, "the agent's own log stays open"
    other.close()


def test_the_agent_is_started_by_our_program_and_nothing_else_is(tmp_path: Path) -> None:
    assert command_of(PROCESS_TYPE_DASHBOARD_AGENT, str(tmp_path))[-2:] == ["-m", "infra.local.ray_agent"]
    assert "infra.local.ray_agent" not in command_of("dashboard", str(tmp_path))
    assert "_build_python_executable_command_memory_profileable" in vars(services)
