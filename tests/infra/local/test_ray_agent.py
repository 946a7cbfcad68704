"""Ray's agent lets go of the log of a job once it has written its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ray._private import services
from ray._private.ray_constants import PROCESS_TYPE_DASHBOARD_AGENT
from ray.dashboard.modules.job import job_manager

from infra.local.ray_agent import JobManagerLogging
from infra.local.ray_head import command_of


class Logs:
    """As much of a job manager as its loggers need: where the log of a job lies."""

    def __init__(self, folder: Path) -> None:
        self._log_client = self
        self._folder = folder

    def get_log_file_path(self, job: str) -> str:
        return str(self._folder / f"{job}.log")


def held(folder: Path) -> list[str]:
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists())
    return [link for link in links if link.startswith(str(folder))]


def test_a_job_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger_of = vars(job_manager.JobManager)["_get_job_driver_logger"]
    logger_of(Logs(tmp_path), f"before-{tmp_path}".replace("/", "-")).warning("x")
    assert len(held(tmp_path)) == 1, "Ray has mended it: infra.local.ray_agent can go"

    monkeypatch.setitem(vars(job_manager), "logging", JobManagerLogging())
    for job in ("a", "b"):
        logger = logger_of(Logs(tmp_path), f"{job}-{tmp_path.name}")
        logger.warning("first")
        logger.warning("second")
        lines = (tmp_path / f"{job}-{tmp_path.name}.log").read_text().splitlines()
        assert [line[-6:].strip() for line in lines] == ["first", "second"]
    assert len(held(tmp_path)) == 1


def test_the_agent_is_started_by_our_program_and_nothing_else_is(tmp_path: Path) -> None:
    assert command_of(PROCESS_TYPE_DASHBOARD_AGENT, str(tmp_path))[-2:] == ["-m", "infra.local.ray_agent"]
    assert "infra.local.ray_agent" not in command_of("dashboard", str(tmp_path))
    assert "_build_python_executable_command_memory_profileable" in vars(services)
