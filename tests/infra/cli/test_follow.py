"""What of a run's lines is shown on the terminal, and what becomes of it when the server does not answer."""

from __future__ import annotations

import pytest
from rich.console import Console

from infra.cli import follow
from infra.cli.follow import Follower, brief
from infra.prefect_api import Prefect, Run
from karat.errors import ServiceDown
from karat.settings import Settings
from tests.infra.conftest import Server


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Engine execution exited\nTraceback (most recent call last):\n  File ...\nKaratError: x",
            "Engine execution exited",
        ),
        ("3 of 7 failed:\n  - a: x\n  - b: y", "3 of 7 failed:\n  - a: x\n  - b: y"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_prefects_tracebacks_are_left_to_its_page(message, shown):
    assert brief(message) == shown


@pytest.fixture
def follower(server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Follower:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.01)
    api = Prefect(settings.model_copy(update={"prefect_port": server.server_port}), busy_seconds=0)
    return Follower(api, Console(record=True, width=200))


def test_a_server_that_starts_anew_is_waited_for(server: Server, follower: Follower):
    server.refusals = 3
    ended = follower.follow(Run(id="r", name="master-shop"))
    assert ended.state_type == "COMPLETED"
    assert follower.console.export_text().count("the run goes on; trying again") == 1


def test_one_that_stays_away_is_an_error(server: Server, follower: Follower, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.2)
    server.refusals = 1_000_000
    with pytest.raises(ServiceDown, match="does not answer"):
        follower.follow(Run(id="r", name="master-shop"))
