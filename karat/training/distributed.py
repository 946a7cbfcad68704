"""Where a model is fitted: in one process, or by several workers of a cluster."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec
from karat.errors import TrainingError
from karat.kinds import Model, facts
from karat.training.fit_files import write_learned_rows
from karat.training.preconditions import LabelledRows
from karat.training.sharded_fit import ShardedFit, load_fitted, sharded_fit

#: With ``auto``, several workers fit from so many values (rows x features x steps) on. Below, the start of the workers
#: takes longer than they save; docs/decisions/0157-distributed-fits.md has the measurements.
AUTO_VALUES = 100_000_000
#: Bytes of a value while one process fits: the frame, the encoded row, the library's own matrix.
_BYTES_IN_PROCESS = 24
#: A folder of an interrupted fit is removed after this time by the next fit.
_ABANDONED_SECONDS = 7 * 86_400.0
#: The library that starts the workers.
Backend = Literal["ray_train", "xgboost_ray"]
#: The folder of the lake that holds running fits. No catalog begins with a dot.
FITS = ".fits"


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


class DistributedFitter(Protocol):
    """Runs the workers of a fit on a cluster."""

    @property
    def cluster(self) -> Cluster:
        """What the cluster has."""
        ...

    def __call__(self, fit: ShardedFit, plan: FitPlan, folder: Path) -> Path:
        """Run ``fit_shard`` in every worker, again after a fault.

        Args:
            fit: What is fitted.
            plan: The workers.
            folder: Keeps the checkpoints; a fit that was interrupted goes on from there.

        Returns:
            The folder with what ``save_fitted`` wrote.

        Raises:
            TrainingError: The model can't be fitted, or workers died again and again.
        """
        ...


@dataclass(frozen=True)
class Distributor:
    """Fits one model by workers if its declaration and its rows ask for it.

    Attributes:
        fitter: Runs the workers.
        folder: Keeps the rows and checkpoints of this fit, on storage that every worker reads.
    """

    fitter: DistributedFitter
    folder: Path

    def fit(
        self,
        spec: ModelSpec,
        model: Model,
        learned: LabelledRows,
        *,
        order: pl.Series | None = None,
        weight: np.ndarray | None = None,
    ) -> bool:
        """Fit the model in place, and return True; False if one process is to fit it.

        Args:
            spec: The model's declaration.
            model: The unfitted model.
            learned: Features and label of the training rows.
            order: The time of each row.
            weight: How much each row counts, ``(rows,)``; all the same if None.

        Raises:
            TrainingError: The cluster is too small, or the model can't be fitted.
        """
        X, y = learned
        values = X.height * sum(_width(dtype) for dtype in X.dtypes)
        plan = plan_fit(spec, X.height, values, self.fitter.cluster)
        if plan is None or y is None:
            return False
        target = model.fit_encoder(X, y)
        assert target is not None
        files = write_learned_rows(self.folder / "rows", X, y, key=self.folder.name)
        times = None if order is None else order.to_physical().to_numpy()
        self.run(sharded_fit(model, files, y.name, target, order=times, weight=weight), plan)
        return True

    def run(self, fit: ShardedFit, plan: FitPlan) -> None:
        """Fit the model of a fit in place, by the workers of a plan."""
        load_fitted(fit.model, self.fitter(fit, plan, self.folder / "checkpoints"))

    def clean(self) -> None:
        """Remove the folder of this fit, and those of fits that were given up long ago."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for other in self.folder.parent.glob("*"):
            if time.time() - other.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


def plan_fit(spec: ModelSpec, rows: int, values: int, cluster: Cluster) -> FitPlan | None:
    """Choose the workers of a fit; None if one process is to fit the model.

    Args:
        spec: The model's declaration.
        rows: Number of training rows.
        values: Number of their values, rows times features (times steps, of sequences).
        cluster: What the cluster has.

    Raises:
        TrainingError: The declared workers are more than the cluster has CPUs or GPUs for.
    """
    wanted, known = spec.distributed, facts(spec.kind)
    if wanted.backend == "never" or not known.communicator:
        return None
    threads = int({**known.defaults, **spec.parameters}["n_jobs"])
    cores = threads if threads > 0 else cluster.node_cpus
    most = cluster.gpus if wanted.gpu else cluster.cpus // cores
    workers = wanted.workers or max(most, 1)
    if wanted.backend == "auto":
        in_memory = values * _BYTES_IN_PROCESS < cluster.memory_per_cpu * cluster.node_cpus
        if workers < 2 or (values < AUTO_VALUES and in_memory):
            return None
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
    return FitPlan(backend, max(min(workers, rows), 1), cores, wanted.gpu, cluster.memory_per_cpu * cores)


def _width(dtype: pl.DataType) -> int:
    return int(np.prod(dtype.shape)) if isinstance(dtype, pl.Array) else 1
