"""Starts a Python program as a fork of the platform's fork server, or itself where no fork server answers.

``python -S -E fork_client.py SOCKET -m MODULE ...`` stands in for ``python -m MODULE ...``: it passes on its streams,
environment, folder, signals and exit status, and the program dies with it. As Ray's program for setting up workers it
only starts the worker. It runs before each job, flow and worker, so it imports nothing that it can do without.
"""

import importlib.util
import json
import os
import signal
import socket
import sys

#: The longest wait for a fork server that is still importing.
SECONDS = 20.0
#: What Ray calls its worker's program, and the variable in which its workers find the socket.
WORKER, VARIABLE = "default_worker.py", "KARAT_PLATFORM_FORKS"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Fork, or become the program."""
    if "--language=PYTHON" in sys.argv or any(a.endswith(WORKER) for a in sys.argv[1:4]):
        start_worker(sys.argv[1:])
    run(sys.argv[1], sys.argv[2:])


def start_worker(arguments: list[str]) -> None:
    """Start Ray's worker; leave to Ray's own program what needs more than environment variables."""
    context, given = "{}", []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "--serialized-runtime-env-context":
            context = value
        elif name != "--language":
            given.append(argument)
    wanted = json.loads(context or "{}")
    plain = "--language=PYTHON" in arguments and not wanted.get("command_prefix")
    plain = plain and wanted.get("py_executable") in (None, sys.executable)
    if plain and not wanted.get("override_worker_entrypoint") and VARIABLE in os.environ:
        environment = os.environ | (wanted.get("env_vars") or {})
        connection = ask(os.environ[VARIABLE], given, environment, wait=False)
        if connection is not None and connection.recv(64):
            sys.exit(0)
    package = importlib.util.find_spec("ray")  # found, not imported: this process becomes another
    assert package is not None
    assert package.origin
    setup = os.path.join(os.path.dirname(package.origin), "_private", "workers", "setup_worker.py")
    os.execv(sys.executable, [sys.executable, setup, *arguments])


def run(path: str, arguments: list[str]) -> None:
    """Run the program, and end as it ends."""
    life = os.pipe()  # the program is killed when nobody holds the second end any more
    connection = ask(path, arguments, dict(os.environ), wait=True, life=life[0])
    lines = Lines(connection) if connection is not None else None
    said = lines.read() if lines is not None else None
    if lines is None or said is None:
        os.execv(sys.executable, [sys.executable, *arguments])
    pid = int(said.split()[1])

    def pass_on(number: int, _: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    ended = lines.read()
    code = int(ended.split()[1]) if ended else -signal.SIGKILL
    if code < 0:  # as it died, so does this process: who waits for it must see the same
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


class Lines:
    """The lines that come over a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._rest = connection, b""

    def read(self) -> str | None:
        """The next line; None where the connection has ended."""
        while b"\n" not in self._rest:
            try:
                piece = self._connection.recv(256)
            except OSError:
                piece = b""
            if not piece:
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


def ask(
    path: str, arguments: list[str], environment: dict[str, str], *, wait: bool, life: int | None = None
) -> socket.socket | None:
    """Send the request for a fork; None where nobody takes it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(SECONDS)
    request = {"arguments": arguments, "environment": environment, "folder": os.getcwd(), "wait": wait}
    message = json.dumps(request).encode()
    handles = [0, 1, 2] if life is None else [0, 1, 2, life]
    try:
        connection.connect(path)
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], handles)
        connection.sendall(message)
    except OSError:
        return None
    if life is not None:
        os.close(life)
        connection.settimeout(None)
    return connection


if __name__ == "__main__":
    main()
