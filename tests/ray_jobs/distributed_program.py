"""Distributed fits on the running Ray: `python -m tests.ray_jobs.distributed_program FOLDER CASE ...`, of ``CASES``.

The last line is JSON: case -> predictions, or the message of an error. Kills come after the first checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray.util.state import list_actors

from karat.errors import TrainingError
from karat.kinds import Model
from karat.settings import Settings
from karat.training.fit_distributor import Distributor
from karat.training.fit_files import write_learned_rows
from karat.training.fit_placement import Backend, FitPlan
from karat.training.sharded_fit import ShardedFit, sharded_fit
from ray_jobs.fitter import RayFitter
from tests.contracts.test_distributed_kinds import EXACT, frame, labels

#: Enough rounds for several checkpoints after the first, each of which waits for a poll of Ray Train.
ROUNDS, SECONDS = 400, 0.2
SLOW: dict[str, object] = {"n_estimators": ROUNDS, "early_stopping_rounds": 0}


def fit_of(kind: str, folder: Path, **more: object) -> tuple[ShardedFit, Distributor]:
    """A fit of few rows whose files and checkpoints are in ``folder``."""
    X, y = frame(kind), labels(kind, "regression")
    model = Model(kind, "regression", EXACT[kind] | more)
    target = model.fit_encoder(X, y)
    assert target is not None
    rows = write_learned_rows(folder / "rows", X, y, key="rows")
    return sharded_fit(model, rows, y.name, target), Distributor(RayFitter(SECONDS), folder)


def fitted(kind: str, folder: Path, backend: Backend = "ray_train", **more: object) -> list[float]:
    """Predictions of the model that two workers have fitted."""
    fit, distributor = fit_of(kind, folder, **more)
    distributor.run(fit, FitPlan(backend, 2, 1, False, 1 << 30))
    found: list[float] = fit.model.predict(frame(kind)).tolist()
    return found


def when_checkpointed(folder: Path, act: Callable[[], None]) -> None:
    """Act in a thread as soon as a checkpoint lies in ``folder``."""

    def wait() -> None:
        until = time.monotonic() + 120
        while not any((folder / "checkpoints").glob("checkpoint_*/estimator.ubj")):
            assert time.monotonic() < until, "no checkpoint"
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


def kill_worker(name: str) -> None:
    """Kill the process of one actor."""
    alive = [a for a in list_actors(limit=1000) if a.state == "ALIVE" and name in str(a.class_name)]
    os.kill(int(alive[-1].pid), signal.SIGKILL)


def killed_driver(folder: Path) -> list[float]:
    """Predictions of a fit whose first driver was killed, and how far it had come."""
    program = [sys.executable, "-m", "tests.ray_jobs.distributed_program", str(folder), "drive"]
    driver = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    when_checkpointed(folder, driver.kill)
    assert driver.wait(180) == -signal.SIGKILL, "the driver ended by itself"
    time.sleep(1)
    return fitted("xgboost", folder, **SLOW)


def killed_worker(folder: Path, backend: Backend, name: str) -> list[float]:
    """Predictions of a fit one of whose workers was killed."""
    when_checkpointed(folder, lambda: kill_worker(name))
    return fitted("xgboost", folder, backend, **SLOW)


def refused(folder: Path) -> str:
    """The error of a parameter that XGBoost does not know."""
    try:
        fitted("xgboost", folder, grow_policy="sideways")
    except TrainingError as error:
        return str(error)
    return ""


CASES: dict[str, Callable[[Path], object]] = {
    "killed worker": lambda folder: killed_worker(folder, "ray_train", "RayTrainWorker"),
    "killed driver": killed_driver,
    "xgboost-ray": lambda folder: fitted("xgboost", folder, "xgboost_ray", **SLOW),
    "killed actor": lambda folder: killed_worker(folder, "xgboost_ray", "ShardActor"),
    "lightgbm": lambda folder: fitted("lightgbm", folder),
    "lstm": lambda folder: fitted("lstm", folder),
    "refused": refused,
}


if __name__ == "__main__":
    ray.init(address=Settings().ray_address, log_to_driver=False, logging_level="ERROR")
    given = Path(sys.argv[1])
    if sys.argv[2:] == ["drive"]:
        fitted("xgboost", given, **SLOW)
    else:
        print(json.dumps({case: CASES[case](given / case.replace(" ", "_")) for case in sys.argv[2:]}))
