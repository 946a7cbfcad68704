"""Distributed fits by xgboost-ray, whose last release is of before XGBoost 2.1.

The library starts the actors, restarts those that die, and runs the tracker. Three parts of it are replaced: the
tracker, which XGBoost has rewritten since; the matrix, which is read from the fit's files in each actor; and what an
actor fits, which is the shard of the kind, as with Ray Train. Decision 0158 says which of both is the default, and why.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.util import get_node_ip_address
from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker
from xgboost_ray import RayParams, main
from xgboost_ray.main import RayXGBoostActor, RayXGBoostTrainingError, RayXGBoostTrainingStopped
from xgboost_ray.matrix import RayDMatrix

from karat.kinds import WriteFiles
from karat.training.fit_placement import FitPlan
from karat.training.sharded_fit import ShardedFit
from ray_jobs.fit_worker import MAX_FAILURES, Rhythm, forget_error, raise_error, run_worker, workers_died

_CHECKPOINT = "checkpoint_"
_POLL_SECONDS = 0.1


def fit_on_xgboost_ray(fit: ShardedFit, plan: FitPlan, folder: Path, seconds: float) -> Path:
    """Fit by xgboost-ray; a fit that was interrupted goes on from its latest checkpoint in ``folder``.

    Args:
        fit: What is fitted, of kind ``xgboost``.
        plan: The workers.
        folder: The run's folder on storage that all workers read.
        seconds: Seconds between two checkpoints.

    Returns:
        The folder of the fitted model.

    Raises:
        TrainingError: The model can't be fitted, or workers died more than ``MAX_FAILURES`` times.
    """
    forget_error(folder)
    logging.getLogger("ray").setLevel(logging.ERROR)
    vars(main).update(
        _start_rabit_tracker=_start_tracker,
        _stop_rabit_tracker=_stop_tracker,
        _RemoteRayXGBoostActor=ray.remote(ShardActor),
    )
    rows = ShardedRows(ray.put(fit), plan, folder, seconds)
    resources = RayParams(
        num_actors=plan.workers,
        cpus_per_actor=plan.cores,
        gpus_per_actor=int(plan.gpu),
        max_actor_restarts=MAX_FAILURES,
        verbose=False,
    )
    try:
        main.train({}, rows, ray_params=resources)
    except RuntimeError as error:  # xgboost-ray's own word for actors that died too often
        raise_error(folder)
        raise workers_died(fit, folder, error.__cause__ or error) from error
    raise_error(folder)
    return _latest(folder) or folder


def _start_tracker(workers: int) -> tuple[RabitTracker, dict[str, str | int]]:
    """Start XGBoost's own tracker in place of xgboost-ray's, which speaks an older protocol."""
    tracker = RabitTracker(n_workers=workers, host_ip=get_node_ip_address(), sortby="task")
    tracker.start()
    threading.Thread(target=tracker.wait_for, daemon=True).start()
    return tracker, tracker.worker_args()


def _stop_tracker(tracker: RabitTracker) -> None:
    """Leave the tracker to its thread: it ends with its workers, and freeing it breaks those that are left."""


class ShardedRows(RayDMatrix):  # type: ignore[misc]  # of a library without annotations
    """The rows of a fit, which each actor reads from the fit's files."""

    has_label = True

    def __init__(self, fit: ray.ObjectRef[ShardedFit], plan: FitPlan, folder: Path, seconds: float) -> None:
        self.fit, self.plan, self.folder, self.seconds = fit, plan, folder, seconds
        self.loaded = self.distributed = True
        self._uid = id(self)

    def assert_enough_shards_for_actors(self, num_actors: int) -> None:
        """Any number of actors can share the rows."""

    def assign_shards_to_actors(self, actors: Any) -> bool:
        """Each actor takes the shard of its rank."""
        return False


class ShardActor(RayXGBoostActor):  # type: ignore[misc]
    """An actor of xgboost-ray that fits a shard."""

    def load_data(self, data: ShardedRows) -> None:
        """Nothing: rows are read when the workers' network stands, since they agree on the bins."""

    def train(self, rabit_args: Any, return_bst: bool, params: Any, dtrain: ShardedRows, evals: Any, *_: Any) -> Any:
        """Fit the shard of this actor's rank, in a thread, so that the driver can stop it."""
        ended: list[Exception | None] = []

        def fit() -> None:
            try:
                with collective.CommunicatorContext(**rabit_args, dmlc_task_id=f"{self.rank:08}"):
                    checkpoints = FolderCheckpoints(dtrain.folder, self.rank, dtrain.seconds)
                    run_worker(ray.get(dtrain.fit), dtrain.plan, dtrain.folder, checkpoints, rank=self.rank)
                ended.append(None)
            except Exception as error:  # handed to the actor's own thread
                ended.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        while thread.is_alive():
            if self._stop_event.is_set():
                raise RayXGBoostTrainingStopped("another actor died")
            thread.join(_POLL_SECONDS)
        error = ended[0]
        if isinstance(error, XGBoostError):
            raise RayXGBoostTrainingError("XGBoost's network broke") from error
        if error is not None:
            raise error
        return {"bst": None, "evals_result": {}, "train_n": 0}


class FolderCheckpoints:
    """Checkpoints in a folder (``karat.kinds.Checkpoints``), for workers in XGBoost's network."""

    def __init__(self, folder: Path, rank: int, seconds: float) -> None:
        self._folder, self._rank = folder, rank
        self._rhythm = Rhythm(seconds, lambda value: collective.broadcast(value, 0))

    def latest(self) -> Path | None:
        """Return the folder of the latest checkpoint, which the first worker has chosen for all."""
        found: str = collective.broadcast(str(_latest(self._folder) or ""), 0)
        return Path(found) if found else None

    def due(self, iteration: int) -> bool:
        """Whether to write a checkpoint after this round."""
        return self._rhythm.due()

    def save(self, iteration: int, write: WriteFiles) -> None:
        """Keep the files of the first worker, and remove older ones."""
        if self._rank:
            return
        staging = self._folder / f".staging-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        write(staging)
        older = list(self._folder.glob(f"{_CHECKPOINT}*"))
        staging.rename(self._folder / f"{_CHECKPOINT}{time.time_ns():020}")
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)


def _latest(folder: Path) -> Path | None:
    return max(folder.glob(f"{_CHECKPOINT}*"), default=None)
