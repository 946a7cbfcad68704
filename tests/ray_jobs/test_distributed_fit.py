"""Fits by several workers on the running Ray equal those of one process, also after a kill."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from infra.code import ROOT
from karat.kinds import facts
from karat.registry import Registry
from karat.training.distributed import FITS
from tests import warm
from tests.contracts.test_distributed_kinds import CLOSE, one_process
from tests.contracts.test_distributed_kinds import frame as features
from tests.ray_jobs.distributed_program import ROUNDS
from tests.shop import Shop

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("platform")]


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program printed."""
    folder: Path = tmp_path_factory.mktemp("fits")
    ended = warm.run(
        [sys.executable, "-m", "tests.ray_jobs.distributed_program", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_two_workers_fit_the_model_of_one_process(fits: dict[str, Any]) -> None:
    one = one_process("xgboost", "regression", n_estimators=ROUNDS, early_stopping_rounds=0)
    np.testing.assert_allclose(fits["whole"], one.predict(features("xgboost")), rtol=1e-5, atol=1e-5)
    for kind in ("lightgbm", "lstm"):
        one = one_process(kind, "regression")
        close = CLOSE[facts(kind).communicator]
        np.testing.assert_allclose(fits[kind], one.predict(features(kind)), rtol=close, atol=close)


def test_a_flow_fits_by_workers_and_promotes(shop: Shop) -> None:
    declared = (shop.folder / "models" / "next_week.yaml").read_text().replace("linear_regression", "xgboost")
    (shop.folder / "models" / "together.yaml").write_text(declared + "distributed: {backend: ray_train, workers: 2}\n")
    ended = shop.run("master_orchestrator", models=["together"])
    assert ended == {"outcomes": {"spend": "done", "together": "promoted"}}
    registry = Registry(shop.settings.mlflow_url)
    champion = registry.champion(shop.project.model_name("together"))
    assert champion is not None
    with registry.files(champion) as folder:
        assert {p.name for p in folder.iterdir()} >= {"estimator.ubj", "kind.json", "model.json"}
    assert not list((shop.lake.root / FITS).iterdir()), "its rows and checkpoints are removed"
    url = f"{shop.settings.serve_url}/v1/predict/{shop.name}.together"
    answer = httpx.post(url, json={"keys": {"customer_id": "c001"}}, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == 1


@pytest.mark.parametrize("fault", ["killed worker", "killed driver"])
def test_a_kill_changes_nothing(fits: dict[str, Any], fault: str) -> None:
    assert fits[fault] == fits["whole"]


def test_xgboost_ray_fits_the_same_model_on_xgboost_3(fits: dict[str, Any]) -> None:
    assert fits["xgboost-ray"] == fits["whole"]
    assert fits["killed actor"] == fits["whole"]


def test_a_refused_parameter_is_the_error_of_one_process(fits: dict[str, Any]) -> None:
    assert "XGBoost could not be trained" in fits["refused"]
    assert "sideways" in fits["refused"]
