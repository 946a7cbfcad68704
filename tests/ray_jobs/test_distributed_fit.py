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
from tests.ray_jobs.distributed_program import SLOW
from tests.shop import Shop

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("platform")]


def run(folder: Path, *cases: str) -> dict[str, Any]:
    """What the program printed."""
    ended = warm.run(
        [sys.executable, "-m", "tests.ray_jobs.distributed_program", folder, *cases],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def assert_model_of_one_process(predictions: list[float], kind: str, **parameters: object) -> None:
    one = one_process(kind, "regression", **parameters)
    close = CLOSE[facts(kind).communicator]
    np.testing.assert_allclose(predictions, one.predict(features(kind)), rtol=close, atol=close)


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    assert_model_of_one_process(run(tmp_path, "killed worker")["killed worker"], "xgboost", **SLOW)


def test_a_flow_fits_by_workers_and_promotes(shop: Shop) -> None:
    declared = (shop.folder / "models" / "next_week.yaml").read_text().replace("linear_regression", "xgboost")
    (shop.folder / "models" / "together.yaml").write_text(declared + "distributed: {backend: ray_train, workers: 2}\n")
    ended = shop.run("master_orchestrator", models=["together"])
    assert ended.get("outcomes", {}).keys() == {"spend", "together"}, ended
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


@pytest.mark.faults
def test_a_killed_driver_changes_nothing(tmp_path: Path) -> None:
    assert_model_of_one_process(run(tmp_path, "killed driver")["killed driver"], "xgboost", **SLOW)


@pytest.mark.faults
def test_xgboost_ray_fits_the_same_model_on_xgboost_3(tmp_path: Path) -> None:
    found = run(tmp_path, "xgboost-ray", "killed actor")
    assert found["xgboost-ray"] == found["killed actor"]
    assert_model_of_one_process(found["xgboost-ray"], "xgboost", **SLOW)


@pytest.mark.faults
def test_the_networks_of_the_other_kinds(tmp_path: Path) -> None:
    found = run(tmp_path, "lightgbm", "lstm", "refused")
    for kind in ("lightgbm", "lstm"):
        assert_model_of_one_process(found[kind], kind)
    assert "XGBoost could not be trained" in found["refused"]
    assert "sideways" in found["refused"]
