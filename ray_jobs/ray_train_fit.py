"""Distributed fits by Ray Train, which runs the workers and keeps their checkpoints in the lake's storage.

Each family of communicators has a trainer of Ray Train that sets its network up: XGBoost's tracker, LightGBM's list of
machines, torch's process group.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import train
from ray.train.collective import broadcast_from_rank_zero

from karat.kinds import WriteFiles, facts
from karat.training.fit_placement import FitPlan
from karat.training.sharded_fit import ShardedFit
from ray_jobs.fit_worker import MAX_FAILURES, Rhythm, forget_error, raise_error, run_worker, workers_died

#: Ray Train polls its workers at this interval, and every report waits for a poll.
_SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_METRICS_ENABLED": "0"}


def fit_on_ray_train(fit: ShardedFit, plan: FitPlan, folder: Path, seconds: float) -> Path:
    """Fit by Ray Train; a fit that was interrupted goes on from its latest checkpoint in ``folder``.

    Args:
        fit: What is fitted.
        plan: The workers.
        folder: The run's folder on storage that all workers read.
        seconds: Seconds between two checkpoints.

    Returns:
        The folder of the fitted model.

    Raises:
        TrainingError: The model can't be fitted, or workers died more than ``MAX_FAILURES`` times.
    """
    forget_error(folder)
    os.environ.update(_SETTINGS)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    trainer = _trainer_of(facts(fit.model.kind_name).communicator)(
        train_loop_per_worker=_work,
        train_loop_config={"fit": ray.put(fit), "plan": plan, "folder": str(folder), "seconds": seconds},
        scaling_config=train.ScalingConfig(
            num_workers=plan.workers,
            use_gpu=plan.gpu,
            resources_per_worker={"CPU": plan.cores} | ({"GPU": 1} if plan.gpu else {}),
            placement_strategy="SPREAD",  # the memory of all nodes is what a large fit needs
        ),
        run_config=train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            failure_config=train.FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        result = trainer.fit()
    except train.TrainingFailedError as error:
        raise_error(folder)
        raise workers_died(fit, folder, error) from error
    raise_error(folder)
    return folder if result.checkpoint is None else Path(result.checkpoint.path)


def _trainer_of(communicator: str) -> Any:
    """The trainer of a family of communicators; each imports its library."""
    if communicator == "xgboost":
        from ray.train.xgboost import XGBoostTrainer

        return XGBoostTrainer
    if communicator == "lightgbm":
        from ray.train.lightgbm import LightGBMTrainer

        return LightGBMTrainer
    from ray.train.torch import TorchTrainer

    return TorchTrainer


def _work(config: dict[str, Any]) -> None:
    """What Ray Train runs in every worker, in a thread of it."""
    _draw_apart()
    fit: ShardedFit = ray.get(config["fit"])
    network: dict[str, str | int] = {}
    if facts(fit.model.kind_name).communicator == "lightgbm":
        from ray.train.lightgbm import get_network_params

        network = get_network_params()
    rank = train.get_context().get_world_rank()
    checkpoints = TrainCheckpoints(rank, config["seconds"])
    run_worker(fit, config["plan"], Path(config["folder"]), checkpoints, rank=rank, network=network)


def _draw_apart() -> None:
    """Take this thread's random ids from a place of their own.

    Ray's library seeds the generator of each thread from a pool that forks of one process share. Two workers that are
    such forks (``infra.local.fork_server``) would call an actor with the same task id, and the actor would die.
    """
    for _ in range(int.from_bytes(os.urandom(2), "big")):
        ray.ObjectRef.from_random()


class TrainCheckpoints:
    """Checkpoints of a Ray Train run (``karat.kinds.Checkpoints``)."""

    def __init__(self, rank: int, seconds: float) -> None:
        self._rank = rank
        self._rhythm = Rhythm(seconds, broadcast_from_rank_zero)

    def latest(self) -> Path | None:
        """Return the folder of the latest checkpoint; None at the start."""
        found = train.get_checkpoint()
        return None if found is None else Path(found.path)

    def due(self, iteration: int) -> bool:
        """Whether to write a checkpoint after this round."""
        return self._rhythm.due()

    def save(self, iteration: int, write: WriteFiles) -> None:
        """Keep a checkpoint in the run's storage: the files of the first worker."""
        if self._rank:
            train.report({"iteration": iteration})
            return
        with tempfile.TemporaryDirectory(prefix="karat-checkpoint-") as folder:
            write(Path(folder))
            train.report({"iteration": iteration}, checkpoint=train.Checkpoint.from_directory(folder))
