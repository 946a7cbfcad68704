"""A fit on two raylets with little memory: `python -m tests.ray_jobs.raylets_program FOLDER`; the last line is JSON.

One fit is undisturbed. In the other a raylet is killed after the first checkpoint, and the fit ends on the one left.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from tests.karat.training.test_distributed import spec_of

from infra.code import ROOT
from karat.kinds import Model
from karat.training.fit_distributor import Distributor
from karat.training.fit_files import write_learned_rows
from karat.training.fit_placement import place_fit
from karat.training.sharded_fit import sharded_fit
from ray_jobs.fitter import RayFitter
from tests.contracts.test_distributed_kinds import frame, labels
from tests.ray_jobs.distributed_program import SECONDS, SLOW, when_checkpointed

#: Memory of a raylet: of its two CPUs each has less than twice what a shard of the rows takes.
MEMORY = 60_000


def fitted(folder: Path) -> tuple[list[float], int]:
    """Predictions, and the memory of a worker in bytes."""
    X, y = frame("xgboost"), labels("xgboost", "regression")
    model = Model("xgboost", "regression", SLOW)
    target = model.fit_encoder(X, y)
    assert target is not None
    fit = sharded_fit(model, write_learned_rows(folder / "rows", X, y, key="rows"), y.name, target)
    distributor = Distributor(RayFitter(SECONDS), folder)
    spec = spec_of(distributed={"backend": "ray_train", "workers": 2})
    plan = place_fit(spec, X.height, X.height * X.width, distributor.fitter.cluster).plan
    assert plan is not None
    distributor.run(fit, plan)
    return model.predict(X).tolist(), plan.memory


def main(folder: Path) -> None:
    """Run both fits and print what they predict."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    raylets = [cluster.add_node(num_cpus=2, memory=MEMORY, object_store_memory=100 << 20) for _ in range(2)]
    try:
        paths = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env=paths)
        cluster.wait_for_nodes()
        whole, memory = fitted(folder / "whole")
        when_checkpointed(folder / "killed", lambda: cluster.remove_node(raylets[1], allow_graceful=False))
        killed, _ = fitted(folder / "killed")
        print(json.dumps({"whole": whole, "killed": killed, "memory": memory, "nodes": len(cluster.list_all_nodes())}))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
