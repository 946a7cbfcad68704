"""Stops the platform: in order while parts answer, by force for the rest."""

from __future__ import annotations

import contextlib
import shutil
import time

from infra.local.environment import runtime_folder
from infra.local.platform_parts import parts, ray_logs
from infra.local.processes import end, is_flow, ours, part_of
from infra.local.supervisor import Supervisor
from karat.errors import PlatformError
from karat.executors import Progress
from karat.settings import Settings


def stop(settings: Settings, progress: Progress) -> int:
    """Gives how many processes there were. Raises PlatformError where one does not end.

    Clients go first, while the servers can still note how they ended; then everything else at once.
    """
    supervisor, known = Supervisor(settings), parts(settings).values()
    count = len(ours(settings))
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
    return count


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
