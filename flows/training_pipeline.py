"""training-pipeline: candidate versions, registered; then their promotion, where that needs nobody's approval."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import candidates_of, failures, gathered
from flows.promotion import promotion
from infra.job_records import Outcome
from tasks.artifacts import model_row, show_models
from tasks.jobs import settled
from tasks.schedule import is_due
from tasks.scope import Scope, open_scope
from tasks.steps import Train, train_models


@flow(name="training-pipeline", flow_run_name="training-{project}", **HOOKS)
def training_pipeline(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    train: Train = "always",
    promote: bool = True,
) -> tuple[Outcome, ...]:
    """Trains each model on the current features; the same data and definition give the version that is there.

    ``train``: ``always``; ``when-due`` on the project's training day, else only models without a valid champion;
    ``never`` reports what stands. ``promote`` decides on the candidates at once.
    """
    scope = open_scope(project, domain, models)
    trained = gathered(scope.retried(train_models), scope, _mode(scope, train))
    show_models(scope, [model_row(scope, o.name, o, None) for o in trained])
    decided: tuple[Outcome, ...] = ()
    versions = candidates_of(trained)
    if promote and versions:
        decided = gathered(promotion, project=project, models=list(versions), versions=versions)
    return settled((*trained, *failures(decided).values()))


def _mode(scope: Scope, train: Train) -> Train:
    if train == "when-due" and is_due(scope.project, "training", datetime.now(UTC)):
        return "always"
    return train
