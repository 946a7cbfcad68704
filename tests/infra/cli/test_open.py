"""``karat open``: a login on a terminal, its file elsewhere, and lines with which a shell lets clients in."""

from __future__ import annotations

import json
import subprocess

import pytest

from infra.cli import open as opened
from infra.cli.app import main
from infra.local.environment import make_credentials, make_folders, token_file
from karat.credentials import mlflow_login, prefect_login
from karat.settings import Settings


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with logins, which the command's settings name."""
    make_folders(settings)
    make_credentials(settings)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["open", *arguments])
    assert not ended.value.code, ended.value.code


def secrets_of(settings: Settings) -> list[str]:
    return [prefect_login(settings).password, mlflow_login(settings).password, token_file(settings).read_text()]


def test_secrets_are_shown_on_a_terminal_alone(home: Settings, capsys: pytest.CaptureFixture[str], monkeypatch):
    run()
    piped = capsys.readouterr().out
    assert not [secret for secret in secrets_of(home) if secret in piped]
    assert str(token_file(home)) in piped
    monkeypatch.setattr(opened.console, "_force_terminal", True)
    run()
    shown = capsys.readouterr().out
    assert all(secret in shown for secret in secrets_of(home))
    assert max(len(line) for line in shown.splitlines()) <= 90


def test_no_secret_is_in_the_json(home: Settings, capsys: pytest.CaptureFixture[str]):
    run("--json")
    out = capsys.readouterr().out
    assert [page["page"] for page in json.loads(out)] == ["prefect", "mlflow", "ray", "api"]
    assert not [secret for secret in secrets_of(home) if secret in out]


def test_a_shell_gets_the_logins_from_their_files(home: Settings, capsys: pytest.CaptureFixture[str]):
    run("--export")
    lines = capsys.readouterr().out
    assert not [secret for secret in secrets_of(home) if secret in lines]
    done = subprocess.run(["sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True, env={})
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["PREFECT_API_AUTH_STRING"] == prefect_login(home).text
    assert (found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"]) == mlflow_login(home)
    assert found["RAY_AUTH_TOKEN_PATH"] == str(token_file(home))


def test_a_page_that_does_not_answer_is_told(home: Settings):
    with pytest.raises(SystemExit) as ended:
        main(["open", "mlflow"])
    assert ended.value.code == 1
