"""Frame of every program: read the spec, check the code on every node, write the result, set the exit status."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra.code import CodeVersion, check_code
from infra.job_logs import FORMAT
from infra.job_records import JobError, JobResult, JobSpec, Outcome
from infra.process_end import end_process
from karat.declare import Project, load_project
from karat.errors import KaratError
from karat.executors import Progress
from karat.lake import Lake
from karat.settings import Settings

log = logging.getLogger("karat.jobs")


@dataclass(frozen=True)
class Job:
    """What a program works on: settings, project, the flow's parameters and the commit of the code."""

    settings: Settings
    project: Project
    parameters: dict[str, Any]
    commit: str = ""

    @property
    def lake(self) -> Lake:
        """The lake of the job's environment."""
        return Lake(self.settings.lake, self.settings.environment)

    def models(self) -> tuple[str, ...]:
        """Return the models that the flow named, checked against the declarations."""
        return tuple(self.project.select(models=tuple(self.parameters["models"])))


Fallback = TypeVar("Fallback", bound=Outcome)
Result = TypeVar("Result", bound=Outcome)
#: The work of a program: an outcome for every table or model.
Work = Callable[[Job], Iterable[Outcome]]


def main(work: Work) -> NoReturn:
    """Run the program; end the process, with status 1 if the job or one of its outcomes failed."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="the job's spec.json; result.json comes beside it")
    path: Path = parser.parse_args().spec
    configure_logging()
    began = time.monotonic()
    outcomes: tuple[Outcome, ...] = ()
    error = None
    try:
        outcomes = tuple(work(_begin(JobSpec.model_validate_json(path.read_bytes()))))
    except Exception as caught:
        error = JobError.of(caught)
        report(error, "the job")
    result = JobResult(outcomes=outcomes, error=error, seconds=round(time.monotonic() - began, 3))
    result.write(path.parent / "result.json")
    # No ray.shutdown(): on leaving, Ray itself waits for the last lines of the workers before it disconnects.
    end_process(1 if error or any(o.error for o in outcomes) else 0)


def _begin(spec: JobSpec) -> Job:
    settings = Settings()
    ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=True)
    check_nodes(spec.code, settings)
    return Job(settings, load_project(spec.project, settings), spec.parameters, spec.code.commit)


def check_nodes(expected: CodeVersion, settings: Settings) -> None:
    """Check that every node has the expected code.

    Raises:
        CodeMismatch: names the first node whose code differs.
    """
    here = ray.get_runtime_context().get_node_id()
    check_code(expected, settings, where="the node of the job's driver")
    others = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeID"] != here]
    checks = [
        _check_node.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ).remote(expected, node)
        for node in others
    ]
    for found in ray.get(checks):
        if found is not None:
            raise found


@ray.remote
def _check_node(expected: CodeVersion, node: str) -> KaratError | None:
    try:
        check_code(expected, Settings(), where=f"node {node[:12]}")
    except KaratError as error:
        return error
    return None


def configure_logging() -> None:
    """Log to standard output in the form from which the flow reads levels; libraries log only warnings."""
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format=FORMAT, force=True)
    logging.getLogger("karat").setLevel(logging.INFO)


def attempt(fallback: Fallback, function: Callable[..., Result], *args: object) -> Fallback | Result:
    """Call a step; an exception becomes a failed outcome, so that the other tables and models go on.

    Args:
        fallback: What is known without the step; returned with the error if the step fails.
        function: The step.
        args: Its arguments.
    """
    try:
        return function(*args)
    except Exception as error:
        return fallback.model_copy(update={"state": "failed", "summary": "", "error": JobError.of(error)})


def nothing_known(name: str) -> Outcome:
    """Return the fallback of a table or model of which nothing is known yet."""
    return Outcome(name=name, state="failed")


def log_outcome(outcome: Outcome, done: int, total: int) -> None:
    """Log the outcome of a table or model from the driver: a worker's lines may come late."""
    for warning in outcome.warnings:
        log.warning("%s: %s", outcome.name, warning)
    if outcome.error is None:
        log.info("%s: %s (%d/%d)", outcome.name, outcome.summary or outcome.state, done, total)
    else:
        report(outcome.error, outcome.name)


def report(error: JobError, what: str) -> None:
    """Log an error: a KaratError with its remedy, any other with its traceback."""
    log.error("%s failed: %s: %s", what, error.type, error.raised() if not error.traceback else error.what)
    for line in error.traceback.splitlines():
        log.error("%s", line)


def log_progress(what: str) -> Progress:
    """Return a Progress that logs each step, at most one line in two seconds, and the last step always."""
    last = 0.0

    def progress(done: int, total: int, step: str) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last > 2:
            last = time.monotonic()
            log.info("%s: %s %d/%d", what, step, done, total)

    return progress
