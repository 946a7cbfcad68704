"""master-orchestrator: the whole way from gold to serving champions."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow, get_run_logger

from flows.feature_pipeline import feature_pipeline
from flows.hooks import HOOKS
from flows.inference_pipeline import inference_pipeline
from flows.monitoring_pipeline import monitoring_pipeline
from flows.outcomes import champions_of, collect, failed, skipped, succeeded
from flows.training_pipeline import training_pipeline
from infra.job_records import Outcome
from tasks.artifacts import show_models
from tasks.job_task import raise_failures
from tasks.pipeline_steps import Search, Train, serve_champions
from tasks.scope import Scope, open_scope


@flow(name="master-orchestrator", flow_run_name="master-{project}", **HOOKS)
def master_orchestrator(
    project: str,
    domain: str | None = None,
    models: list[str] | None = None,
    *,
    full: bool = False,
    train: Train = "when-due",
    search: Search = "when-due",
    sample: bool = True,
    allow_breaking: bool = False,
) -> tuple[Outcome, ...]:
    """Run all pipelines in this process.

    The order: features, training where it is due, promotion, batch inference, serving, and the monitoring checks that
    are due.

    ``sample`` writes sample data into gold tables that do not exist, ``full`` recomputes all features, ``train`` and
    ``search`` are as in training-pipeline. If features that a champion reads would change their meaning, the run
    refuses, unless ``allow_breaking``: the champion is then void, and another is trained. A table or model that fails
    leaves the others; the run then ends Failed and names it.
    """
    scope = open_scope(project, domain, models)
    chosen = list(scope.models)
    computed = collect(
        feature_pipeline, project=project, models=chosen, full=full, sample=sample, allow_breaking=allow_breaking
    )
    ready = _with_features(scope, failed(computed))
    options = {"train": train, "search": search, "serve": False}
    trained = collect(training_pipeline, project=project, models=ready, **options) if ready else ()
    champions = champions_of(trained)
    scored: tuple[Outcome, ...] = ()
    watched: tuple[Outcome, ...] = ()
    if champions:
        serving = scope.retried(serve_champions).submit(scope, champions)
        scored = collect(inference_pipeline, project=project, models=list(champions))
        serving.result()
        watched = collect(monitoring_pipeline, project=project, models=list(champions), versions=champions)
    show_models(scope, trained)
    return raise_failures(_last_outcomes(scope, computed, trained, scored, watched))


def _with_features(scope: Scope, failed: dict[str, Outcome]) -> list[str]:
    """The models none of whose feature tables failed."""
    return [m for m in scope.models if not failed.keys() & set(scope.project.tables_of({m: scope.models[m]}))]


def _last_outcomes(scope: Scope, *steps: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """One outcome per table or model: its first failure, else its last outcome."""
    last: dict[str, Outcome] = {}
    for outcome in (o for step in steps for o in step):
        if outcome.name not in last or last[outcome.name].error is None:
            last[outcome.name] = outcome
    outcomes = tuple(last.values())
    counts = {"sound": succeeded(outcomes), "failed": failed(outcomes), "left out": skipped(outcomes)}
    get_run_logger().info(", ".join(f"{len(found)} {what}" for what, found in counts.items() if found))
    return outcomes
