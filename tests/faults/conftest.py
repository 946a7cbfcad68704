"""What the fault tests share: the shop, waiting, and a flow whose process was killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.code import ROOT
from infra.local.probes import call_prefect
from karat.settings import Settings
from tests import warm
from tests.faults.mart import Mart, same, write_project
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


# ---- faults of writing

#: From which state each work starts.
WORKS = [("empty", "compute"), *(("stale", work) for work in ("compute", "backfill", "merge", "publish"))]
#: The function that the process dies at, ``before`` or ``after`` which of its calls.
Point = tuple[str, str, int]


@dataclass(frozen=True)
class Ground:
    """The states that a work may start from (``empty``: gold alone; ``stale``: gold has gone on since features were
    computed, and they since they were published), and what it leaves if nobody disturbs it."""

    states: dict[str, Mart]
    whole: dict[tuple[str, str], dict[str, Any]]
    forker: warm.Popen

    def run(
        self, mart: Mart, work: str, point: tuple[Any, ...] | None, after: float | None = None
    ) -> tuple[int, float]:
        """How a process ended that does the work (its wait status), and after how many seconds."""
        assert self.forker.stdin
        assert self.forker.stdout
        call = [str(mart.home), str(mart.projects), work, point, after]
        self.forker.stdin.write(json.dumps(call) + "\n")
        self.forker.stdin.flush()
        status, seconds = json.loads(self.forker.stdout.readline())
        return status, seconds

    def copy(self, start: str, folder: Path) -> Mart:
        subprocess.run(["cp", "-a", str(self.states[start].home), str(folder)], check=True)
        return Mart(folder, self.states[start].projects)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("mart")
    write_project(folder / "projects")
    command = [sys.executable, "-m", "tests.faults.mart"]
    with warm.Popen(command, stdin=warm.PIPE, stdout=warm.PIPE, text=True, cwd=ROOT) as forker:
        ground = Ground({}, {}, forker)
        empty = Mart(folder / "empty", folder / "projects")
        empty.begin()
        ground.states["empty"] = empty
        stale = ground.states["stale"] = ground.copy("empty", folder / "stale")
        stale.compute()
        stale.publish()
        stale.advance()
        for start, work in (
            ("empty", "compute"),
            ("stale", "compute"),
            ("stale", "merge"),
            ("stale", "publish"),
            ("stale", "backfill"),
        ):
            mart = ground.copy(start, folder / f"{start}-{work}")
            getattr(mart, work)()
            ground.whole[start, work] = mart.contents()
            with pytest.raises(AssertionError):  # else a work that did nothing would pass
                same(mart.contents(), ground.states[start].contents())
        aside = [ground.whole[start, "compute"][str(stale.aside)] for start in ("empty", "stale")]
        assert 0 < aside[0].height < aside[1].height, "every work must change all that it writes"
        yield ground


@pytest.fixture
def killed(ground: Ground, tmp_path: Path) -> Callable[..., None]:
    """``killed(work, start, point)``: the work is killed there and done again; then all is as if it had not been."""

    def check(work: str, start: str, point: Point) -> None:
        mart = ground.copy(start, tmp_path / "home")
        before = mart.contents()
        status, _ = ground.run(mart, work, point)
        assert status == signal.SIGKILL, "it was not killed: the point was not reached"
        whole_or_nothing(work, mart.contents(), before, ground.whole[start, work])
        getattr(mart, work)()
        same(mart.contents(), ground.whole[start, work])

    return check


@pytest.fixture
def killed_anytime(ground: Ground, tmp_path: Path) -> Callable[..., None]:
    """The same at a random moment, or at two: the second while the first is being made good."""

    def check(work: str, start: str, draw: random.Random) -> None:
        _, seconds = ground.run(ground.copy(start, tmp_path / "measured"), work, None)
        for attempt in range(50):
            mart = ground.copy(start, tmp_path / f"home{attempt}")
            before = mart.contents()
            times = [ground.run(mart, work, None, draw.uniform(0, seconds))[0] for _ in range(draw.choice((1, 1, 2)))]
            whole_or_nothing(work, mart.contents(), before, ground.whole[start, work])
            getattr(mart, work)()
            same(mart.contents(), ground.whole[start, work])
            if times[0] == signal.SIGKILL:
                return
        pytest.fail("it was too quick to be killed")

    return check


def whole_or_nothing(work: str, found: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    """A reader of the table that the work writes sees what was, or all that is to be. A publication goes by pieces."""
    table = {"merge": "mart_dev.gold.orders", "publish": ""}.get(work, "mart_dev.features.spend")
    rows, old = found.get(table), before.get(table)
    if rows is None or (old is None and not rows.height):
        return
    if old is None or not rows.equals(old):
        same({"": rows}, {"": after[table]})
