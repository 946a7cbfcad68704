"""What Prefect's API finds is read to its end, not to the end of its first page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.local.probes import PAGE, list_prefect
from karat.settings import Settings


class Answer(BaseHTTPRequestHandler):
    """Numbers up to ``there``, by pages."""

    there = 0
    asked: list[dict[str, int]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        numbers = list(range(self.there))[body["offset"] :][: min(body["limit"], PAGE)]
        answer = json.dumps([{"id": n} for n in numbers]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def server(settings: Settings) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer((settings.host, settings.prefect_port), Answer) as found:
        threading.Thread(target=found.serve_forever).start()
        yield found
        found.shutdown()


@pytest.mark.parametrize("there", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_all_pages_are_read(server: ThreadingHTTPServer, settings: Settings, there: int) -> None:
    Answer.there, Answer.asked = there, []
    found = list_prefect(settings, "/deployments/filter", {"sort": "CREATED_DESC"})
    assert [row["id"] for row in found] == list(range(there))
    assert {body["sort"] for body in Answer.asked} == {"CREATED_DESC"}
