"""monitoring-pipeline: check champions against the training sets that they pin."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import collect
from infra.job_records import Outcome
from karat.monitoring import Check
from tasks.artifacts import show_reports
from tasks.job_task import raise_failures
from tasks.monitoring_schedule import due_checks, requested_checks
from tasks.pipeline_steps import monitor_models
from tasks.scope import open_scope


@flow(name="monitoring-pipeline", flow_run_name="monitoring-{project}", **HOOKS)
def monitoring_pipeline(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    checks: list[Check] | None = None,
    versions: dict[str, int] | None = None,
) -> tuple[Outcome, ...]:
    """Check each model's champion, all three checks or those named.

    The checks are drift of its features (``dataset``), drift of its predictions (``prediction``) and metrics by group
    of people (``fairness``). Each check gives a page in MLflow and rows in ``monitoring.drift``; a repeat on the same
    day replaces them. A model without a champion, or with too few new rows, says so; one that fails leaves the others.
    With ``versions`` (of champions) only due checks run: by the project's schedules, or because no report covers the
    version.
    """
    scope = open_scope(project, domain, models)
    wanted = requested_checks(scope, checks) if versions is None else due_checks(scope, versions)
    watched = collect(scope.retried(monitor_models), scope, wanted) if wanted else ()
    show_reports(scope, watched)
    return raise_failures(watched)
