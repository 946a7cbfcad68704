"""What every worker of a distributed fit does, whoever started it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from karat.errors import KaratError, TrainingError
from karat.kinds import Checkpoints, WorkerPlace
from karat.training.fit_placement import FitPlan
from karat.training.sharded_fit import ShardedFit, fit_shard

#: How often the workers of a fit may die.
MAX_FAILURES = 3
#: The rounds that are timed before the workers agree how many rounds there are between two checkpoints.
_TIMED_ROUNDS = 4
_ERROR = "error.json"


def run_worker(
    fit: ShardedFit,
    plan: FitPlan,
    folder: Path,
    checkpoints: Checkpoints,
    *,
    rank: int,
    network: Mapping[str, str | int] | None = None,
) -> None:
    """Fit one shard. An error of the parameters or the data is kept for ``raise_error``: no retry mends it.

    Args:
        fit: What is fitted.
        plan: The workers.
        folder: The fit's folder on storage that all workers read.
        checkpoints: The fit's checkpoints.
        rank: The worker's number.
        network: The library's own parameters of the network between the workers.
    """
    if (folder / _ERROR).exists():
        return
    with tempfile.TemporaryDirectory(prefix="karat-fit-") as scratch:
        place = WorkerPlace(rank, plan.workers, plan.cores, plan.memory, plan.gpu, Path(scratch), network or {})
        try:
            fit_shard(fit, place, checkpoints)
        except KaratError as error:
            hidden = folder / f".{_ERROR}-{rank}"
            hidden.write_text(json.dumps([error.what, error.where, error.remedy]))
            hidden.rename(folder / _ERROR)
            raise


def forget_error(folder: Path) -> None:
    """Forget the error of an earlier try."""
    (folder / _ERROR).unlink(missing_ok=True)


def raise_error(folder: Path) -> None:
    """Raise the error that a worker met, if one did.

    Raises:
        TrainingError: The library refuses a parameter's value or the data.
    """
    path = folder / _ERROR
    if path.exists():
        what, where, remedy = json.loads(path.read_text())
        raise TrainingError(what, where=where, remedy=remedy)


def workers_died(fit: ShardedFit, folder: Path, error: BaseException) -> TrainingError:
    """Return the error of a fit whose workers died too often."""
    return TrainingError(
        f"the workers that fit a model of kind {fit.model.kind_name} failed {MAX_FAILURES + 1} times: "
        f"{str(error).strip().splitlines()[-1]}",
        where=str(folder),
        remedy="look at the log of the Ray job; more 'workers' under 'distributed' need less memory each",
    )


class Rhythm:
    """Says after which rounds a checkpoint is due: about one in some seconds, and the same rounds on every worker.

    After the first rounds the first worker says how many rounds take so long; then the workers need not ask each other.
    """

    def __init__(self, seconds: float, broadcast: Callable[[int], int]) -> None:
        """Start.

        Args:
            seconds: Seconds between two checkpoints.
            broadcast: Called by every worker at the same time; returns what the first worker has given.
        """
        self._seconds, self._broadcast = seconds, broadcast
        self._rounds = self._every = 0
        self._began = 0.0

    def due(self) -> bool:
        """Whether a checkpoint is due after this round; called after every round."""
        self._rounds += 1
        if self._rounds == 1:
            self._began = time.monotonic()  # the first round is longer than the others
        if self._rounds == 1 + _TIMED_ROUNDS:
            a_round = (time.monotonic() - self._began) / _TIMED_ROUNDS
            self._every = self._broadcast(max(int(self._seconds / max(a_round, 1e-6)), 1))
        return self._every > 0 and self._rounds % self._every == 0
