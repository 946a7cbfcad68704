from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

from infra.cli.app import COMMANDS

HEAVY = ("ray", "prefect", "mlflow", "polars", "pyarrow", "duckdb", "sklearn", "deltalake")


def karat(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.cli.app", *arguments],
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_names_every_command() -> None:
    done = karat("--help")
    assert done.returncode == 0
    for name, entry in COMMANDS.items():
        assert name in done.stdout
        assert entry.summary in done.stdout


def test_version_is_the_packages() -> None:
    assert karat("--version").stdout == f"karat {version('karat')}\n"


def test_help_loads_nothing_heavy() -> None:
    """What makes the command line slow is what it imports."""
    code = (
        "import sys; from infra.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    out = subprocess.check_output([sys.executable, "-c", code, *HEAVY], text=True)
    assert out.strip().endswith("[]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_resolves_and_is_documented(name: str) -> None:
    module, function = COMMANDS[name].target.split(":")
    assert getattr(import_module(module), function).__doc__


@pytest.mark.parametrize("name", ["up", "down", "status"])
def test_a_commands_own_help(name: str) -> None:
    done = karat(name, "--help")
    assert done.returncode == 0
    assert f"karat {name}" in done.stdout


def test_wrong_command_names_the_nearest_and_exits_with_2() -> None:
    done = karat("stauts")
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


def test_wrong_option_exits_with_2() -> None:
    assert karat("up", "--no-such-option").returncode == 2
    assert karat("status", "too", "many").returncode == 2


def test_no_command_shows_the_help() -> None:
    done = karat()
    assert done.returncode == 2
    assert "status" in done.stdout + done.stderr


@pytest.mark.parametrize("given", [["x" * 50_000], ["run", "y" * 50_000], ["models", "--z" + "z" * 50_000]])
def test_a_wrong_call_echoes_no_more_than_a_line(given: list[str]) -> None:
    done = karat(*given)
    assert done.returncode == 2
    assert len(done.stdout + done.stderr) < 3000
    assert given[-1][-10:] in done.stderr
