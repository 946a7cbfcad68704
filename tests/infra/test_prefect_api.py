"""What becomes of a call when Prefect's server is busy: it says 503 while another request holds SQLite's lock."""

from __future__ import annotations

import pytest

from infra.prefect_api import Prefect
from karat.errors import ServiceDown
from karat.settings import Settings
from tests.infra.conftest import Server


def test_a_busy_server_is_asked_again(server: Server, settings: Settings):
    api = Prefect(settings.model_copy(update={"prefect_port": server.server_port}))
    server.refusals = 2
    assert api.run("r").is_final
    assert server.refusals < 0


def test_a_run_that_is_asked_for_twice_is_one_run(server: Server, settings: Settings):
    api = Prefect(settings.model_copy(update={"prefect_port": server.server_port}))
    for _ in range(2):
        api.start("master-orchestrator", "shop", "x", {})
    keys = [request["idempotency_key"] for request in server.created]
    assert keys[0] == keys[1] != keys[2]


def test_one_that_stays_busy_is_an_error(server: Server, settings: Settings):
    server.refusals = 1_000_000
    with pytest.raises(ServiceDown, match="503"):
        Prefect(settings.model_copy(update={"prefect_port": server.server_port}), busy_seconds=0.5).recent(1)
