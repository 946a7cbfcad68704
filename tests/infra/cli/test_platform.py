"""``up``, ``down`` and ``status`` where nothing runs; tests/infra/test_platform.py has them where it does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import psutil
import pytest

from infra.local.environment import make_folders
from infra.local.processes import HOME_MARK, PART_MARK, ours
from karat.settings import Settings
from tests import warm


def karat(settings: Settings, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [sys.executable, "-m", "infra.cli.app", *arguments],
        env=os.environ | settings.as_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_status_of_nothing(settings: Settings) -> None:
    done = karat(settings, "status")
    assert done.returncode == 1
    assert "karat up" in done.stdout
    assert not settings.home.exists(), "looking must not make folders"


def test_status_of_nothing_as_json(settings: Settings) -> None:
    done = karat(settings, "status", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["running"], told["sound"]) == (1, False, False)
    assert {part["state"] for part in told["parts"]} == {"DOWN"}
    assert {check["name"]: check["problems"] for check in told["checks"]}["versions"] == []


def test_status_shows_what_nobody_watches(settings: Settings) -> None:
    """A killed supervisor leaves its parts: one of them lives here, and does not answer."""
    make_folders(settings)
    marks = {HOME_MARK: str(settings.home.resolve()), PART_MARK: "mlflow"}
    part = subprocess.Popen(["sleep", "600"], env=os.environ | marks)
    try:
        record = {"pid": part.pid, "started": psutil.Process(part.pid).create_time()}
        (settings.home / "supervisor" / "mlflow.instance").write_text(json.dumps(record))
        done = karat(settings, "status")
        assert done.returncode == 1
        assert "the supervisor has ended" in done.stdout
        assert "karat up, which takes over what runs" in done.stdout
        assert "MLflow server: nobody listens at" in done.stdout
        told = json.loads(karat(settings, "status", "--json").stdout)
        assert (told["running"], told["watched"]) == (True, False)
        (shown,) = [p for p in told["parts"] if p["name"] == "mlflow"]
        assert (shown["state"], shown["pid"]) == ("UNWATCHED", part.pid)
        assert {p["state"] for p in told["parts"] if p["name"] != "mlflow"} == {"DOWN"}
    finally:
        part.kill()
        part.wait()


def test_status_names_a_stranger_on_a_port(settings: Settings) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", settings.mlflow_port))
        server.listen()
        done = karat(settings, "status")
    assert done.returncode == 1
    assert f"port {settings.mlflow_port} is taken by process {os.getpid()}" in done.stdout
    assert "KARAT_MLFLOW_PORT=" in done.stdout


def test_down_of_nothing(settings: Settings) -> None:
    done = karat(settings, "down")
    assert done.returncode == 0
    assert "Nothing was running" in done.stdout


def test_up_on_a_taken_port_starts_nothing(settings: Settings) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", settings.prefect_port))
        server.listen()
        done = karat(settings, "up")
    assert done.returncode == 1
    for part in ("PortTaken", str(settings.prefect_port), f"process {os.getpid()}", "KARAT_PREFECT_PORT"):
        assert part in done.stderr
    assert ours(settings) == []


def test_up_where_its_home_is_a_file(settings: Settings) -> None:
    settings.home.write_text("in the way")
    done = karat(settings, "up")
    assert done.returncode == 1
    assert "PlatformError" in done.stderr
    assert "KARAT_HOME" in done.stderr
    assert ours(settings) == []


def test_up_on_a_full_disk(settings: Settings) -> None:
    """/dev/full takes no byte: what a full volume answers."""
    settings.home.joinpath("supervisor").mkdir(parents=True)
    settings.home.joinpath("supervisor", "supervisord.new").symlink_to("/dev/full")
    done = karat(settings, "up")
    assert done.returncode == 1
    assert "DiskFull" in done.stderr
    assert ours(settings) == []


@pytest.mark.parametrize("name", ["up", "status"])
def test_unknown_environment_is_refused(settings: Settings, name: str) -> None:
    done = karat(settings, name, KARAT_ENVIRONMENT="production")
    assert done.returncode == 2
    assert "KARAT_ENVIRONMENT" in done.stderr
    assert "'prod'" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_names_a_setting_that_is_none(settings: Settings) -> None:
    done = karat(settings, "status", KARAT_MLFOW_PORT="5001")
    assert done.returncode == 1
    assert "KARAT_MLFOW_PORT is not a setting. Did you mean 'KARAT_MLFLOW_PORT'?" in done.stdout
