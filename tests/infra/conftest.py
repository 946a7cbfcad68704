"""A server in place of Prefect's that refuses on demand: the real one is busy only when it likes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


class Server(ThreadingHTTPServer):
    """Says 503 to the first ``refusals`` calls, then that every run has ended and left no line.

    ``created`` are the requests for a run, of which the first is carried out, but answered with 503.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.refusals = 0
        self.created: list[dict[str, object]] = []


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer({"id": "r", "name": "master-shop", "state_type": "COMPLETED", "state_name": "Completed"})

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["content-length"]))
        if not self.path.endswith("/create_flow_run"):
            self._answer([])
            return
        self.server.created.append(json.loads(said))
        self.server.refusals = max(self.server.refusals, int(len(self.server.created) == 1))
        self.do_GET()

    def _answer(self, body: object) -> None:
        refused = self.server.refusals > 0
        self.server.refusals -= 1
        self.send_response(503 if refused else 200)
        self.end_headers()
        self.wfile.write(b"" if refused else json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
