"""Two raylets with separate memory fit more rows than a worker may hold; if one is killed, the other ends the fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra.code import ROOT
from tests.contracts.test_distributed_kinds import frame, labels
from tests.ray_jobs.distributed_program import SLOW

pytestmark = pytest.mark.nightly


def test_a_fit_larger_than_a_worker_ends_on_the_raylet_that_is_left(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.ray_jobs.raylets_program", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    X = frame("xgboost")
    # Two bytes a value, of which a worker may take half of its memory: each shard stays on disk.
    assert X.height // 2 * X.width * 2 > found["memory"] // 2
    assert found["nodes"] == 2
    assert found["killed"] == found["whole"]
    from karat.kinds import Model

    one = Model("xgboost", "regression", SLOW).fit(X, labels("xgboost", "regression"))
    np.testing.assert_allclose(found["whole"], one.predict(X), rtol=1e-5, atol=1e-5)
