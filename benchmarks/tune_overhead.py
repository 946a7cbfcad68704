"""A search of 50 trials on Ray Tune beside hyperopt's `fmin` in one process, on the same rows and search space.

The model is boosting of 100 rounds on 20,000 rows by 10 columns. The clocks start on a Ray that runs, and with all
libraries imported. Early stops are off, so that both sides fit the same number of rounds. The target is twice `fmin`
plus 10 seconds, so the ratio is that of what is left after 10 seconds.
"""

from __future__ import annotations

import hyperopt
import numpy as np
import polars as pl
import ray

from benchmarks.measure import Claim, conclude, take_turns, timed, versions
from karat.declare.models import ModelSpec
from karat.training.hyperopt_search import hyperopt_space, plain
from karat.training.search import SearchProblem, prepare_search, search_parameters
from karat.training.split import split_rows
from karat.training.train import unfitted_model
from ray_jobs.tune_search import tune_search

ROWS, COLUMNS, TRIALS, RUNS = 20_000, 10, 50, 3
ALLOWED = 10.0


def main() -> None:
    """Measure both sides in turn."""
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    spec, problem = make_problem()

    def bare() -> None:
        def objective(given: dict[str, object]) -> float:
            return -problem.fit_and_evaluate(plain(given))

        hyperopt.fmin(
            objective,
            hyperopt_space(problem.space),
            algo=hyperopt.tpe.suggest,
            max_evals=TRIALS,
            rstate=np.random.default_rng(spec.seed),
            show_progressbar=False,
            verbose=False,
        )

    def ours() -> None:
        found = search_parameters(problem, spec.search_budget, tune_search)
        assert len(found.trials) == TRIALS, len(found.trials)
        assert found.count("finished") == TRIALS, found.trials

    seconds = take_turns({"karat": timed(ours), "hyperopt fmin": timed(bare)}, RUNS)
    peer = float(np.median(seconds["hyperopt fmin"]))
    left = max(float(np.median(seconds["karat"])) - ALLOWED, 0.0)
    claims = [Claim("a search of 50 trials, less 10 s, over fmin", left / peer, 2)]
    conclude("tune_overhead", claims, seconds, versions("ray", "hyperopt", "xgboost"), rows=ROWS, trials=TRIALS)


def make_problem() -> tuple[ModelSpec, SearchProblem]:
    """The search of a boosted classifier with an interaction among its features."""
    draw = np.random.default_rng(5)
    X = draw.normal(size=(ROWS, COLUMNS))
    names = [f"f{k}" for k in range(COLUMNS)]
    label = X[:, 0] * X[:, 1] + X[:, 2] + draw.normal(size=ROWS) > 0
    frame = pl.DataFrame(dict(zip(names, X.T, strict=True)) | {"y": label, "id": np.arange(ROWS)})
    spec = ModelSpec(
        name="small",
        description="A small model",
        task="binary",
        kind="xgboost",
        label={"source": "rows", "expression": "y", "name": "y"},
        lookups=[{"table": "rows", "features": names}],
        parameters={"n_estimators": 100, "early_stopping_rounds": 0},
        search={
            "max_depth": [2, 4, 6],
            "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
            "min_child_weight": {"low": 1.0, "high": 20.0},
        },
        search_budget={"trials": TRIALS, "stop_early": False},
        split={"by": "entity"},
    )
    split = split_rows(frame, spec, time=None, entity=["id"])
    problem = prepare_search(
        spec, frame, unfitted_model(spec), features=names, label="y", split=split, time=None, entity=["id"]
    )
    return spec, problem


if __name__ == "__main__":
    main()
