"""Step of one model: the promotion gates decide on its candidate."""

from __future__ import annotations

from infra.job_records import PromotionOutcome
from karat.lifecycle import promote
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> PromotionOutcome:
    """Decide on the version that the flow names, else on the challenger; without one the champion stays."""
    registry, registered = model.context.registry, model.context.name
    version = model.parameters["versions"].get(model.name)
    if version is None and registry.challenger(registered) is None:
        version = registry.champion(registered)
    decision = promote(model.context, version, approved=model.parameters["approve"])
    verdict = "is champion" if decision.promoted else "refused"
    return PromotionOutcome(
        name=model.name,
        state="done" if decision.promoted else "kept",
        summary=f"version {decision.version} {verdict}: {decision.reason}",
        model=str(decision.model),
        version=decision.version,
        champion_version=decision.champion_version,
        promoted=decision.promoted,
        reason=decision.reason,
        metrics=decision.candidate_metrics,
        champion_metrics=decision.champion_metrics,
        baseline=decision.baseline,
    )
