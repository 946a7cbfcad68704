"""A Ray job as a Prefect task's work: submit it, follow its log, read its outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging.loggers import task_run_logger
from prefect.runtime import flow_run

from infra.job_records import Outcome, Program, is_transient
from infra.jobs import Jobs, spec_of
from karat.errors import PartlyFailed
from karat.settings import Settings

# The run that a person or a schedule started: the pipelines inside a master run name their jobs after it.
_ROOT: ContextVar[str | None] = ContextVar("root_flow_run", default=None)


def begin_root(run: str) -> None:
    """Record the flow run that has no parent; its pipelines name their jobs after it."""
    _ROOT.set(run)


def run_day() -> date:
    """Return the UTC day on which the flow run began."""
    began = flow_run.scheduled_start_time or datetime.now(UTC)
    return began.astimezone(UTC).date()


def job_key(step: str) -> str:
    """Return root flow run and step: the key by which a retry, or the same run in a new process, finds its job."""
    return f"{_ROOT.get() or flow_run.id}-{step}"


def run_job(
    step: str, program: Program, project: str, parameters: Mapping[str, object], deadline: datetime | None = None
) -> tuple[Outcome, ...]:
    """Run a program on the cluster and return its outcomes.

    Args:
        step: Name of the step, part of the job's id.
        program: Module of the program.
        project: Name of the project.
        parameters: Parameters of the program.
        deadline: When the job is stopped.

    Raises:
        PartlyFailed: some outcomes failed; the error carries all of them.
        KaratError: what ``Jobs.run`` raises.
    """
    settings = Settings()
    jobs = Jobs(settings)
    logger = get_run_logger()
    result = jobs.run(spec_of(settings, program, project, **parameters), job_key(step), logger.log, deadline)
    return raise_failures(result.outcomes)


def raise_failures(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Return the outcomes if none failed.

    Raises:
        PartlyFailed: names each failure and carries all outcomes.
    """
    failed = [o for o in outcomes if o.error is not None]
    if not failed:
        return outcomes
    listed = "".join(f"\n  - {o.name}: {o.error}" for o in failed)
    remedies = dict.fromkeys(o.error.remedy for o in failed if o.error and o.error.remedy)
    raise PartlyFailed(
        f"{len(failed)} of {len(outcomes)} failed:{listed}", remedy="; ".join(remedies), outcomes=outcomes
    )


def tries_again(task: Task[..., object], run: TaskRun, state: State[object]) -> bool:
    """Prefect's retry condition: an unreachable service may come back, a wrong call or wrong data stay wrong.

    Says the wait in the run's log, with its reason, for whoever follows the run.
    """
    error = state.data
    if not isinstance(error, BaseException) or not is_transient(error):
        return False
    task_run_logger(run, task).warning("%s", next_try(task, max(run.run_count, 1), error))
    return True


def next_try(task: Task[..., object], failed: int, error: BaseException) -> str:
    """Return the line about the try that follows the ``failed`` ones, as in ``step train: try 2 of 4 in 5 s, ...``."""
    delays = task.retry_delay_seconds
    waits = delays if isinstance(delays, list) else [delays or 0]
    wait = waits[min(failed, len(waits)) - 1]
    reason = getattr(error, "what", None) or str(error) or type(error).__name__
    return f"step {task.name}: try {failed + 1} of {task.retries + 1} in {wait:g} s, because {reason}"
