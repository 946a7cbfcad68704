"""training-pipeline: train and register candidates, and promote them unless that needs approval."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import champions_of, collect
from infra.job_records import Outcome
from tasks.artifacts import show_models
from tasks.job_task import raise_failures
from tasks.pipeline_steps import Search, Train, serve_champions, train_models
from tasks.schedule import is_due
from tasks.scope import Scope, open_scope


@flow(name="training-pipeline", flow_run_name="training-{project}", **HOOKS)
def training_pipeline(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    train: Train = "always",
    search: Search = "when-due",
    promote: bool = True,
    serve: bool = True,
) -> tuple[Outcome, ...]:
    """Train each model on the current features; the same data and definition give the existing version.

    ``train``: ``always``; ``when-due`` on the project's training day, else only models without a valid champion;
    ``never`` reports what stands. ``search``: ``when-due`` searches for the parameters of a model whose declaration has
    not been searched yet; ``always`` searches on the current data, and trains; ``never`` does not search. With
    ``promote`` the gates decide on each candidate at once; with ``serve`` the HTTP application has loaded the champions
    when the run ends.
    """
    scope = open_scope(project, domain, models)
    trained = collect(scope.retried(train_models), scope, _mode(scope, train), promote=promote, search=search)
    show_models(scope, trained)
    if promote and serve and (champions := champions_of(trained)):
        scope.retried(serve_champions)(scope, champions)
    return raise_failures(trained)


def _mode(scope: Scope, train: Train) -> Train:
    if train == "when-due" and is_due(scope.project, "training", datetime.now(UTC)):
        return "always"
    return train
