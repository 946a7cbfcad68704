"""Fits by several workers on the running Ray equal those of one process, also after a kill.

``tests/flows/test_master.py`` has such a model in a flow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.code import ROOT
from karat.kinds import facts
from tests import warm
from tests.contracts.test_distributed_kinds import CLOSE, one_process
from tests.contracts.test_distributed_kinds import frame as features
from tests.ray_jobs.distributed_program import SLOW

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("platform")]


def run(folder: Path, *cases: str, program: str = "distributed_program") -> dict[str, Any]:
    """What the program printed."""
    ended = warm.run(
        [sys.executable, "-m", f"tests.ray_jobs.{program}", folder, *cases],
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


@pytest.mark.faults
def test_ray_builds_a_training_set_in_files_and_its_workers_stream_it(tmp_path: Path) -> None:
    found = run(tmp_path, program="stream_program")
    assert found["blocks"] > 3
    assert found["digests"][0] == found["digests"][1]
    assert found["rows"][0] == found["rows"][1]
    alone, streamed = found["metrics"]
    assert alone.keys() == streamed.keys()
    np.testing.assert_allclose(list(streamed.values()), list(alone.values()), rtol=1e-5)
    assert found["placement"].startswith(
        "Fitted by 2 workers of 1 CPU each (Ray Train), which streamed the training set's files"
    )
