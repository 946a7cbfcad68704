"""Finds the platform's processes by the environment marks that children inherit, and ends them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from infra.local.environment import runtime_folder
from karat.settings import Settings

#: Environment variables that the supervisor gives its children: whose platform, and which part of it.
HOME_MARK = "KARAT_PLATFORM_HOME"
PART_MARK = "KARAT_PLATFORM_PART"
#: Prefect gives this to the process of a flow run, which passes it on to its own children.
FLOW_MARK = "PREFECT__FLOW_RUN_ID"
#: The kernel takes that long at most to end what was killed, on a machine with too much to do.
KILL_SECONDS = 20.0


def marks(settings: Settings) -> dict[str, str]:
    """Environment variables that mark a process as the platform's."""
    return {
        HOME_MARK: str(settings.home.resolve()),
        # Ray renames its processes, which by default wipes the environment that others can read.
        "SPT_NOENV": "1",
    }


def part_of(process: psutil.Process) -> str | None:
    """The part of the platform that ``process`` belongs to; "" for the supervisor itself, None if it has gone."""
    try:
        return process.environ().get(PART_MARK, "")
    except psutil.Error:
        return None


def is_flow(process: psutil.Process) -> bool:
    """True for the process of a flow run and for what it started."""
    try:
        return FLOW_MARK in process.environ()
    except psutil.Error:
        return False


def flow_processes(settings: Settings) -> dict[str, list[psutil.Process]]:
    """Flow run -> its living processes, the oldest first: the run's own before those that it started."""
    found: dict[str, list[psutil.Process]] = {}
    for process in ours(settings):
        try:
            run = process.environ().get(FLOW_MARK)
        except psutil.Error:
            continue
        if run:
            found.setdefault(run, []).append(process)
    return {run: sorted(processes, key=lambda p: p.create_time()) for run, processes in found.items()}


def ours(settings: Settings, wanted: Callable[[psutil.Process], bool] = lambda process: True) -> list[psutil.Process]:
    """The platform's processes, orphans among them, without this process and its ancestors."""
    home, runtime = str(settings.home.resolve()), str(runtime_folder(settings))
    self_and_above = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in self_and_above and _is_ours(process, home, runtime) and wanted(process)
    ]


def is_ours(settings: Settings, pid: int) -> bool:
    """Whether the process of that id is the platform's."""
    try:
        return _is_ours(psutil.Process(pid), str(settings.home.resolve()), str(runtime_folder(settings)))
    except psutil.Error:
        return False


def _is_ours(process: psutil.Process, home: str, runtime: str) -> bool:
    try:
        if not is_alive(process):
            return False
        if mark := process.environ().get(HOME_MARK):
            return mark == home
        # Some programs wipe their environment; their log files lie in the runtime folder all the same.
        return any(file.startswith(runtime + "/") for file in _open_files(process.pid))
    except psutil.Error:
        return False


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)


def end(processes: Iterable[psutil.Process], grace: float) -> list[psutil.Process]:
    """Asks ``processes`` to end, kills them after ``grace`` seconds (at once if 0), and gives those that still live."""
    alive = list(processes)
    if grace > 0:
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        alive = _await_end(alive, grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return _await_end(alive, KILL_SECONDS)


def _await_end(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still live after so many seconds."""
    deadline = time.monotonic() + seconds
    while (processes := [p for p in processes if is_alive(p)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes


def is_alive(process: psutil.Process) -> bool:
    """A dead child that its parent has not asked about yet counts as dead: in a container nobody may ever ask."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
