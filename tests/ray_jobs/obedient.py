"""A program for the tests of jobs: it does what its parameters say. `python -m tests.ray_jobs.obedient --spec FILE`."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from infra.job_records import Outcome, ScoringOutcome
from karat.errors import StoreUnreachable, TooFewRows
from ray_jobs.executor import RayExecutor
from ray_jobs.program import Job, attempt, configure_logging, main, nothing_known

log = logging.getLogger("karat.obedient")


def work(job: Job) -> Iterator[Outcome]:
    wanted = job.parameters
    mark(wanted, "began")
    for number in range(wanted.get("lines", 0)):
        log.log(logging.WARNING if number % 10 == 9 else logging.INFO, "line %d", number)
    if wanted.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted.get("raise"):
        raise TooFewRows("only 3 rows", where="here", remedy="get more")
    deadline = time.monotonic() + wanted.get("seconds", 0)
    while time.monotonic() < deadline:
        time.sleep(0.05)
    mark(wanted, "slept")
    for name in wanted.get("items", []):
        yield attempt(nothing_known(name), item, name)
    for index, value in RayExecutor().map(square, wanted.get("squares", [])):
        yield ScoringOutcome(name=str(index), state="done", rows=value)


def item(name: str) -> Outcome:
    if name.startswith("wrong"):
        raise TooFewRows("only 3 rows", remedy="get more")
    if name.startswith("lost"):
        raise StoreUnreachable("no answer")
    return ScoringOutcome(name=name, state="done", version=1)


def square(value: int) -> int:
    configure_logging()
    log.info("squaring %d", value)
    return value * value


def mark(wanted: dict, what: str) -> None:
    if folder := wanted.get("marks"):
        path = Path(folder) / f"{what}-{os.getpid()}-{time.monotonic_ns()}"
        path.touch()


if __name__ == "__main__":
    main(work)
