"""inference-pipeline: batch predictions of the champions."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import collect
from infra.job_records import Outcome
from tasks.artifacts import show_predictions
from tasks.job_task import raise_failures
from tasks.pipeline_steps import score_models
from tasks.scope import open_scope


@flow(name="inference-pipeline", flow_run_name="inference-{project}", **HOOKS)
def inference_pipeline(project: str, domain: str | None = None, models: list[str] | None = None) -> tuple[Outcome, ...]:
    """Score each model's declared scope with its champion; the same version on the same features changes nothing.

    A model without a champion, or with features older than gold, fails; the others are scored. Then the batch tables
    of these models are written.
    """
    scope = open_scope(project, domain, models)
    scored = collect(scope.retried(score_models), scope)
    show_predictions(scope, scored)
    return raise_failures(scored)
