"""Settings are read from the environment and make nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from karat.errors import WrongCall
from karat.settings import Settings


def test_each_port_and_the_online_kind_can_be_moved(monkeypatch):
    monkeypatch.setenv("KARAT_SERVE_PORT", "18000")
    monkeypatch.setenv("KARAT_ONLINE__KIND", "redis")
    settings = Settings()
    assert settings.serve_url == "http://127.0.0.1:18000"
    assert settings.online.kind == "redis"


def test_an_unknown_environment_is_refused(monkeypatch):
    monkeypatch.setenv("KARAT_ENVIRONMENT", "production")
    with pytest.raises(WrongCall, match="KARAT_ENVIRONMENT"):
        Settings()


def test_reading_makes_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KARAT_HOME", str(tmp_path / "state"))
    assert Settings().lake == tmp_path / "state" / "lake"
    assert not (tmp_path / "state").exists()


def test_a_child_process_sees_the_same_settings(monkeypatch, tmp_path):
    settings = Settings(home=tmp_path, serve_port=12345, ray_cpus=1)
    code = "from karat.settings import Settings; print(Settings().model_dump_json())"
    repo = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", code],
        env=settings.as_environment() | {"PATH": "", "PYTHONPATH": str(repo)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert Settings.model_validate_json(out) == settings
