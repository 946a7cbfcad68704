"""The command ``karat`` for programs and shells that call it often: each call is forked from a warm process."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import warm

#: What stands in the command's place: a Python without site-packages, so that it starts at once.
CLIENT = """#!{python} -SEs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    request = {{"words": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
    socket.send_fds(asked, [b"karat"], [1, 2])
    asked.sendall(json.dumps(request).encode() + b"\\n")
    sys.exit(int(asked.makefile().readline()))
"""


class _Call(socketserver.BaseRequestHandler):
    """One call of ``karat``, which writes to its caller's streams."""

    def handle(self) -> None:
        _, streams, *_ = socket.recv_fds(self.request, len(b"karat"), 2)
        request = json.loads(self.request.makefile().readline())
        command = [sys.executable, "-m", "infra.cli.app", *request["words"]]
        out, err = streams
        with warm.Popen(command, env=request["env"], cwd=request["cwd"], stdout=out, stderr=err) as process:
            for stream in streams:
                os.close(stream)
            self.request.sendall(f"{process.wait()}\n".encode())


@contextmanager
def karat_command(path: Path) -> Iterator[None]:
    """Write the command to ``path`` and answer its calls."""
    path.parent.mkdir(parents=True, exist_ok=True)
    address = str(path.with_name("asked"))
    path.write_text(CLIENT.format(python=sys.executable, address=address))
    path.chmod(0o755)
    with socketserver.ThreadingUnixStreamServer(address, _Call) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
