"""Step of one model: train a candidate version and, if the flow asks for it, let the promotion gates decide."""

from __future__ import annotations

from dataclasses import replace

from infra.job_records import PromotionOutcome, TrainingOutcome
from karat.lifecycle import make_candidate, valid_champion
from karat.lifecycle.candidate_rows import Sharding
from karat.registry import DecisionStatus, ModelVersion
from karat.settings import Settings
from karat.training.search import Searcher
from ray_jobs.executor import RayExecutor
from ray_jobs.fitter import RayFitter
from ray_jobs.program import attempt, log_progress
from ray_jobs.steps import promote
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> TrainingOutcome:
    """Train and, with ``promote``, decide in the same process.

    The parameter ``train`` is ``always``, ``when-due`` (only without a valid champion) or ``never`` (report what
    stands). A model that fails keeps its champion.
    """
    trained = train(model)
    return (
        decide(model, trained) if model.parameters["promote"] and not trained.error and trained.undecided else trained
    )


def decide(model: ModelWork, trained: TrainingOutcome) -> TrainingOutcome:
    """Return the outcome of training with the decision of the promotion gates added."""
    versions = {trained.name: trained.version}
    candidate = replace(model, parameters={"versions": versions, "approve": False})
    decided = attempt(trained, promote.step, candidate)
    return trained.decided(decided) if isinstance(decided, PromotionOutcome) else decided


def train(model: ModelWork) -> TrainingOutcome:
    """Train a candidate if the parameter ``train`` or ``search`` asks for it; else report the champion."""
    mode = model.parameters["train"]
    champion = valid_champion(model.context)
    stands = version_outcome(model, champion, champion)
    searched = bool(model.context.spec.search) and model.parameters.get("search") == "always"
    if mode == "never" or (mode == "when-due" and champion is not None and not searched):
        summary = f"not trained, champion is version {champion.version}" if champion else "not trained, no champion"
        return stands.model_copy(update={"summary": summary})
    return attempt(stands, make, model, champion)


def make(model: ModelWork, champion: ModelVersion | None) -> TrainingOutcome:
    """Train a candidate, or find the version of the same data and definition."""
    made = make_candidate(
        model.context,
        progress=log_progress(model.name),
        commit=model.commit,
        searcher=_searcher() if model.context.spec.search else None,
        search=model.parameters.get("search", "when-due"),
        fitter=RayFitter(),
        sharding=Sharding(RayExecutor(), Settings().training_files_above),
    )
    summary = f"version {made.version.version} {'trained' if made.retrained else 'is of the same data and definition'}"
    state = "done" if made.retrained else "kept"
    update = {"state": state, "summary": summary, "warnings": made.warnings}
    return version_outcome(model, made.version, champion).model_copy(update=update)


def _searcher() -> Searcher:
    from ray_jobs.tune_search import tune_search  # Ray Tune takes a second to import

    return tune_search


def version_outcome(model: ModelWork, version: ModelVersion | None, champion: ModelVersion | None) -> TrainingOutcome:
    """Return the outcome of a version that stands: its run, its metrics, and whether the gates must still decide."""
    if version is None:
        return TrainingOutcome(name=model.name, state="kept")
    decision = version.own_tags.decision
    # A promotion that was killed may have written its decision without carrying it out.
    refused = decision is not None and decision.status is DecisionStatus.REFUSED
    refused = refused and version.own_tags.gates == model.context.gates_hash
    is_champion = champion is not None and champion.version == version.version
    return TrainingOutcome(
        name=model.name,
        state="kept",
        model=str(version.name),
        version=version.version,
        champion_version=champion.version if champion else None,
        run_id=version.run_id,
        experiment_id=version.experiment_id,
        metric=version.own_tags.metric,
        metrics=version.metrics,
        baseline=version.baseline,
        judged=version.judged,
        reason=str(decision or ""),
        undecided=not is_champion and not refused,
    )
