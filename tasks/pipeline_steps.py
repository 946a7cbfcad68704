"""The heavy steps, one Prefect task each: the plain function runs the job, the wrapper is put on by assignment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from prefect import task

from infra.job_records import Outcome
from karat.monitoring import Check
from tasks.job_task import run_day, run_job
from tasks.scope import Scope
from tasks.served_versions import serves_versions

#: Whether to train: always; on the project's day, else only where there is no valid champion; not at all.
Train = Literal["always", "when-due", "never"]
#: Whether to search for parameters: where no version of the same declaration has; always; not at all.
Search = Literal["when-due", "always", "never"]


def _compute_features(
    scope: Scope, *, full: bool = False, sample: bool = False, allow_breaking: bool = False
) -> tuple[Outcome, ...]:
    """Compute feature tables and publish them to the online store, within the project's time limit."""
    deadline = datetime.now(UTC) + timedelta(seconds=scope.project.spec.feature_timeout_seconds)
    parameters = {"tables": scope.tables, "full": full, "sample": sample, "allow_breaking": allow_breaking}
    return run_job("features", "ray_jobs.compute_features", scope.project.name, parameters, deadline)


def _train_models(scope: Scope, train: Train, *, promote: bool, search: Search = "when-due") -> tuple[Outcome, ...]:
    """Train candidates; with ``promote`` the gates decide on each at once.

    ``when-due`` here means a day that is not due: only models without a valid champion are trained.
    """
    parameters = {"models": tuple(scope.models), "train": train, "promote": promote, "search": search}
    return run_job("train", "ray_jobs.train_models", scope.project.name, parameters)


def _promote_models(scope: Scope, versions: dict[str, int], *, approve: bool = False) -> tuple[Outcome, ...]:
    """Let the gates decide; ``versions`` names candidates, the challenger is the default."""
    parameters = {"models": tuple(scope.models), "versions": versions, "approve": approve}
    return run_job("promote", "ray_jobs.promote_models", scope.project.name, parameters)


def _score_models(scope: Scope) -> tuple[Outcome, ...]:
    """Write the prediction tables of the champions."""
    return run_job("score", "ray_jobs.score_models", scope.project.name, {"models": tuple(scope.models)})


def _monitor_models(scope: Scope, checks: dict[str, list[Check]]) -> tuple[Outcome, ...]:
    """Check champions; ``checks`` maps each model to its checks.

    A run that retries after midnight still belongs to the day on which it began.
    """
    parameters = {"models": tuple(checks), "checks": checks, "day": run_day().isoformat()}
    return run_job("monitor", "ray_jobs.monitor_models", scope.project.name, parameters)


def _serve_champions(scope: Scope, champions: dict[str, int]) -> tuple[Outcome, ...]:
    """Load these versions into the HTTP application; no job if it serves them already.

    A model that is declared with ``online: false`` is taken out if it is served.
    """
    wanted = {
        str(scope.project.model_name(m)): champions.get(m) if spec.online else None for m, spec in scope.models.items()
    }
    if serves_versions(scope.settings, wanted):
        return ()
    parameters = {
        "champions": {n: v for n, v in wanted.items() if v is not None},
        # Of a model that this run could not ask for its champion, MLflow is asked when the job runs.
        "without": sorted(str(scope.project.model_name(m)) for m, spec in scope.models.items() if not spec.online),
    }
    return run_job("serve", "ray_jobs.serve_champions", scope.project.name, parameters)


compute_features = task(name="compute-features")(_compute_features)
train_models = task(name="train-models")(_train_models)
promote_models = task(name="promote-models")(_promote_models)
score_models = task(name="score-models")(_score_models)
monitor_models = task(name="monitor-models")(_monitor_models)
serve_champions = task(name="serve-champions")(_serve_champions)

__all__ = [
    "Search",
    "Train",
    "compute_features",
    "monitor_models",
    "promote_models",
    "score_models",
    "serve_champions",
    "train_models",
]
