"""Idempotent ``up`` and ``down`` of the local platform; concurrent calls wait for each other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field

from infra.code import ROOT
from infra.local.environment import make_credentials, make_folders
from infra.local.instances import instances
from infra.local.lock import platform_lock
from infra.local.platform_parts import log_file, parts
from infra.local.ports import check_ports
from infra.local.probes import PROBES
from infra.local.processes import end, is_flow, ours
from infra.local.registration import has_deployments, registered
from infra.local.stop import Stopped, stop
from infra.local.supervisor import Supervisor, SupervisorState
from infra.local.versions import check_versions
from karat.errors import DiskFull, PlatformError, ServiceDown, is_disk_full
from karat.executors import Progress, silent
from karat.settings import Settings

UP_SECONDS = 300.0
#: So many instances of a part have died while it was awaited: it will not come.
DEATHS = 3


@dataclass
class Started:
    """What ``up`` has done: ``deployments`` that are registered, and ``problems`` that did not stop it."""

    fresh: bool
    deployments: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def up(settings: Settings, progress: Progress = silent) -> Started:
    """Starts what does not run, and returns when each part answers. Does nothing to a platform that is sound.

    Raises UnsoundVersions, PortTaken, DiskFull; ServiceDown where a part does not come, with the end of its log.
    """
    check_versions()
    try:
        make_folders(settings)
        make_credentials(settings)
        with platform_lock(settings, progress):
            fresh = _supervise(settings, progress)
            known = registered(settings)
            registering = _register(settings) if known is None else None
            try:
                _await(settings, progress)
            except BaseException:
                if registering is not None:
                    registering.kill()
                raise
            if known is not None and has_deployments(settings, known):
                return Started(fresh, known)
            return _registered(settings, registering or _register(settings), fresh)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull("no space is left for the platform's state", where=str(settings.home)) from error
        raise PlatformError(
            f"the platform's state cannot be written: {error}",
            where=str(settings.home),
            remedy="make that folder writable, or set KARAT_HOME to one that is",
        ) from error


def down(settings: Settings, progress: Progress = silent) -> Stopped:
    """Cancels the runs under way and ends every process of the platform, orphans included. What is on disk stays."""
    if not (settings.home / "supervisor").is_dir():  # nothing ever ran here, or somebody has removed the folder
        left = ours(settings)
        end(left, grace=5)
        return Stopped(len(left))
    with platform_lock(settings, progress):
        return stop(settings, progress)


def register(settings: Settings) -> list[str]:
    """Register the projects, as they are declared now, with the running platform.

    Args:
        settings: Of the platform.

    Returns:
        The deployments.

    Raises:
        PlatformError: Prefect refuses.
    """
    return _registered(settings, _register(settings), fresh=False).deployments


def _supervise(settings: Settings, progress: Progress) -> bool:
    """Sees to it that a supervisor runs under these settings; True where parts were started now."""
    supervisor = Supervisor(settings)
    if supervisor.up_to_date():
        supervisor.begin()
        return False
    if supervisor.pid() is not None:
        progress(0, len(PROBES), "stopping what runs under other settings")
        stop(settings, silent)
        make_folders(settings)
    elif supervisor.configured() and instances(settings):
        progress(0, len(PROBES), "taking over what a killed supervisor has left running")
        supervisor.start()
        return False
    # What else a killed supervisor has left. A running flow goes on: it will find the services again.
    end(ours(settings, lambda process: not is_flow(process)), grace=3)
    check_ports(settings)
    supervisor.start()
    return True


def _await(settings: Settings, progress: Progress) -> None:
    supervisor, waiting = Supervisor(settings), list(PROBES)
    seen: dict[str, set[int]] = {name: set() for name in waiting}
    deadline, missing = time.monotonic() + UP_SECONDS, dict.fromkeys(waiting, "")
    while waiting:
        progress(len(PROBES) - len(waiting), len(PROBES), f"waiting for {', '.join(waiting)}")
        states = supervisor.states()
        for name in list(waiting):
            state = states.get(name, SupervisorState("GONE", 0, 0, "the supervisor does not answer"))
            seen[name].add(state.pid)
            if state.name == "FATAL" or len(seen[name] - {0}) > DEATHS:
                raise _failed(settings, name, f"keeps dying: {state.said}")
            missing[name] = PROBES[name](settings) if state.pid else state.said
            if not missing[name]:
                waiting.remove(name)
        if waiting and time.monotonic() > deadline:
            raise _failed(settings, waiting[0], f"does not answer after {UP_SECONDS:.0f} s: {missing[waiting[0]]}")
        time.sleep(0.4 if waiting else 0)
    progress(len(PROBES), len(PROBES), "every part answers")


def _failed(settings: Settings, name: str, how: str) -> ServiceDown:
    part, log = parts(settings)[name], log_file(settings, name)
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()[-12:]
        how += "".join(f"\n    | {line[:200]}" for line in lines)
    return ServiceDown(
        f"{part.title} {how}", where=str(log), remedy="read its log, mend the cause, and call again: karat up"
    )


def _register(settings: Settings) -> subprocess.Popen[str]:
    """Registers the deployments in a process of its own: Prefect reads its settings when it is imported."""
    return subprocess.Popen(
        [sys.executable, "-m", "infra.deployments"],
        env=Supervisor(settings).environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _registered(settings: Settings, registering: subprocess.Popen[str], fresh: bool) -> Started:
    out, errors = registering.communicate(timeout=UP_SECONDS)
    if registering.returncode:
        raise PlatformError(
            "the deployments could not be registered:\n" + "\n".join(errors.strip().splitlines()[-6:]),
            where=settings.prefect_url,
            remedy="mend the cause, and call again: karat up",
        )
    told = json.loads(out.splitlines()[-1])
    return Started(fresh, told["deployments"], told["problems"])
