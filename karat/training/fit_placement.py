"""Placement of a fit: in one process, or on several workers of a cluster, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from karat.declare.models import ModelSpec
from karat.errors import TrainingError
from karat.kinds import facts

#: With ``auto``, several workers fit from so many values (rows x features x steps) on. Below, the start of the workers
#: takes longer than they save; docs/decisions/0177-when-workers-are-faster.md has the measurements.
AUTO_VALUES = 50_000_000
#: Bytes of a value while one process fits: the frame, the encoded row, the library's own matrix.
_BYTES_IN_PROCESS = 24
#: The library that starts the workers.
Backend = Literal["ray_train", "xgboost_ray"]
_LIBRARIES: dict[Backend, str] = {"ray_train": "Ray Train", "xgboost_ray": "xgboost-ray"}


@dataclass(frozen=True)
class Cluster:
    """What a cluster has for a fit.

    Attributes:
        cpus: CPUs of all nodes.
        gpus: GPUs of all nodes.
        node_cpus: CPUs of the largest node.
        memory_per_cpu: Bytes of memory per CPU, on the node that has least.
    """

    cpus: int
    gpus: int
    node_cpus: int
    memory_per_cpu: int


@dataclass(frozen=True)
class FitPlan:
    """Which workers fit a model.

    Attributes:
        backend: The library that starts them.
        workers: Their number.
        cores: CPUs of each.
        gpu: Whether each has a GPU.
        memory: Bytes of memory of each.
    """

    backend: Backend
    workers: int
    cores: int
    gpu: bool
    memory: int


@dataclass(frozen=True)
class FitPlacement:
    """Where a model is fitted, and why there.

    Attributes:
        plan: The workers; None for one process.
        reason: Why, in words.
        rows: Number of training rows.
        streamed: Whether the workers read the training set's own files, so that no process has held all rows.
    """

    plan: FitPlan | None
    reason: str
    rows: int
    streamed: bool = False

    def __str__(self) -> str:
        """One line for the model card."""
        if self.plan is None:
            return f"Fitted in one process: {self.reason}."
        each = f"{self.plan.cores} CPU{'s' if self.plan.cores > 1 else ''}{' and a GPU' if self.plan.gpu else ''}"
        read = ", which streamed the training set's files" if self.streamed else ""
        return (
            f"Fitted by {self.plan.workers} workers of {each} each ({_LIBRARIES[self.plan.backend]}){read}: "
            f"{self.reason}."
        )


def place_fit(spec: ModelSpec, rows: int, values: int, cluster: Cluster) -> FitPlacement:
    """Choose where a model is fitted.

    Args:
        spec: The model's declaration.
        rows: Number of training rows.
        values: Number of their values, rows times features (times steps, of sequences).
        cluster: What the cluster has.

    Raises:
        TrainingError: The declared workers are more than the cluster has CPUs or GPUs for.
    """
    wanted, known = spec.distributed, facts(spec.kind)
    if wanted.backend == "never":
        return FitPlacement(None, "the model declares `distributed: never`", rows)
    if not known.communicator:
        return FitPlacement(None, f"the kind {spec.kind} has no network between workers", rows)
    threads = int({**known.defaults, **spec.parameters}["n_jobs"])
    cores = threads if threads > 0 else cluster.node_cpus
    most = cluster.gpus if wanted.gpu else cluster.cpus // cores
    workers = wanted.workers or max(most, 1)
    reason = f"the model declares `distributed: {wanted.backend}`"
    if wanted.backend == "auto":
        size = f"{rows:,} rows x {values // max(rows, 1):,} values"
        memory = cluster.memory_per_cpu * cluster.node_cpus
        in_memory = values * _BYTES_IN_PROCESS < memory
        if workers < 2:
            return FitPlacement(None, f"the cluster's {cluster.cpus} CPUs have no room for a second worker", rows)
        if values < AUTO_VALUES and in_memory:
            return FitPlacement(None, f"{size} are fewer than the {AUTO_VALUES:,} from which workers are faster", rows)
        reason = f"{size} are at least the {AUTO_VALUES:,} from which workers are faster (`auto`)"
        if values < AUTO_VALUES:
            reason = f"{size} do not fit in the {memory / 2**30:.3g} GiB of one node (`auto`)"
        reason += f", on a cluster of {cluster.cpus} CPUs"
    if workers > most:
        what = f"{workers} GPUs" if wanted.gpu else f"{workers * cores} CPUs"
        has = f"{cluster.gpus} GPUs" if wanted.gpu else f"{cluster.cpus} CPUs"
        raise TrainingError(
            f"model {spec.name!r} wants {workers} workers, which need {what}, and the cluster has {has}",
            where=f"model {spec.name!r}, distributed",
            remedy="write fewer 'workers', a smaller 'n_jobs' under 'parameters', or enlarge the cluster",
        )
    backend: Backend = "ray_train" if wanted.backend == "auto" else wanted.backend
    # A worker without rows would end before the others.
    plan = FitPlan(backend, max(min(workers, rows), 1), cores, wanted.gpu, cluster.memory_per_cpu * cores)
    return FitPlacement(plan, reason, rows)
