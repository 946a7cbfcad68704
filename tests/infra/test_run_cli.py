"""`karat run` and `karat runs`: what is wrong is said before anything starts, and why a run failed at its end.

``tests/test_csv_guide.py`` follows a run that succeeds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.code import ROOT
from infra.prefect_api import Prefect
from karat.errors import NotFound, ServiceDown
from karat.settings import Settings
from tests import warm

SHOP = ROOT / "tests" / "shop_project"


@pytest.fixture
def shop_alone(settings: Settings, tmp_path: Path) -> Settings:
    """No platform runs; the projects folder holds the shop."""
    shutil.copytree(SHOP, tmp_path / "projects" / "shop")
    return settings.model_copy(update={"projects": tmp_path / "projects"})


def karat(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell has it, with no variable but the settings: it finds the platform by them."""
    return warm.run(
        [sys.executable, "-m", "infra.cli.app", *arguments],
        cwd=ROOT,
        env=os.environ | settings.as_environment() | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["shopp"], "UnknownProject", "Did you mean 'shop'?"),
        (["shop", "--models", "next_weak"], "UnknownModel", "Did you mean 'next_week'?"),
        (["shop", "--models", "next_week, domed"], "UnknownModel", "Did you mean 'doomed'?"),
        (["shop", "--domain", "costs"], "UnknownModel", "has no domain 'costs'"),
    ],
)
def test_a_wrong_name_is_a_wrong_call_with_the_nearest_one(shop_alone: Settings, arguments, error: str, hint: str):
    done = karat(shop_alone, "run", *arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert hint in done.stderr
    assert not shop_alone.home.exists()


def test_a_broken_declaration_is_shown_before_services_are_asked(shop_alone: Settings):
    (shop_alone.projects / "shop" / "models" / "next_week.yaml").write_text("description: x\ntask: regresion\n")
    done = karat(shop_alone, "run", "shop")
    assert done.returncode == 2
    assert "models/next_week.yaml:2" in done.stderr


def test_a_label_that_gold_does_not_have_is_refused_before_services_are_asked(shop_alone: Settings):
    path = shop_alone.projects / "shop" / "models" / "next_week.yaml"
    path.write_text(path.read_text().replace("sum(amount)", "sum(ammount)"))
    done = karat(shop_alone, "run", "shop", "--models", "next_week")
    assert done.returncode == 2
    assert "shop/models/next_week.yaml: label: " in done.stderr
    assert "Did you mean 'amount'?" in done.stderr
    # Another model does not care.
    assert "ServiceDown" in karat(shop_alone, "run", "shop", "--models", "doomed").stderr


def test_without_the_platform_the_error_says_how_to_start_it(shop_alone: Settings):
    for command in (["run", "shop"], ["runs"]):
        done = karat(shop_alone, *command)
        assert done.returncode == 1
        assert "ServiceDown" in done.stderr
        assert "karat up" in done.stderr


@pytest.mark.platform
def test_an_unknown_deployment_names_the_nearest(platform: Settings):
    with pytest.raises(NotFound, match="master-orchestrator/custmers") as raised:
        Prefect(platform).start("master-orchestrator", "custmers", "x", {})
    assert "Did you mean 'customers'?" in raised.value.remedy


def test_a_server_that_is_not_there_is_a_clear_error(settings: Settings):
    with pytest.raises(ServiceDown, match="does not answer"):
        Prefect(settings).recent(1)


@pytest.mark.platform
def test_a_run_that_fails_ends_with_1_the_reason_and_where_its_log_is(platform: Settings, tmp_path: Path):
    """The deployment is asked for what it can't do: a model is there for the command, but not for the worker."""
    projects = tmp_path / "projects"
    shutil.copytree(platform.projects / "customers", projects / "customers")
    churn = next((projects / "customers" / "models").rglob("churn.yaml"))
    (churn.parent / "churn_again.yaml").write_text(churn.read_text())
    mine = platform.model_copy(update={"projects": projects})
    done = karat(mine, "run", "customers", "--models", "churn_again")
    assert done.returncode == 1
    assert "UnknownModel" in done.stderr
    assert "log: " + platform.prefect_url in done.stderr
