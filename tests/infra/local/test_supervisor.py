from __future__ import annotations

import socket
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from infra.local import supervisor as supervisor_module
from infra.local.environment import make_folders, platform_environment
from infra.local.platform_parts import parts
from infra.local.supervisor import Supervisor
from karat.settings import Settings


def read(settings: Settings) -> ServerOptions:
    """The configuration as supervisord reads it."""
    make_folders(settings)
    supervisor = Supervisor(settings)
    supervisor.config.write_text(supervisor.text())
    options = ServerOptions()
    options.realize(["-c", str(supervisor.config)])
    return options


def test_supervisord_reads_what_is_written(settings: Settings) -> None:
    options = read(settings)
    programs = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert set(programs) == set(parts(settings))
    for name, program in programs.items():
        assert program.command.endswith(f"-m infra.local.program {name}")
        assert program.environment == {"KARAT_PLATFORM_PART": name}
        assert program.stdout_logfile == str(settings.home / "logs" / f"{name}.log")
        assert program.autorestart
        assert program.killasgroup


def test_home_with_spaces_percent_signs_and_a_long_path(tmp_path: Path, settings: Settings) -> None:
    odd = settings.model_copy(update={"home": tmp_path / ("a%s b " + "x" * 120) / "%(here)s"})
    options = read(odd)
    assert options.logfile == str(odd.home / "logs" / "supervisord.log")
    socket = options.configroot.supervisord.server_configs[0]["file"]
    assert len(socket) < 104


def test_no_secret_is_in_the_configuration_or_the_environment(settings: Settings) -> None:
    make_folders(settings)
    (settings.home / "ray" / "token").write_text("a-secret-token")
    assert "a-secret-token" not in Supervisor(settings).text() + str(platform_environment(settings))


def test_moved_port_and_changed_environment_make_another_configuration(settings: Settings) -> None:
    for change in ({"mlflow_port": settings.mlflow_port + 1}, {"environment": "uat"}):
        assert Supervisor(settings.model_copy(update=change)).text() != Supervisor(settings).text()
    assert Supervisor(settings).text() == Supervisor(settings).text()


def test_nobody_answers_before_it_is_started(settings: Settings) -> None:
    supervisor = Supervisor(settings)
    assert (supervisor.pid(), supervisor.states(), supervisor.up_to_date()) == (None, {}, False)
    supervisor.stop(["ray"])
    supervisor.shutdown()


def test_one_that_hangs_counts_as_gone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stopped process answers: its socket takes the connection, and nothing comes."""
    monkeypatch.setattr(supervisor_module, "ANSWER_SECONDS", 0.2)
    make_folders(settings)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hanging:
        hanging.bind(str(Supervisor(settings).socket))
        hanging.listen()
        assert Supervisor(settings).pid() is None
        assert Supervisor(settings).states() == {}


def test_callers_environment_does_not_mislead(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RAY_ADDRESS": "elsewhere:1",
        "KARAT_SERVE_PORT": "1",
        "PREFECT_API_URL": "http://else",
    }.items():
        monkeypatch.setenv(name, value)
    environment = Supervisor(settings).environment()
    assert "RAY_ADDRESS" not in environment
    assert environment["KARAT_SERVE_PORT"] == str(settings.serve_port)
    assert environment["PREFECT_API_URL"] == settings.prefect_api_url
