"""Computes the benchmark's feature table on a Ray of two nodes, each a raylet of its own on this machine.

`python -m tests.ray_jobs.spread FOLDER`: prints one line of JSON for each number of shards: the shards' nodes, and how
much their workers' memory grew (MiB); then what became of three items of which one kills its worker.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from benchmarks.events import project_in, settings_in, write_events
from karat.features import compute_table
from karat.lake import Lake
from ray_jobs.executor import RayExecutor

EVENTS, ENTITIES = 1_500_000, 20_000
ROOT = Path(__file__).parents[2]


def peak() -> float:
    """MiB: the largest that this process has ever been."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def watched(function: Any, item: Any) -> Any:
    before = peak()
    return function(item), ray.get_runtime_context().get_node_id(), os.getpid(), before, peak()


class Watching(RayExecutor):
    """Remembers where each item ran, and its worker's memory before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def map(self, function: Any, items: Any) -> Iterator[tuple[int, Any]]:
        for index, (result, node, pid, before, after) in super().map(partial(watched, function), items):
            self.seen.append({"node": node, "pid": pid, "before": before, "after": after})
            yield index, result


def dies_of(number: int) -> str:
    """As one that the kernel kills for its memory."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done {number}"


def main() -> None:
    folder = Path(sys.argv[1])
    write_events(folder, EVENTS, ENTITIES)
    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    lake = Lake(settings_in(folder).lake, "dev")
    for shards in (8, 2):  # the smaller shards first: a worker's peak never goes down
        executor = Watching()
        result = compute_table(project_in(folder), "wide", lake, executor=executor, full=True, shards=shards)
        print(json.dumps({"shards": shards, "rows": result.rows, "seen": executor.seen}), flush=True)
    lost = RayExecutor().map(dies_of, (1, 2, 3), lost=lambda item, error: f"lost {item}: {type(error).__name__}")
    answers = dict(lost)
    print(json.dumps({"answers": [answers[i] for i in range(3)]}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
