"""Stops the platform: in order while parts answer, by force for the rest."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field

from infra.local.environment import runtime_folder
from infra.local.platform_parts import parts, ray_logs
from infra.local.processes import end, flow_processes, is_flow, ours, part_of
from infra.local.supervisor import Supervisor
from infra.prefect_api import Prefect
from infra.run_recovery import conclude_cancelled
from karat.errors import PlatformError, ServiceDown
from karat.executors import Progress
from karat.settings import Settings

#: How long a worker may take to end the runs that are cancelled, before this is done in its place.
CANCEL_SECONDS = 15.0


@dataclass
class Stopped:
    """What ``down`` has done.

    Attributes:
        processes: How many there were.
        cancelled: Names and ids of the runs that were under way.
        left: Which runs could not be cancelled, and why; empty if there are none.
    """

    processes: int = 0
    cancelled: list[str] = field(default_factory=list)
    left: str = ""


def stop(settings: Settings, progress: Progress) -> Stopped:
    """Stop everything, and say what was stopped. Raises PlatformError where a process does not end.

    Runs are cancelled first, then clients go, while the servers can still note how they ended; then all else at once.
    """
    supervisor, known = Supervisor(settings), parts(settings).values()
    stopped = Stopped(processes=len(ours(settings)))
    if stopped.processes:
        _cancel_runs(settings, stopped, progress)
    progress(0, 2, "stopping the worker and its runs")
    clients = [part for part in known if part.client]
    supervisor.stop(part.name for part in clients)
    end(ours(settings, is_flow), grace=4)
    _await_stopped(supervisor, {part.name for part in clients}, max(part.stop_seconds for part in clients))
    progress(1, 2, "stopping the servers")
    servers = [part for part in known if not part.client]
    supervisor.stop(part.name for part in servers)
    _await_stopped(supervisor, {part.name for part in servers}, max(part.stop_seconds for part in servers) + 1)
    supervisor.shutdown()
    # The supervisor itself needs a moment; whatever else still lives has lost its parent.
    left = end(ours(settings, lambda process: part_of(process) != ""), grace=1)
    left += end(ours(settings), grace=5)
    if left:
        raise PlatformError(
            f"{len(left)} processes do not end: {', '.join(str(process.pid) for process in left)}",
            remedy="look at what they wait for, as in: cat /proc/PID/stack",
        )
    _tidy(settings)
    progress(2, 2, "nothing is left running")
    return stopped


def _cancel_runs(settings: Settings, stopped: Stopped, progress: Progress) -> None:
    try:
        api = Prefect(settings, busy_seconds=5)
        runs = [*api.unfinished(), *api.waiting()]
        for run in runs:
            progress(0, 3, f"cancelling {run.name}")
            api.cancel(run.id)
            stopped.cancelled.append(f"{run.name} ({run.id})")
        deadline = time.monotonic() + CANCEL_SECONDS
        while runs and time.monotonic() < deadline:
            runs = [run for run in (api.run(run.id) for run in runs) if not run.is_final]
            time.sleep(0.3 if runs else 0)
        processes = flow_processes(settings) if runs else {}
        for run in runs:
            conclude_cancelled(settings, api, run, processes.get(run.id, []))
    except ServiceDown:
        if under_way := flow_processes(settings):
            stopped.left = (
                f"{len(under_way)} runs ({', '.join(under_way)}), as Prefect did not answer; "
                "the next karat up resumes them"
            )


def _await_stopped(supervisor: Supervisor, names: set[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(state.pid for name, state in supervisor.states().items() if name in names):
            return
        time.sleep(0.1)


def _tidy(settings: Settings) -> None:
    """Ray's last logs go to the others; the folder under /tmp, of no use to anybody now, goes."""
    runtime, kept = runtime_folder(settings), ray_logs(settings)
    last = (runtime / "ray" / "session_latest").resolve() / "logs"
    with contextlib.suppress(OSError):
        if last.is_dir():
            kept.unlink(missing_ok=True)
            shutil.move(last, kept)
    shutil.rmtree(runtime, ignore_errors=True)
