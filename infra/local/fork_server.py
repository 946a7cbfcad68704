"""A process that has imported what Ray's workers, jobs and flows need, and is forked for each of them.

Python's start and imports cost a worker of a training step four seconds of a core, a fork a hundredth of that; what
all of them have in common is in memory once. The server holds libraries and Karat's own modules, never a project's
code; where one of Karat's files has changed it gives no more forks, and starts anew.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from infra.code import ROOT
from infra.local.fork_client import WORKER
from infra.local.ray_flags import find_flags, set_flags
from infra.process_end import end_process, exit_status

#: What Ray's workers need, Serve's among them: first, as a platform that starts waits for these.
FIRST = (
    *("ray.actor", "ray._private.node", "ray._private.ray_logging", "ray._private.external_storage"),
    *("ray.serve._private.controller", "ray.serve._private.proxy", "ray.serve._private.haproxy"),
    *("ray.serve._private.replica", "serve.api.app"),
)
#: What jobs, the workers of their steps, and flows need: once nobody has asked for a fork for a while.
LATER = (
    *("ray.dashboard.modules.job.job_supervisor", "infra.jobs", "ray_jobs.program", "ray_jobs.models"),
    *("karat.features", "karat.online", "karat.quality", "karat.monitoring", "karat.kinds", "karat.lifecycle"),
    *("ray_jobs.steps.model_work", "ray_jobs.steps.train", "ray_jobs.steps.promote", "ray_jobs.steps.score"),
    *("prefect.flow_engine", "prefect.engine", "prefect.deployments.steps.pull", "flows.master_orchestrator"),
)
#: Ray's random ids that a fork has to itself, and after how many forks they come round: 30 ms at the most.
DRAWS_OF_A_FORK, DISTINCT_FORKS = 64, 512
#: Seconds without a request after which it imports the rest.
CALM_SECONDS = 4.0


class ForkServer:
    """Listens at ``path``; ``serve`` returns in each fork, with its request."""

    def __init__(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(64)
        self._awake, self._wakes = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._wakes, False)
        self._waiting: dict[int, socket.socket] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._stale = False
        self._flags: dict[str, int] | None = None
        self._forks = 0

    def load(self, names: Sequence[str]) -> None:
        """Import modules out of reach of the garbage collector, whose marks would copy their pages in each fork."""
        gc.disable()
        for name in names:
            try:
                import_module(name)
            except Exception as error:  # an optional package that is not installed: each fork does without, too
                print(f"the fork server does without {name}: {error!r}", file=sys.stderr)
        gc.collect()
        gc.freeze()
        gc.enable()
        self._flags = self._flags or find_flags()
        self._stamps = {f: _stamp(f) for f in _own_files(sys.modules.values())}

    def is_stale(self) -> bool:
        """Whether a file of Karat's that was imported has changed since."""
        return any(_stamp(file) != known for file, known in self._stamps.items())

    def serve(self, later: Sequence[str]) -> dict[str, Any]:
        """Fork for each request until the process that started the server is gone."""
        signal.set_wakeup_fd(self._wakes)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        calm_since = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for readable in (self._listener.fileno(), self._awake, 0):
                selector.register(readable, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(CALM_SECONDS if later else None)}
                if 0 in ready and not os.read(0, 1):
                    os._exit(0)
                if self._awake in ready:
                    self._tell_ended()
                if self._listener.fileno() in ready:
                    request = self._answer()
                    if request is not None:
                        return request
                    calm_since = time.monotonic()
                elif later and time.monotonic() - calm_since >= CALM_SECONDS:
                    self.load(later)
                    later = ()
                if self._stale:  # who waits for a fork hears from it how it ends
                    os.execv(sys.executable, sys.orig_argv)

    def _answer(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        try:
            request, handles = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return None
        self._stale = self._stale or self.is_stale()
        is_worker = request["arguments"][0].endswith(WORKER)
        self._forks += 1
        pid = -1 if self._stale or (is_worker and self._flags is None) else os.fork()
        if not pid:
            self._listener.close()
            signal.set_wakeup_fd(-1)
            for handle in (self._awake, self._wakes):
                os.close(handle)
            for other in self._waiting.values():
                other.close()
            connection.settimeout(None)
            known = {"flags": self._flags, "number": self._forks}
            return request | {"handles": handles, "connection": connection} | known
        for handle in handles:
            os.close(handle)
        if pid > 0:
            with suppress(OSError):
                connection.sendall(f"pid {pid}\n".encode())
        if pid > 0 and request["wait"]:
            self._waiting[pid] = connection
        else:
            connection.close()
        return None

    def _tell_ended(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._awake, 4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._waiting.pop(ended[0], None)
                if connection is not None:
                    with suppress(OSError):
                        connection.sendall(f"ended {os.waitstatus_to_exitcode(ended[1])}\n".encode())
                    connection.close()


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, handles, *_ = socket.recv_fds(connection, 4, 4)
    size, message = int.from_bytes(head, "big"), b""
    while len(message) < size:
        piece = connection.recv(size - len(message))
        if not piece:
            raise ValueError("a request that ends early")
        message += piece
    request: dict[str, Any] = json.loads(message)
    return request, handles


def _own_files(modules: Sequence[ModuleType] | Any) -> list[str]:
    files = (getattr(module, "__file__", None) or "" for module in list(modules))
    return [f for f in files if f.startswith(f"{ROOT}/") and "site-packages" not in f]


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def become(request: dict[str, Any]) -> None:
    """Take the program's place: session, streams, environment, folder, arguments; then run it."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, last = request["handles"] if request["wait"] else (*request["handles"], None)
    for number, handle in enumerate(streams):
        os.dup2(handle, number)
    for handle in streams:
        if handle > 2:
            os.close(handle)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["flags"] is not None:
        set_flags(request["flags"])
    os.chdir(request["folder"])
    time.tzset()
    _show_environment()
    if request["wait"]:
        _die_with(last)
        _show_arguments([sys.executable, *request["arguments"]])
    _begin_anew(request["number"])
    _run(request)


def _run(request: dict[str, Any]) -> None:
    how, *arguments = request["arguments"]
    named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    first = request["folder"] if how == "-m" else str(Path(how).parent)
    sys.path[:] = list(dict.fromkeys([first, *named, *sys.path[1:]]))
    warnings.filterwarnings("ignore", message=".*found in sys.modules.*", category=RuntimeWarning)

    def program() -> None:
        if how == "-m":
            sys.argv = list(arguments)
            sys.modules.pop("__main__")
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [how, *arguments]
            runpy.run_path(how, run_name="__main__")

    code = exit_status(program)
    connection: socket.socket = request["connection"]
    end_process(code, last=lambda: _say_end(connection, code))


def _say_end(connection: socket.socket, code: int) -> None:
    with suppress(OSError):
        connection.sendall(f"exit {code}\n".encode())


def _die_with(handle: int) -> None:
    """The kernel kills this process when the other end of the pipe is closed: when the client has died."""
    set_signal = 10  # F_SETSIG, for which fcntl has no name before Python 3.12
    fcntl.fcntl(handle, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(handle, set_signal, signal.SIGKILL)
    fcntl.fcntl(handle, fcntl.F_SETFL, fcntl.fcntl(handle, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        if not os.read(handle, 1):  # it had died before
            os.kill(os.getpid(), signal.SIGKILL)


def _begin_anew(number: int) -> None:
    """What libraries have made of the server's environment or of its own randomness.

    Ray's library seeds its generator of ids once, and has no function to seed it: two forks would draw the same ids,
    and one of two workers that start at once dies, as the other one has its object. Each fork skips another part.
    """
    if ray := sys.modules.get("ray"):
        for _ in range(DRAWS_OF_A_FORK * (number % DISTINCT_FORKS)):
            ray.ObjectRef.from_random()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if context := sys.modules.get("prefect.context"):
        context.refresh_global_settings_context()


# ---- what the kernel shows of this process: psutil finds the platform's processes by it


def _show_environment() -> None:
    _overwrite(*_blocks()[2:], "".join(f"{k}={v}\0" for k, v in os.environ.items()).encode(errors="surrogateescape"))


def _show_arguments(arguments: list[str]) -> None:
    start, end, *_ = _blocks()
    _overwrite(start, end, " ".join(arguments).encode(errors="surrogateescape"), last=b".")


def _blocks() -> tuple[int, int, int, int]:
    """Begin and end of the arguments' and of the environment's memory."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    arguments_start, arguments_end, environment_start, environment_end = (int(f) for f in fields[45:49])
    return arguments_start, arguments_end, environment_start, environment_end


def _overwrite(start: int, end: int, content: bytes, last: bytes = b"\0") -> None:
    room = end - start
    if start and room > 1:
        ctypes.memmove(start, content[: room - 2].ljust(room - 1, b"\0") + last, room)


def main(path: str, first: Sequence[str] = FIRST, later: Sequence[str] = LATER) -> None:
    """Listen, import, serve; in a fork: become the program."""
    server = ForkServer(path)
    server.load(first)
    become(server.serve(later))


if __name__ == "__main__":
    main(sys.argv[1])
