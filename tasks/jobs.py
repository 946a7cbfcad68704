"""A heavy step: a Ray job that this task submits, follows line by line, and reads the outcomes of."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, date, datetime
from typing import Any

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run

from infra.job_records import Outcome, Program, is_transient
from infra.jobs import Jobs, spec_of
from karat.errors import PartlyFailed
from karat.settings import Settings

# The run that a person or a schedule started: the pipelines inside a master run name their jobs after it.
_ROOT: ContextVar[str | None] = ContextVar("root_flow_run", default=None)


def begin_root(run: str) -> None:
    """Called by a flow that has no parent."""
    _ROOT.set(run)


def begun_on() -> date:
    """The UTC day on which the flow run began."""
    began = flow_run.scheduled_start_time or datetime.now(UTC)
    return began.astimezone(UTC).date()


def job_key(step: str) -> str:
    """Root flow run and step: what a retry, or the same run in a new process, finds its job by."""
    return f"{_ROOT.get() or flow_run.id}-{step}"


def run_job(
    step: str, program: Program, project: str, parameters: dict[str, Any], deadline: datetime | None = None
) -> tuple[Outcome, ...]:
    """The job's outcomes. Raises PartlyFailed, with all outcomes, where some of them failed; else as ``Jobs.run``."""
    settings = Settings()
    jobs = Jobs(settings)
    logger = get_run_logger()
    result = jobs.run(spec_of(settings, program, project, **parameters), job_key(step), logger.log, deadline)
    return settled(result.outcomes)


def settled(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """``outcomes`` where all went well, else PartlyFailed that carries them and names each failure."""
    failed = [o for o in outcomes if o.error is not None]
    if not failed:
        return outcomes
    listed = "".join(f"\n  - {o.name}: {o.error}" for o in failed)
    remedies = dict.fromkeys(o.error.remedy for o in failed if o.error and o.error.remedy)
    raise PartlyFailed(
        f"{len(failed)} of {len(outcomes)} failed:{listed}", remedy="; ".join(remedies), outcomes=outcomes
    )


def worth_another_try(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: a wrong call or wrong data stay wrong, what was out of reach may come back."""
    error: Any = state.data
    return isinstance(error, BaseException) and is_transient(error)
