"""Search on the cluster: Ray Tune runs the trials, hyperopt suggests them, ASHA stops those that fall behind.

The same seed gives the same trials on any cluster: suggestions come in batches of ``at_once`` that are complete before
the next, and a trial is compared with trials of earlier batches alone.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.schedulers.async_hyperband import _Bracket
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.hyperopt import HyperOptSearch

from karat.declare.search import SearchBudget
from karat.training.hyperopt_search import STARTUP_TRIALS, hyperopt_space, plain
from karat.training.search import REDUCTION, SearchProblem, Trial, TrialStopped, run_trial

ROUND, LOSS, VALUE, TRIAL = "round", "loss", "value", "trial"
#: Beside the parameters in a trial's configuration: its position in the search. No parameter has a space in its name.
NUMBER = "trial number"
#: The search's own table keeps its trials: Tune's log files, its snapshots of the experiment and its tables do without.
_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def tune_search(
    problem: SearchProblem, budget: SearchBudget, *, known: Sequence[Trial], done: Callable[[Trial], None]
) -> None:
    """Run the trials of a search on the Ray cluster, each on one CPU; see ``karat.training.search.Searcher``."""
    os.environ.update(_QUIET)
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mode = "max" if problem.maximize else "min"
    suggestions = _Suggestions(
        problem.rungs,
        hyperopt_space(problem.space),
        metric=VALUE,
        mode=mode,
        points_to_evaluate=[problem.defaults] if problem.defaults else None,
        n_initial_points=STARTUP_TRIALS,
        random_state_seed=problem.seed,
    )
    finished = {trial.number: trial for trial in known}
    shared = {"problem": ray.put(problem), "known": ray.put(finished)}
    with tempfile.TemporaryDirectory(prefix="karat-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_Trainable, **shared), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=ConcurrencyLimiter(suggestions, max_concurrent=budget.at_once, batch=True),
                scheduler=_Halving(problem, budget.at_once) if budget.stop_early and problem.rungs else None,
                num_samples=budget.trials,
                reuse_actors=True,
                time_budget_s=budget.minutes * 60 if budget.minutes else None,
            ),
            run_config=tune.RunConfig(
                storage_path=str(Path(folder)),
                verbose=0,
                callbacks=[_Collect(done, finished)],
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()


class _Trainable(tune.Trainable):
    """Runs one trial at a time; the fit waits at each rung until Tune lets it go on."""

    _thread: threading.Thread | None
    _waits: bool

    def setup(self, config: dict[str, Any], problem: Any = None, known: Any = None) -> None:
        self._problem: SearchProblem = ray.get(problem) if isinstance(problem, ray.ObjectRef) else problem
        self._known: dict[int, Trial] = ray.get(known) if isinstance(known, ray.ObjectRef) else known
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        self._end()

    def step(self) -> dict[str, Any]:
        if self._waits:
            self._go_on.release()
        if self._heard.empty() and self._thread is None:
            self._thread = threading.Thread(target=self._fit, daemon=True)
            self._thread.start()
        heard = self._heard.get()
        self._waits = not isinstance(heard, Trial) and self._thread is not None
        if isinstance(heard, Trial):
            last = heard.losses[-1] if heard.losses else (self.iteration + 1, 0.0)
            value = math.nan if heard.value is None else heard.value
            return {ROUND: last[0], LOSS: last[1], VALUE: value, TRIAL: heard, "done": True}
        return {ROUND: heard[0], LOSS: heard[1], VALUE: math.nan}

    def _begin(self, config: dict[str, Any]) -> None:
        """Take a trial; of one that is known, what it reported is reported again without a fit."""
        self._number, self._parameters = _numbered(config)
        self._heard: queue.Queue[tuple[int, float] | Trial] = queue.Queue()
        self._go_on = threading.Semaphore(0)
        self._thread = None
        self._stopped = self._waits = False
        self._reported: set[int] = set()
        known = self._known.get(self._number)
        if known is not None and known.parameters == self._parameters:
            for rung in known.losses:
                self._heard.put(rung)
            self._reported = {at for at, _ in known.losses}
            if known.state != "stopped":
                self._heard.put(known)

    def _fit(self) -> None:
        self._heard.put(run_trial(self._problem, self._number, self._parameters, self._at_rung))

    def _at_rung(self, iteration: int, loss: float) -> None:
        if iteration in self._reported:
            return
        self._heard.put((iteration, loss))
        self._go_on.acquire()
        if self._stopped:
            raise TrialStopped

    def _end(self) -> None:
        """End a fit that Tune has stopped at a rung."""
        if self._thread is not None:
            self._stopped = True
            self._go_on.release()
            self._thread.join()


#: A loss that no metric reaches: from here on hyperopt ranks the trials that were stopped.
_STOPPED = 1e9


def stopped_loss(rungs: Sequence[int], at: int, loss: float) -> float:
    """Return what hyperopt minimizes for a trial that was stopped: worse than every trial that went on.

    Hyperopt uses the order of its losses alone. A trial that was stopped at an earlier rung is worse, and at the same
    rung the one with the greater loss.

    Args:
        rungs: Rounds at which trials are compared.
        at: The round at which it was stopped.
        loss: Its loss there.
    """
    left = sum(rung > at for rung in rungs)
    return _STOPPED * (1 + left) + (math.atan(loss) if math.isfinite(loss) else math.pi)


class _Suggestions(HyperOptSearch):
    """Hyperopt's suggestions, numbered; it learns nothing of a trial that failed."""

    _count = 0

    def __init__(self, rungs: Sequence[int], *space: Any, **options: Any) -> None:
        super().__init__(*space, **options)
        self._rungs = rungs

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        found = super().suggest(trial_id)
        if found is None:
            return None
        self._count += 1
        return {**found, NUMBER: self._count - 1}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if result and not error and TRIAL not in result:
            result = {**result, VALUE: self.metric_op * stopped_loss(self._rungs, result[ROUND], result[LOSS])}
        super().on_trial_complete(trial_id, result, error or not result or math.isnan(result[VALUE]))


class _Collect(tune.Callback):
    """Hands each trial over as it ends."""

    def __init__(self, done: Callable[[Trial], None], known: Mapping[int, Trial]) -> None:
        self._tell, self._known = done, known
        self._losses: dict[str, list[tuple[int, float]]] = {}

    def __getstate__(self) -> dict[str, object]:
        # Tune pickles its callbacks for a restore that is never made; ``done`` writes to a lake that can't be pickled.
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if TRIAL not in result:
            self._losses.setdefault(trial.trial_id, []).append((result[ROUND], result[LOSS]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        ended = trial.last_result.get(TRIAL)
        if ended is None:
            seconds = trial.last_result.get("time_total_s", 0.0)
            losses = tuple(self._losses.get(trial.trial_id, ()))
            ended = Trial(*_numbered(trial.config), "stopped", None, seconds, losses)
        self._done(ended)

    def _done(self, trial: Trial) -> None:
        known = self._known.get(trial.number)
        if known is None or (known.parameters, known.state) != (trial.parameters, trial.state):
            self._tell(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = str(trial.get_error() or "its worker died").strip().splitlines()[-1]
        self._done(Trial(*_numbered(trial.config), "failed", error=error))


class _BatchBracket(_Bracket):
    """ASHA's bracket; its cutoffs count trials of earlier batches alone, so that the order of reports plays no part."""

    def __init__(self, first: int, last: int, *, batch: int) -> None:
        super().__init__(first, last, REDUCTION, 0)
        self._batch = batch
        self._numbers: dict[str, int] = {}

    def on_result(self, trial: Any, cur_iter: int, cur_rew: float | None) -> str:
        number, _ = _numbered(trial.config)
        self._numbers[trial.trial_id] = number
        self._first = number - number % self._batch
        return str(super().on_result(trial, cur_iter, cur_rew))

    def cutoff(self, recorded: dict[str, float]) -> Any:
        return super().cutoff({t: value for t, value in recorded.items() if self._numbers[t] < self._first})


class _Halving(ASHAScheduler):
    """ASHA over the rungs of a kind that learns in rounds."""

    def __init__(self, problem: SearchProblem, batch: int) -> None:
        first, *_, last = problem.rungs
        super().__init__(
            time_attr=ROUND,
            metric=LOSS,
            mode="min",
            max_t=last + 1,
            grace_period=first,
            reduction_factor=REDUCTION,
        )
        self._brackets = [_BatchBracket(first, last + 1, batch=batch)]


def _numbered(config: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The position of a trial in its search, and its parameters."""
    return config[NUMBER], plain({k: v for k, v in config.items() if k != NUMBER})
