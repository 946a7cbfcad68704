"""What of a run's lines is shown on the terminal, and what becomes of it when the server does not answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from infra.cli import follow
from infra.cli.follow import Follower, brief
from infra.prefect_api import Line, Prefect, Run
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


class LatePrefect:
    """An API whose log lines come one look after the states, as Prefect's do."""

    def __init__(self) -> None:
        self.looks = 0

    def _state(self, name: str, ended_at: int) -> Run:
        ended = self.looks >= ended_at
        state = "Completed" if ended else "Running"
        return Run(id=name, name=name, state_name=state, state_type=state.upper())

    def run(self, _: str) -> Run:
        self.looks += 1
        return self._state("master-shop", 3)

    def children(self, _: str) -> list[Run]:
        return [self._state("serving", 2)]

    def logs(self, *_: object) -> list[Line]:
        lines = [(2, "serving begins"), (4, "shop answers"), (5, "all is served")]
        return [
            Line(
                id=text,
                message=text,
                level=20,
                task_run_id="t",
                timestamp=datetime(2026, 12, 1, 0, 0, n, tzinfo=UTC),
            )
            for n, (look, text) in enumerate(lines)
            if self.looks >= look
        ]


def test_the_last_lines_of_a_job_come_before_the_end_of_its_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.0)
    console = Console(record=True, width=200)
    Follower(LatePrefect(), console).follow(Run(id="master-shop", name="master-shop"))  # type: ignore[arg-type]
    told = [line.split(" ", 1)[1].strip() for line in console.export_text().splitlines()]
    assert told == [
        "master-shop: Running",
        "serving: Running",
        "serving begins",
        "shop answers",
        "serving: Completed",
        "all is served",
        "master-shop: Completed",
    ]


def test_a_pipeline_ends_before_the_next_one_begins():
    console = Console(record=True, width=200)
    show = follow.StateLines(console)

    def state(name: str, state_name: str) -> Run:
        return Run(id=name, name=name, state_name=state_name, state_type=state_name.upper())

    run = state("master-shop", "Running")
    for features, training in (("Running", None), ("Completed", "Pending"), ("Completed", "Running")):
        begun = [state("training", training)] if training else []
        show(run, [state("features", features), *begun])
    told = [line.split(" ", 1)[1].strip() for line in console.export_text().splitlines()]
    assert told == ["master-shop: Running", "features: Running", "features: Completed", "training: Running"]


def test_one_that_stays_away_is_an_error(server: Server, follower: Follower, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.2)
    server.refusals = 1_000_000
    with pytest.raises(ServiceDown, match="does not answer"):
        follower.follow(Run(id="r", name="master-shop"))
