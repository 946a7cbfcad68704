"""Python programs in processes that are forked from a warm one: the imports of seconds are there already.

``run`` and ``Popen`` take what those of ``subprocess`` take for ``[sys.executable, "-m", MODULE, ...]`` and
``[sys.executable, "-c", CODE, ...]``. The program has its own environment, working directory, arguments and standard
streams, dies alone, and ends as a Python does (threads, atexit, exit status). A test that asks how a program starts
(what it imports, what a fresh environment does to it) starts a real one instead.

There is one server for each set of variables that libraries read when they are imported; it ends with this process.
"""

from __future__ import annotations

import gc
import io
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import IO, Any

from infra.code import ROOT
from infra.process_end import run_to_the_end
from karat.kinds._skops import skops_io

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
#: Read by a library when it is imported: who has other values needs another server.
READ_AT_IMPORT = ("PREFECT_", "RAY_", "MLFLOW_", "OMP_", "OPENBLAS_", "POLARS_")
#: Not the command line's own modules: its console reads the width and colours of its environment.
LIBRARY = ("karat.client", "karat.registry", "karat.inference.predictor", "karat.online.lmdb", "infra.jobs")
FLOWS = ("flows.master_orchestrator", "flows.monitoring_pipeline", "flows.promotion", "prefect.blocks.webhook")
#: The longest request in bytes: environment, arguments, code.
LONGEST = 1 << 20


class Popen:
    """A program in a forked process: of ``subprocess.Popen`` what tests use."""

    def __init__(
        self,
        args: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: object = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        text: bool = False,
    ) -> None:
        executable, *self.args = map(str, args)
        assert executable == sys.executable, f"{executable} is not this Python"
        assert self.args[0] in ("-c", "-m"), f"{self.args[0]}: start a real process"
        environment = dict(os.environ if env is None else env)
        request = {"args": self.args, "env": environment, "cwd": str(cwd or os.getcwd())}
        self.returncode: int | None = None
        own: list[int] = []  # the program's ends of pipes, to be closed here

        def stream(wanted: int | None, number: int) -> tuple[int, IO[Any] | None]:
            if wanted == PIPE:
                ends = os.pipe()
                theirs, mine = ends if number == 0 else ends[::-1]
                own.append(theirs)
                return theirs, open(mine, ("r", "w")[number == 0] + ("" if text else "b"))
            if wanted == DEVNULL:
                own.append(os.open(os.devnull, os.O_RDWR))
                return own[-1], None
            return number if wanted is None else wanted, None

        (their_in, self.stdin), (their_out, self.stdout) = stream(stdin, 0), stream(stdout, 1)
        their_err, self.stderr = (their_out, None) if stderr == STDOUT else stream(stderr, 2)
        self._told, tells = os.pipe()
        own.append(tells)
        _server(_family(environment)).ask(request, [their_in, their_out, their_err, tells])
        for fd in own:
            os.close(fd)
        self.pid = int(self._line())

    def _line(self) -> bytes:
        said = b""
        while not said.endswith(b"\n"):
            piece = os.read(self._told, 1)
            assert piece, "the warm process has died"
            said += piece
        return said

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._line())
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What it writes until it ends, or until ``timeout``."""
        until = None if timeout is None else time.monotonic() + timeout
        if self.stdin is not None:
            self.stdin.close()
        streams = [s for s in (self.stdout, self.stderr) if s is not None]
        said: dict[Any, list[bytes]] = {s: [] for s in streams}
        reading = list(streams)
        while reading:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = select.select(reading, [], [], left)[0]
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            for stream in ready:
                piece = os.read(stream.fileno(), 1 << 16)
                said[stream].append(piece)
                if not piece:
                    reading.remove(stream)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))

        def whole(stream: IO[Any] | None) -> Any:
            if stream is None:
                return None
            written = b"".join(said[stream])
            stream.close()
            return written.decode() if isinstance(stream, io.TextIOBase) else written

        return whole(self.stdout), whole(self.stderr)

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(
    args: Sequence[object],
    *,
    capture_output: bool = False,
    check: bool = False,
    timeout: float | None = None,
    text: bool = False,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """As ``subprocess.run``."""
    if capture_output:
        how |= {"stdout": PIPE, "stderr": PIPE}
    process = Popen(args, text=text, **how)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    code = process.wait()
    if check and code:
        raise subprocess.CalledProcessError(code, list(map(str, args)), out, err)
    return subprocess.CompletedProcess(list(map(str, args)), code, out, err)


# ---- the server


def _family(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in environment.items() if k.startswith(READ_AT_IMPORT)))


class _Server:
    """The warm process, as seen from the tests."""

    def __init__(self, family: tuple[tuple[str, str], ...]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(READ_AT_IMPORT)} | dict(family)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
            )

    def ask(self, request: Mapping[str, object], fds: list[int]) -> None:
        message = json.dumps(request).encode()
        assert len(message) < LONGEST
        socket.send_fds(self._socket, [message], fds)


@cache
def _server(family: tuple[tuple[str, str], ...]) -> _Server:
    return _Server(family)


def _serve(number: int) -> dict[str, Any]:
    """Forks a child for each request until nobody can ask any more. Returns in the children: the request."""
    control = socket.socket(fileno=number)
    awake, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        for readable in (control.fileno(), awake):
            selector.register(readable, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == awake:
                    os.read(awake, 4096)
                    _tell_ended(children)
                    continue
                message, fds, *_ = socket.recv_fds(control, LONGEST, 4)
                if not message:
                    os._exit(0)
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for fd in (awake, wakes, *children.values()):
                        os.close(fd)
                    control.close()
                    return json.loads(message) | {"fds": fds}
                for fd in fds[:3]:
                    os.close(fd)
                os.write(fds[3], f"{pid}\n".encode())
                children[pid] = fds[3]


def _tell_ended(children: dict[int, int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(BrokenPipeError):
                os.write(children[pid], f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(children.pop(pid))


def _become(request: dict[str, Any]) -> None:
    """Takes the program's place: streams, environment, folder, arguments; then runs it."""
    *streams, tells = request["fds"]
    os.close(tells)
    streams = [os.dup(fd) if fd < 3 else fd for fd in streams]
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    for fd in set(streams):
        os.close(fd)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()
    how, what, *arguments = request["args"]
    named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:0] = ["" if how == "-c" else request["cwd"], *named]
    if how == "-m":
        sys.argv = [what, *arguments]
        sys.modules.pop("__main__")
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), vars(main))


if __name__ == "__main__":
    for name in LIBRARY + (FLOWS if "PREFECT_API_URL" in os.environ else ()):
        import_module(name)
    skops_io()
    gc.freeze()  # a collection in a child would copy all these pages
    request = _serve(int(sys.argv[1]))
    run_to_the_end(lambda: _become(request))
