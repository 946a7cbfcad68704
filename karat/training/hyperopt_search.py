"""Search in this process: tree-structured Parzen estimators by hyperopt, one trial after the other.

Source of the method: Bergstra and others, Algorithms for Hyper-Parameter Optimization, 2011.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import hyperopt
import hyperopt.exceptions
import numpy as np
from hyperopt import hp
from hyperopt.pyll import scope

from karat.declare.search import SearchBudget, SearchSpace
from karat.training.search import Parameters, SearchProblem, Trial, run_trial

#: Trials that are drawn at random before the first suggestion.
STARTUP_TRIALS = 20

# It logs a line per suggestion.
logging.getLogger("hyperopt").setLevel(logging.WARNING)


def hyperopt_space(space: Mapping[str, SearchSpace]) -> dict[str, Any]:
    """Return the search space as hyperopt has it, one expression per parameter."""
    return {name: _expression(name, each) for name, each in space.items()}


def _expression(name: str, space: SearchSpace) -> Any:
    if space.choices:
        return hp.choice(name, list(space.choices))
    assert space.low is not None
    assert space.high is not None
    if space.log and space.whole:
        # Rounded from a half below to a half above, so that both ends are as likely as the others.
        low, high = math.log(space.low - 0.5), math.log(space.high + 0.5)
        return scope.int(scope.minimum(scope.maximum(hp.qloguniform(name, low, high, 1), space.low), space.high))
    if space.log:
        return hp.loguniform(name, math.log(space.low), math.log(space.high))
    if space.whole:
        return hp.randint(name, space.low, space.high + 1)
    return hp.uniform(name, space.low, space.high)


def plain(parameters: Mapping[str, Any]) -> Parameters:
    """Return parameters without NumPy's types, which neither YAML nor JSON has."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in parameters.items()}


def hyperopt_search(
    problem: SearchProblem, budget: SearchBudget, *, known: Sequence[Trial], done: Callable[[Trial], None]
) -> None:
    """Run the trials of a search one after the other; see ``Searcher``.

    A trial is never stopped early. The kind's own parameters are tried first, if the space holds them.
    """
    finished = {trial.number: trial for trial in known}
    sign = -1.0 if problem.maximize else 1.0
    count = 0

    def objective(given: dict[str, Any]) -> dict[str, object]:
        nonlocal count
        parameters = plain(given)
        trial = finished.get(count)
        if trial is None or trial.parameters != parameters:
            trial = run_trial(problem, count, parameters)
            done(trial)
        count += 1
        if trial.value is None:
            return {"status": hyperopt.STATUS_FAIL}
        return {"status": hyperopt.STATUS_OK, "loss": sign * trial.value}

    until = time.monotonic() + (budget.minutes * 60 if budget.minutes else math.inf)
    with suppress(hyperopt.exceptions.AllTrialsFailed):  # search_parameters says so, with the first error
        hyperopt.fmin(
            objective,
            hyperopt_space(problem.space),
            algo=hyperopt.partial(hyperopt.tpe.suggest, n_startup_jobs=STARTUP_TRIALS),
            max_evals=budget.trials,
            rstate=np.random.default_rng(problem.seed),
            points_to_evaluate=[_as_points(problem)] if problem.defaults else None,
            # With points to evaluate, hyperopt's own count is one too high.
            early_stop_fn=lambda trials, *args: (count >= budget.trials or time.monotonic() > until, args),
            show_progressbar=False,
            verbose=False,
            return_argmin=False,
            catch_eval_exceptions=False,
            allow_trials_fmin=False,
        )


def _as_points(problem: SearchProblem) -> Parameters:
    """The kind's own parameters; of a choice hyperopt wants the position."""
    defaults = problem.defaults or {}
    return {
        name: [repr(c) for c in problem.space[name].choices].index(repr(value))
        if problem.space[name].choices
        else value
        for name, value in defaults.items()
    }
