"""The running platform, soundly. What happens when parts of it are killed: tests/faults/test_platform_faults.py."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import pytest

from infra.local.environment import runtime_folder, token_file
from infra.local.platform import up
from infra.local.platform_parts import mlflow_database
from infra.local.probes import PROBES
from infra.local.processes import ours
from infra.local.status import status
from infra.local.supervisor import Supervisor
from infra.services import require_mlflow, require_prefect, require_ray, require_serve, require_worker
from karat.errors import PortTaken, ServiceDown
from karat.registry import open_registry, open_server
from karat.settings import Settings
from tests import warm

pytestmark = pytest.mark.platform
REQUIRE = (require_mlflow, require_prefect, require_ray, require_serve, require_worker)


def pids(settings: Settings) -> dict[str, int]:
    return {name: state.pid for name, state in Supervisor(settings).states().items()}


def test_every_part_answers_and_everything_is_sound(platform: Settings) -> None:
    found = status(platform)
    assert [part.problem for part in found.parts] == [""] * len(PROBES)
    assert [check for check in found.checks if check.problems] == []
    assert found.sound
    for require in REQUIRE:
        require(platform)


def test_status_on_the_command_line(platform: Settings) -> None:
    command = [sys.executable, "-m", "infra.cli.app", "status", "--json"]
    done = warm.run(command, env=os.environ | platform.as_environment(), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["sound"]
    assert {part["name"]: part["pid"] for part in told["parts"]} == pids(platform)
    assert token_file(platform).read_text() not in done.stdout + done.stderr


def test_servers_of_another_home_are_not_taken_for_this_ones(platform: Settings, tmp_path: Path) -> None:
    """Two homes with the same ports, as of two checkouts."""
    other = platform.model_copy(update={"home": tmp_path / "home"})
    for server in ("mlflow", "prefect"):
        assert PROBES[server](platform) == ""
        assert "belongs to another home" in PROBES[server](other)
    assert PROBES["ray"](platform) == ""
    assert PROBES["ray"](other) != ""
    assert open_server(platform).tracking_uri == open_registry(platform).tracking_uri == platform.mlflow_url
    assert open_registry(other).tracking_uri == f"sqlite:///{other.home / 'mlflow' / 'mlflow.db'}"
    with pytest.raises(ServiceDown, match="does not belong to this home"):
        open_server(other)


def test_up_twice_changes_nothing(platform: Settings) -> None:
    before = pids(platform)
    started = up(platform)
    assert not started.fresh
    assert pids(platform) == before


def test_up_three_times_at_once(platform: Settings) -> None:
    before = pids(platform)
    command = [sys.executable, "-m", "infra.cli.app", "up"]
    environment = os.environ | platform.as_environment()
    ups = [warm.Popen(command, env=environment, stdout=warm.DEVNULL) for _ in range(3)]
    assert [process.wait(timeout=240) for process in ups] == [0, 0, 0]
    assert pids(platform) == before


def test_another_home_on_the_same_ports_is_told_who_has_them(platform: Settings) -> None:
    home = Path(tempfile.mkdtemp(prefix="karat-test-"))
    other = platform.model_copy(update={"home": home})
    try:
        with pytest.raises(PortTaken) as error:
            up(other)
        assert any(f"process {process.pid} " in str(error.value) for process in ours(platform))
        assert ours(other) == []
    finally:
        shutil.rmtree(home)
        shutil.rmtree(runtime_folder(other), ignore_errors=True)


def test_nothing_listens_beyond_this_machine(platform: Settings) -> None:
    mine = {process.pid: " ".join(process.cmdline()) for process in ours(platform)}
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in mine]
    assert len(listening) > 10
    beyond = [c for c in listening if c.laddr.ip.removeprefix("::ffff:") != "127.0.0.1"]
    assert [mine[c.pid] for c in beyond] == []


def test_ray_wants_its_token(platform: Settings) -> None:
    url = f"{platform.ray_dashboard_url}/api/jobs/"
    assert httpx.get(url, trust_env=False).status_code == 401
    token = token_file(platform).read_text()
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code == 200


def test_no_log_holds_the_token(platform: Settings) -> None:
    token = token_file(platform).read_text()
    logs = [*(platform.home / "logs").glob("*.log"), *(platform.home / "supervisor").glob("*.conf")]
    assert len(logs) >= 6
    assert not [log for log in logs if token in log.read_text(errors="replace")]


def test_mlflow_refuses_other_hosts(platform: Settings) -> None:
    """A page that resolves its own name to 127.0.0.1 must not read the registry."""
    answer = httpx.get(
        f"{platform.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": "evil.example:80"},
        trust_env=False,
    )
    assert answer.status_code == 403


def test_mlflow_keeps_a_write_ahead_log(platform: Settings) -> None:
    with sqlite3.connect(mlflow_database(platform)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_service_that_is_not_there_is_said_quickly(settings: Settings) -> None:
    for require in REQUIRE:
        begun = time.monotonic()
        with pytest.raises(ServiceDown, match="karat up"):
            require(settings)
        assert time.monotonic() - begun < 5
