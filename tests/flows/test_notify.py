"""A failed run is told to the webhook block that a person has made under the name that the hook knows."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.hooks import BLOCK_NAME
from infra.code import ROOT
from infra.local.environment import platform_environment
from tests import warm
from tests.shop import Shop

pytestmark = pytest.mark.platform


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict]]]:
    """An address on this machine and what was posted to it."""
    received: list[dict] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()


def blocks(shop: Shop, code: str) -> None:
    """In a process of its own: Prefect reads its environment when it is imported."""
    script = f"from prefect.blocks.webhook import Webhook\n{code}"
    env = os.environ | platform_environment(shop.settings)
    warm.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=True, capture_output=True)


def test_a_failed_run_is_told_once(shop: Shop, inbox: tuple[str, list[dict]]):
    url, received = inbox
    blocks(shop, f"Webhook(url={url!r}).save({BLOCK_NAME!r}, overwrite=True)")
    try:
        shop.run("training_pipeline", models=["nobody"])
    finally:
        blocks(shop, f"Webhook.delete({BLOCK_NAME!r})")
    assert len(received) == 1
    assert received[0]["subject"] == f"Karat: training-pipeline of {shop.name}: Failed"
    assert "nobody" in received[0]["message"]
    assert received[0]["flow_run"] == shop.last_run().id
