"""What is told to Prefect again: everything after a change of files, settings or server, nothing otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local import registration
from infra.local.probes import NoAnswer
from infra.local.registration import forget_registered, has_deployments, note_registered, registered
from karat.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "projects" / "one").mkdir(parents=True)
    (tmp_path / "projects" / "one" / "project.yaml").write_text("name: one\n")
    return Settings(home=tmp_path, projects=tmp_path / "projects")


def test_nothing_is_registered_in_a_new_home(settings: Settings) -> None:
    assert registered(settings) is None


def test_a_change_of_a_project_or_a_setting_is_registered_anew(settings: Settings) -> None:
    note_registered(settings, ["master-orchestrator/one"])
    assert registered(settings) == ["master-orchestrator/one"]
    assert registered(settings.model_copy(update={"environment": "prod"})) is None
    (settings.projects / "one" / "project.yaml").write_text("name: one\nowner: somebody\n")
    assert registered(settings) is None


def test_a_registration_that_breaks_off_is_made_again(settings: Settings) -> None:
    note_registered(settings, ["master-orchestrator/one"])
    forget_registered(settings)
    assert registered(settings) is None
    (settings.home / "prefect" / "registered.json").write_text('{"from"')
    assert registered(settings) is None


@pytest.mark.parametrize(("there", "expected"), [(1, True), (0, False), (None, False)])
def test_the_server_itself_is_asked(
    there: int | None, expected: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object) -> int:
        if there is None:
            raise NoAnswer("nobody listens")
        return there

    monkeypatch.setattr(registration, "call_prefect", answer)
    assert has_deployments(settings, ["master-orchestrator/one"]) is expected
