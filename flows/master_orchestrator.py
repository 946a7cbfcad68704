"""master-orchestrator: the whole road, from gold to champions that answer."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow, get_run_logger

from flows.feature_pipeline import feature_pipeline
from flows.hooks import HOOKS
from flows.inference_pipeline import inference_pipeline
from flows.monitoring_pipeline import monitoring_pipeline
from flows.outcomes import champions_of, failures, gathered, skipped, sound
from flows.training_pipeline import training_pipeline
from infra.job_records import Outcome
from tasks.artifacts import show_models
from tasks.jobs import settled
from tasks.scope import Scope, open_scope
from tasks.steps import Train, serve_champions


@flow(name="master-orchestrator", flow_run_name="master-{project}", **HOOKS)
def master_orchestrator(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    full: bool = False,
    train: Train = "when-due",
    sample: bool = True,
    allow_breaking: bool = False,
) -> tuple[Outcome, ...]:
    """Features, training where it is due, promotion, batch inference, serving, the reports that are due; the pipelines
    run in this process.

    ``sample`` makes sample gold where there is none, ``full`` recomputes all features, ``train`` is as in
    training-pipeline. Where features that a champion reads would get another meaning, nothing is done, unless
    ``allow_breaking``: the champion is void then, and another is trained. A table or model that fails leaves the
    others; the run then ends Failed and names it.
    """
    scope = open_scope(project, domain, models)
    chosen = list(scope.models)
    computed = gathered(
        feature_pipeline, project=project, models=chosen, full=full, sample=sample, allow_breaking=allow_breaking
    )
    ready = _with_features(scope, failures(computed))
    trained = gathered(training_pipeline, project=project, models=ready, train=train, serve=False) if ready else ()
    champions = champions_of(trained)
    scored: tuple[Outcome, ...] = ()
    watched: tuple[Outcome, ...] = ()
    if champions:
        serving = scope.retried(serve_champions).submit(scope, champions)
        scored = gathered(inference_pipeline, project=project, models=list(champions))
        serving.result()
        watched = gathered(monitoring_pipeline, project=project, models=list(champions), versions=champions)
    show_models(scope, trained)
    return settled(_all(scope, computed, trained, scored, watched))


def _with_features(scope: Scope, failed: dict[str, Outcome]) -> list[str]:
    """The models none of whose feature tables failed."""
    return [m for m in scope.models if not failed.keys() & set(scope.project.tables_of({m: scope.models[m]}))]


def _all(scope: Scope, *steps: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """One outcome a table or model: its first failure, else its last word."""
    last: dict[str, Outcome] = {}
    for outcome in (o for step in steps for o in step):
        if outcome.name not in last or last[outcome.name].error is None:
            last[outcome.name] = outcome
    outcomes = tuple(last.values())
    counts = {"sound": sound(outcomes), "failed": failures(outcomes), "left out": skipped(outcomes)}
    get_run_logger().info(", ".join(f"{len(found)} {what}" for what, found in counts.items() if found))
    return outcomes
