"""feature-pipeline: feature tables from gold, then what is online."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import gathered
from infra.job_records import Outcome
from tasks.artifacts import show_features
from tasks.jobs import settled
from tasks.scope import open_scope
from tasks.steps import compute_features


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
    """Computes the feature tables that the models read, and publishes them online.

    ``full`` recomputes every day instead of those that gold's changes affect; ``sample`` makes sample gold where there
    is none. Features that a champion reads must mean what they meant, unless ``allow_breaking``. Stops at the
    project's ``feature_timeout_seconds``.
    """
    scope = open_scope(project, domain, models)
    computed = gathered(scope.retried(compute_features), scope, full=full, sample=sample, allow_breaking=allow_breaking)
    show_features(scope, computed)
    return settled(computed)
