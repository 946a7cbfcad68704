"""feature-pipeline: compute feature tables from gold and publish them online."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import collect
from infra.job_records import Outcome
from tasks.artifacts import show_features
from tasks.job_task import raise_failures
from tasks.pipeline_steps import compute_features
from tasks.scope import open_scope


@flow(name="feature-pipeline", flow_run_name="features-{project}", **HOOKS)
def feature_pipeline(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    full: bool = False,
    sample: bool = False,
    allow_breaking: bool = False,
) -> tuple[Outcome, ...]:
    """Compute the feature tables that the models read, and publish them online.

    ``full`` recomputes every day instead of those that gold's changes affect; ``sample`` writes sample data into gold
    tables that do not exist. Unless ``allow_breaking``, the flow refuses a change of a feature that a champion reads.
    It stops at the project's ``feature_timeout_seconds``.
    """
    scope = open_scope(project, domain, models)
    computed = collect(scope.retried(compute_features), scope, full=full, sample=sample, allow_breaking=allow_breaking)
    show_features(scope, computed)
    return raise_failures(computed)
