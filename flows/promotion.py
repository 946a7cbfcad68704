"""promotion: decide on candidates, and load the champions into the HTTP application."""

from __future__ import annotations

from prefect import flow

from flows.hooks import HOOKS
from flows.outcomes import champions_of, collect
from infra.job_records import Outcome
from tasks.artifacts import show_models
from tasks.job_task import raise_failures
from tasks.pipeline_steps import promote_models, serve_champions
from tasks.scope import open_scope


@flow(name="promotion", flow_run_name="promotion-{project}", **HOOKS)
def promotion(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    versions: dict[str, int] | None = None,
    approve: bool = False,
    serve: bool = True,
) -> tuple[Outcome, ...]:
    """Make each model's candidate champion if it passes: the version named, or else its challenger.

    A first version must beat its baseline; a later one must beat the champion by the declared margin on the same rows.
    If the project wants a person's approval, ``approve`` gives it. With ``serve`` the HTTP application has loaded the
    champions when the run ends.
    """
    scope = open_scope(project, domain, models)
    decided = collect(scope.retried(promote_models), scope, versions or {}, approve=approve)
    show_models(scope, decided)
    if serve and (champions := champions_of(decided)):
        scope.retried(serve_champions)(scope, champions)
    return raise_failures(decided)
