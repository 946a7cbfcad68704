"""supervisord: its configuration, its start, and its XML-RPC calls."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from infra.code import ROOT
from infra.local.environment import CLIENT_SECRETS, MISLEADING, platform_environment, runtime_folder
from infra.local.platform_parts import Part, log_file, parts
from infra.local.processes import PART_MARK, end, marks, ours
from karat.errors import ServiceDown
from karat.fingerprint import fingerprint
from karat.settings import Settings

#: How it says that nobody is there, or not any more.
_SILENT = (OSError, http.client.HTTPException)
#: It answers within milliseconds; one that was stopped, or that hangs, never does.
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class SupervisorState:
    """A part as supervisord sees it: ``name`` is RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL, ..."""

    name: str
    pid: int
    started: float
    said: str


class Supervisor:
    """One home's supervisord; constructing it starts nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.config = settings.home / "supervisor" / "supervisord.conf"
        self.log = settings.home / "logs" / "supervisord.log"
        self.socket = runtime_folder(settings) / "supervisor.sock"

    def environment(self) -> dict[str, str]:
        """The caller's environment with the platform's laid over it, and the marks by which it is found again."""
        taken_out = (*MISLEADING, *CLIENT_SECRETS)
        kept = {k: v for k, v in os.environ.items() if k not in taken_out and not k.startswith("KARAT_")}
        return kept | platform_environment(self.settings) | marks(self.settings)

    def text(self) -> str:
        """The configuration. It changes when the platform's environment does, so that one can see both."""
        meant = {k: v for k, v in platform_environment(self.settings).items() if k.lower() != "no_proxy"}
        head = f"""\
; Written by karat up. Environment: {fingerprint(meant, size=8)}
[unix_http_server]
file = {_escape(self.socket)}
chmod = 0700

[supervisord]
logfile = {_escape(self.log)}
logfile_maxbytes = 10MB
logfile_backups = 1
pidfile = {_escape(self.config.with_suffix(".pid"))}
childlogdir = {_escape(self.log.parent)}
directory = {_escape(ROOT)}
silent = true
{"user = root" if os.getuid() == 0 else ""}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
        return head + "".join(self._program(part) for part in parts(self.settings).values())

    def _program(self, part: Part) -> str:
        command = shlex.join([sys.executable, "-m", "infra.local.program", part.name])
        return f"""
[program:{part.name}]
command = {_escape(command)}
directory = {_escape(ROOT)}
environment = {PART_MARK}="{part.name}"
autorestart = true
startsecs = 3
startretries = 12
stopwaitsecs = {part.stop_seconds}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {_escape(_escape(log_file(self.settings, part.name)))}
; The program itself appends to this file, and its length is kept by infra.local.instances.rotate.
stdout_logfile_maxbytes = 0
"""

    def up_to_date(self) -> bool:
        """True where it runs, and under the settings that hold now."""
        return self.pid() is not None and self.configured()

    def configured(self) -> bool:
        """True where the last one was started under the settings that hold now."""
        return self.config.is_file() and self.config.read_text() == self.text()

    def processes(self) -> list[psutil.Process]:
        """Its daemon, also one that does not answer; usually one or none."""
        command = ["-m", "supervisor.supervisord", "-c", str(self.config)]
        return ours(self.settings, lambda process: _ends_with(process, command))

    def pid(self) -> int | None:
        """Its process, None where nobody answers."""
        try:
            return int(self._call("getPID"))
        except _SILENT:
            return None

    def start(self) -> None:
        """Writes the configuration and starts the daemon, and with it every part that does not run. Raises ServiceDown.

        One that does not answer is killed, which leaves its children as they are: the new one adopts them.
        """
        end(self.processes(), grace=0)
        part = self.config.with_suffix(".new")
        part.write_text(self.text())
        part.replace(self.config)
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.config)],
            env=self.environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + 10
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.pid() is not None:
                return
            time.sleep(0.1)
        raise ServiceDown(
            f"supervisord did not start: {(done.stderr or done.stdout).strip() or 'it does not answer'}",
            where=str(self.log),
            remedy="read its log, then: karat up",
        )

    def states(self) -> dict[str, SupervisorState]:
        """Every part's state, empty where nobody answers."""
        try:
            told = self._call("getAllProcessInfo")
        except _SILENT:
            return {}
        return {p["name"]: SupervisorState(p["statename"], p["pid"], float(p["start"]), p["description"]) for p in told}

    def begin(self) -> None:
        """Starts what stands still."""
        for name, state in self.states().items():
            if state.name in ("STOPPED", "EXITED", "FATAL"):
                self._try("startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Asks the parts to end, all at once, without waiting."""
        for name in names:
            self._try("stopProcess", name, False)

    def shutdown(self) -> None:
        """End supervisord itself."""
        self._try("shutdown")

    def _try(self, verb: str, *arguments: object) -> None:
        """A fault means that the part is already where it should go."""
        try:
            self._call(verb, *arguments)
        except (xmlrpc.client.Fault, *_SILENT):
            return

    def _call(self, verb: str, *arguments: object) -> Any:
        transport = _Transport(self.socket)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, verb)(*arguments)


class _Transport(SupervisorTransport):  # type: ignore[misc]
    """supervisord's own, which would wait for ever for a process that has been stopped."""

    def __init__(self, path: Path) -> None:
        super().__init__(serverurl=f"unix://{path}")
        self._path = path
        self._get_connection = self._connect

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(ANSWER_SECONDS)
        connection.sock.connect(str(self._path))
        return connection


def _ends_with(process: psutil.Process, words: list[str]) -> bool:
    try:
        return process.cmdline()[-len(words) :] == words
    except psutil.Error:
        return False


def _escape(value: Path | str) -> str:
    """Escape ``%``: supervisord expands ``%(name)s`` in its configuration, in a log file's name twice."""
    return str(value).replace("%", "%%")
