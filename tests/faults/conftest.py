"""What the fault tests share: the shop, waiting, and a flow whose process was killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from infra.code import ROOT
from infra.local.probes import call_prefect
from karat.settings import Settings
from tests.shop import shop

__all__ = ["await_until", "run_states", "shop", "zombie"]

RECOVERY_SECONDS = 240.0
SLEEPER = """
import time
from prefect import flow

@flow(name="sleeper")
def sleeper():
    print(flush=True)
    time.sleep(600)

sleeper()
"""


def await_until(holds: Callable[[], bool], seconds: float = RECOVERY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "that took too long"
        time.sleep(0.3)


def run_states(settings: Settings, flow: str) -> list[str]:
    runs = call_prefect(settings, "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    return [run["state_type"] for run in runs]


@pytest.fixture(scope="session")
def zombie(platform: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A flow whose process was killed before all else here, and which Prefect takes for running."""
    script = tmp_path_factory.mktemp("zombie") / "sleeper.py"
    script.write_text(SLEEPER)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    # Its first heartbeat is on its way to the server.
    await_until(lambda: run_states(platform, "sleeper") == ["RUNNING"], 60)
    time.sleep(3)
    process.kill()
    process.wait()
    return "sleeper"
