from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from infra.local.environment import make_folders, runtime_folder
from infra.local.processes import FLOW_MARK, HOME_MARK, PART_MARK, end, is_flow, marks, ours, part_of
from karat.settings import Settings

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@contextmanager
def running(command: list[str], **options) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, **options)
    try:
        # Between fork and exec a child still has its parent's environment.
        while psutil.Process(process.pid).cmdline() != command:
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def pids(settings: Settings) -> set[int]:
    return {process.pid for process in ours(settings)}


def test_marked_child_is_found_with_its_part(settings: Settings) -> None:
    with running(SLEEP, env=os.environ | marks(settings) | {PART_MARK: "ray"}) as child:
        (found,) = ours(settings)
        assert (found.pid, part_of(found), is_flow(found)) == (child.pid, "ray", False)


def test_orphan_is_found_after_its_parent_was_killed(settings: Settings) -> None:
    parent = [sys.executable, "-c", f"import subprocess, time; subprocess.Popen({SLEEP!r}); time.sleep(60)"]
    with running(parent, env=os.environ | marks(settings)) as process:
        while len(pids(settings)) < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (orphan,) = ours(settings)
        assert orphan.ppid() != process.pid
        assert end([orphan], grace=5) == []
        assert not pids(settings)


def test_process_that_wiped_its_environment_is_found_by_its_log(settings: Settings) -> None:
    make_folders(settings)
    log = runtime_folder(settings) / "worker.out"
    with log.open("w") as out, running(SLEEP, env={}, stdout=out) as child:
        assert pids(settings) == {child.pid}


def test_other_homes_processes_and_users_own_are_left_alone(settings: Settings) -> None:
    other = settings.model_copy(update={"home": settings.home.with_name("other")})
    with (
        running(SLEEP, env=os.environ | marks(other)) as theirs,
        # A person's own shell may well have KARAT_HOME set: that is no mark.
        running(SLEEP, env=os.environ | {"KARAT_HOME": str(settings.home)}),
    ):
        assert not pids(settings)
        assert pids(other) == {theirs.pid}


def test_this_process_and_its_ancestors_are_never_among_them(settings: Settings) -> None:
    """``karat down`` may be called from a process that the platform itself started."""
    code = "from infra.local.processes import ours; from karat.settings import Settings; print(len(ours(Settings())))"
    environment = os.environ | settings.as_environment() | marks(settings)
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "0"


def test_flow_runs_are_told_apart(settings: Settings) -> None:
    with running(SLEEP, env=os.environ | marks(settings) | {FLOW_MARK: "1"}):
        assert [is_flow(process) for process in ours(settings)] == [True]


@pytest.mark.parametrize("grace", [0, 0.5])
def test_end_kills_what_ignores_a_request(settings: Settings, grace: float, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(60)"
    with running([sys.executable, "-c", code], env=os.environ | {HOME_MARK: str(settings.home)}):
        while not ready.exists():
            time.sleep(0.01)
        assert end(ours(settings), grace) == []
        assert not pids(settings)
