"""Logins are their owner's alone, stay what they are, and reach the server that they are for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from infra.cli.app import main
from infra.local.environment import CLIENT_SECRETS, client_secrets, make_credentials, make_folders, server_secrets
from infra.local.supervisor import Supervisor
from karat.credentials import Login, api_login, login_file, mlflow_login, prefect_login, use_mlflow_login
from karat.errors import PlatformError, WrongCall
from karat.settings import Settings


@pytest.fixture(autouse=True)
def no_logins_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLIENT_SECRETS:
        monkeypatch.setenv(name, "")  # so that it is taken back, too
        monkeypatch.delenv(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_first_up_makes_logins_for_the_owner_alone_whatever_the_umask(settings: Settings):
    settings.home.mkdir(mode=0o777)
    settings.home.chmod(0o777)
    before = os.umask(0)
    try:
        make_folders(settings)
        make_credentials(settings)
    finally:
        os.umask(before)
    assert mode(settings.home) == mode(login_file(settings, "mlflow").parent) == 0o700
    found = {server: login_file(settings, server) for server in ("prefect", "mlflow")}
    texts = {server: file.read_text() for server, file in found.items()}
    assert {mode(file) for file in found.values()} == {0o600}
    assert len(set(texts.values())) == 2
    assert all(text.startswith("karat:") and len(text) > 40 for text in texts.values())

    found["mlflow"].chmod(0o644)
    make_credentials(settings)
    assert {server: file.read_text() for server, file in found.items()} == texts
    assert mode(found["mlflow"]) == 0o600
    assert prefect_login(settings) == Login(*texts["prefect"].split(":"))


def test_a_home_login_goes_before_the_environment_on_this_machine_and_not_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ci:another:one")
    assert prefect_login(settings) == Login("ci", "another:one")
    make_folders(settings)
    make_credentials(settings)
    assert prefect_login(settings).user == "karat"
    assert prefect_login(settings.model_copy(update={"host": "10.0.0.5"})) == Login("ci", "another:one")


def test_mlflow_finds_its_login_in_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    use_mlflow_login(settings)
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ
    make_folders(settings)
    make_credentials(settings)
    use_mlflow_login(settings)
    assert Login(os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == mlflow_login(
        settings
    )


def test_each_part_gets_what_it_needs_and_the_supervisor_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    make_folders(settings)
    make_credentials(settings)
    for name in CLIENT_SECRETS:
        monkeypatch.setenv(name, "from another home")
    assert not set(CLIENT_SECRETS) & set(Supervisor(settings).environment())
    assert {part: set(server_secrets(settings, part)) for part in ("ray", "mlflow", "keeper")} == {
        "ray": set(),
        "mlflow": set(),
        "keeper": set(),
    }
    assert set(server_secrets(settings, "worker")) == {"PREFECT_API_AUTH_STRING"}
    assert server_secrets(settings, "prefect")["PREFECT_SERVER_API_AUTH_STRING"] == prefect_login(settings).text
    passwords = [login_file(settings, server).read_text().partition(":")[2] for server in ("prefect", "mlflow")]
    assert not [p for p in passwords if p in Supervisor(settings).text() + str(Supervisor(settings).environment())]
    assert set(client_secrets(settings).values()) >= {passwords[1], prefect_login(settings).text}


def test_a_login_does_not_show_its_password():
    login = Login("karat", "hidden")
    assert "hidden" not in f"{login} {login!r} {[login]}"


def test_without_logins_only_on_loopback(settings: Settings):
    make_folders(settings)
    make_credentials(settings)
    off = Settings(home=settings.home, auth="off")
    assert (prefect_login(off), mlflow_login(off), client_secrets(off)) == (None, None, {})
    assert Supervisor(off).environment()["RAY_AUTH_MODE"] == "disabled"
    for host in ("0.0.0.0", "10.0.0.5", "::", "127.evil.example"):
        with pytest.raises(WrongCall, match="off is for a platform on loopback"):
            Settings(home=settings.home, auth="off", host=host)


def test_a_home_that_any_command_has_made_is_private(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    settings.home.mkdir()
    settings.home.chmod(0o755)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["tables"])
    assert mode(settings.home) == 0o700


@pytest.mark.parametrize(
    ("changes", "is_open"),
    [
        ({}, True),
        ({"environment": "rnd"}, True),
        ({"environment": "prod"}, False),
        ({"environment": "prod", "serve_auth": "off"}, True),
        ({"serve_auth": "on"}, False),
        ({"serve_auth": "on", "auth": "off"}, True),
        ({"host": "10.0.0.5"}, False),
        ({"host": "10.0.0.5", "serve_auth": "off"}, True),
    ],
)
def test_inference_asks_for_a_login_but_in_rnd_and_dev_on_loopback(
    settings: Settings, changes: dict[str, str], is_open: bool
):
    made = Settings(home=settings.home, **changes)
    assert made.serve_is_open == is_open
    if not is_open:
        with pytest.raises(PlatformError, match="karat up"):  # closed is closed, also where no login was made
            api_login(made)
    make_folders(settings)
    make_credentials(settings)
    login = api_login(made)
    assert (login is None) == is_open
    assert is_open or login.text == login_file(settings, "api").read_text()
