"""Search on Ray Tune: it repeats, equals the fits in one process, survives a killed worker, and goes on."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from infra.code import ROOT
from tests import warm
from tests.ray_jobs.tune_program import KNOWN

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("platform")]


@pytest.fixture(scope="module")
def searches() -> dict[str, Any]:
    """What the program printed."""
    ended = warm.run(
        [sys.executable, "-m", "tests.ray_jobs.tune_program"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_the_values_are_those_of_the_same_fits_in_one_process(searches: dict[str, Any]) -> None:
    assert [t["value"] for t in searches["whole"]] == searches["in_process"]
    assert [t["number"] for t in searches["whole"]] == list(range(12))


def test_trials_that_fall_behind_are_stopped_and_failing_ones_recorded(searches: dict[str, Any]) -> None:
    states = {t["state"] for t in searches["whole"]}
    assert states == {"finished", "stopped", "failed"}
    for trial in searches["whole"]:
        rounds = [at for at, _ in trial["losses"]]
        assert rounds == [16, 32, 64][: len(rounds)]
        told = "min_split_loss" in trial["error"]
        assert told is (trial["state"] == "failed") is (trial["parameters"]["gamma"] < 0)


def test_a_killed_worker_changes_nothing(searches: dict[str, Any]) -> None:
    assert searches["killed"] == searches["whole"]


def test_known_trials_are_not_run_again(searches: dict[str, Any]) -> None:
    assert searches["resumed"] == searches["whole"]
    assert searches["new"] == list(range(KNOWN, 12))
