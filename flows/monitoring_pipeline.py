"""monitoring-pipeline: reports of the champions, against the training sets that they pin."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import gathered
from infra.job_records import Outcome
from karat.monitoring import Check
from tasks.artifacts import show_reports
from tasks.jobs import settled
from tasks.monitoring_schedule import asked_checks, due_checks
from tasks.scope import open_scope
from tasks.steps import monitor_models


@flow(name="monitoring-pipeline", flow_run_name="monitoring-{project}", **HOOKS)
def monitoring_pipeline(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    checks: list[Check] | None = None,
    versions: dict[str, int] | None = None,
) -> tuple[Outcome, ...]:
    """Reports on each model's champion: drift of its features (``dataset``), of its predictions (``prediction``), and
    how groups of people fare (``fairness``); all three, or those named.

    A page for each in MLflow, rows in ``monitoring.drift``: again on the same day in the place of the earlier ones. A
    model without a champion, or of which too few rows are new, says so; one that fails leaves the others. With
    ``versions`` (of champions) only what is due by the project's schedules, or was never told of that version.
    """
    scope = open_scope(project, domain, models)
    wanted = asked_checks(scope, checks) if versions is None else due_checks(scope, versions)
    watched = gathered(scope.retried(monitor_models), scope, wanted) if wanted else ()
    show_reports(scope, watched)
    return settled(watched)
