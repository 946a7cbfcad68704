"""Distributed fits on the Ray cluster: the backend that a plan names runs their workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ray

from karat.training.fit_placement import Cluster, FitPlan
from karat.training.sharded_fit import ShardedFit

#: Seconds between two checkpoints; what a killed worker costs at most.
CHECKPOINT_SECONDS = 60.0
#: Memory per CPU of a node that does not say how much it has.
_UNKNOWN_MEMORY = 2 << 30


@dataclass(frozen=True)
class RayFitter:
    """Runs distributed fits on Ray (``karat.training.fit_distributor.DistributedFitter``).

    Attributes:
        checkpoint_seconds: Seconds between two checkpoints.
    """

    checkpoint_seconds: float = CHECKPOINT_SECONDS

    @property
    def cluster(self) -> Cluster:
        """What the cluster has."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        with_cpus = [n for n in nodes if n.get("CPU", 0) >= 1]
        memory = [n.get("memory", _UNKNOWN_MEMORY * n["CPU"]) / n["CPU"] for n in with_cpus]
        return Cluster(
            cpus=int(sum(n["CPU"] for n in with_cpus)),
            gpus=int(sum(n.get("GPU", 0) for n in nodes)),
            node_cpus=int(max((n["CPU"] for n in with_cpus), default=1)),
            memory_per_cpu=int(min(memory, default=_UNKNOWN_MEMORY)),
        )

    def __call__(self, fit: ShardedFit, plan: FitPlan, folder: Path) -> Path:
        """Run the workers of a fit to its end, and return the folder of the fitted model."""
        folder.mkdir(parents=True, exist_ok=True)
        if plan.backend == "xgboost_ray":
            from ray_jobs.xgboost_ray_fit import fit_on_xgboost_ray  # a second to import, as Ray Train

            return fit_on_xgboost_ray(fit, plan, folder, self.checkpoint_seconds)
        from ray_jobs.ray_train_fit import fit_on_ray_train

        return fit_on_ray_train(fit, plan, folder, self.checkpoint_seconds)
