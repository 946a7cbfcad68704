"""Feature computation over several nodes: each takes shards, and a worker's memory is that of its shard."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from infra.code import ROOT

#: A Ray of its own, of two nodes; the platform's has one.
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What the program printed."""
    home: Path = tmp_path_factory.mktemp("spread")
    done = subprocess.run(
        [sys.executable, "-m", "tests.ray_jobs.spread", str(home)],
        cwd=ROOT,
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def runs(lines: list[dict]) -> dict[int, dict]:
    """Number of shards -> what was seen."""
    return {run["shards"]: run for run in lines if "shards" in run}


def test_an_item_whose_worker_dies_each_time_leaves_the_others(lines: list[dict]):
    (answers,) = (line["answers"] for line in lines if "answers" in line)
    assert answers == ["done 1", "lost 2: WorkerCrashedError", "done 3"]


def test_every_node_takes_shards_and_the_rows_are_the_same(runs: dict[int, dict]):
    assert runs[8]["rows"] == runs[2]["rows"] > 0
    assert [len(run["seen"]) for run in runs.values()] == [8, 2]
    for run in runs.values():
        assert len({shard["node"] for shard in run["seen"]}) == 2


def test_memory_is_bounded_by_the_shard_not_by_the_table(runs: dict[int, dict]):
    """A quarter of the shard takes clearly less; a worker's second shard takes hardly more than its first."""

    def grown(run: dict) -> float:
        first = {shard["pid"]: shard["before"] for shard in reversed(run["seen"])}
        return max(shard["after"] - first[shard["pid"]] for shard in run["seen"])

    start = min(shard["before"] for shard in runs[8]["seen"])
    small = max(shard["after"] for shard in runs[8]["seen"]) - start
    large = max(shard["after"] for shard in runs[2]["seen"]) - start
    assert small < 0.75 * large
    assert grown(runs[2]) > 0.25 * large
