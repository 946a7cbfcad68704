"""Searches on the running Ray: `python -m tests.ray_jobs.tune_program`; the last line is JSON.

A whole search; the same one with the worker of a trial killed; the same one that knows the first trials of the whole.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import asdict
from typing import Any

import ray
from ray.util.state import list_actors

from karat.settings import Settings
from karat.training.search import SearchResult, Trial, search_parameters
from ray_jobs.tune_search import tune_search
from tests.karat.training.test_search import frame_of, problem_of, spec_of

#: Trials that the last search knows.
KNOWN = 5


def kill_a_worker(before: threading.Event) -> None:
    """Kill the process of a trial that runs."""
    before.wait()
    alive = [a for a in list_actors(limit=1000) if a.state == "ALIVE" and "_Trainable" in str(a.class_name)]
    os.kill(int(alive[0].pid), signal.SIGKILL)


def summary(result: SearchResult) -> list[dict[str, Any]]:
    """The trials without their durations."""
    return [asdict(trial) | {"seconds": 0.0} for trial in result.trials]


def main() -> None:
    """Run the three searches and print their trials."""
    ray.init(address=Settings().ray_address, log_to_driver=False, logging_level="ERROR")
    spec = spec_of(
        parameters={"n_estimators": 64},
        search={"gamma": [0.0, -1.0], "learning_rate": {"low": 0.01, "high": 0.5, "log": True}},
        search_budget={"trials": 12, "at_once": 4},
    )
    problem = problem_of(spec, frame_of())
    whole = search_parameters(problem, spec.search_budget, tune_search)
    values = [problem.fit_and_evaluate(t.parameters) if t.value is not None else None for t in whole.trials]
    ended: list[Trial] = []
    begun = threading.Event()
    threading.Thread(target=kill_a_worker, args=(begun,), daemon=True).start()

    def done(trial: Trial) -> None:
        ended.append(trial)
        begun.set()

    killed = search_parameters(problem, spec.search_budget, tune_search, done=done)
    new: list[Trial] = []
    resumed = search_parameters(problem, spec.search_budget, tune_search, known=whole.trials[:KNOWN], done=new.append)
    print(
        json.dumps(
            {
                "whole": summary(whole),
                "in_process": values,
                "killed": summary(killed),
                "resumed": summary(resumed),
                "new": sorted(t.number for t in new),
            }
        )
    )


if __name__ == "__main__":
    main()
