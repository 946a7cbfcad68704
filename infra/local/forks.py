"""How the platform's programs are started as forks: the server's start, and the command that asks it for one."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from infra.code import ROOT
from infra.local import fork_client
from infra.local.environment import runtime_folder
from infra.local.ray_flags import MARKS
from karat.settings import Settings

#: Room in the blocks of environment and arguments that the kernel shows of a process, for those of a fork.
ENVIRONMENT_BYTES, ARGUMENT_BYTES = 48 << 10, 512


def socket_path(settings: Settings) -> Path:
    """Where the fork server of this home listens; nobody else may enter the folder."""
    return runtime_folder(settings) / "forks.sock"


def python_command(settings: Settings) -> list[str]:
    """What stands for ``python`` in the command of a job or a flow: where a fork server runs, it forks the program."""
    return [sys.executable, "-S", "-E", str(fork_client.__file__), str(socket_path(settings))]


def flow_command(settings: Settings) -> str:
    """The command of a flow run's process.

    Without a command of its own, Prefect starts two processes, which import Prefect one after the other.
    """
    return shlex.join([*python_command(settings), "-m", "prefect.engine"])


def start_fork_server(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the server; it ends when this process does. Whoever asks for a fork waits until it is ready."""
    path = socket_path(settings)
    path.unlink(missing_ok=True)
    os.environ[fork_client.VARIABLE] = str(path)
    room = {"KARAT_PLATFORM_ROOM": "." * ENVIRONMENT_BYTES}
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local.fork_server", str(path), " " * ARGUMENT_BYTES],
        # Ray's tasks have one CPU, and OpenMP reads this when it is loaded.
        env=os.environ | MARKS | room | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def await_fork_server(settings: Settings, seconds: float = 60.0) -> bool:
    """Wait until the server has imported what comes first; return whether it has within so many seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(socket_path(settings)))
            connection.shutdown(socket.SHUT_WR)  # it closes a request that ends early
            return connection.recv(1) == b""
        except OSError:
            return False
