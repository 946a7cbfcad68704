"""Step of one model: batch predictions of its champion."""

from __future__ import annotations

from infra.job_records import ScoringOutcome
from karat.inference import score_model
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> ScoringOutcome:
    """Score the declared scope.

    Raises:
        NoChampion: the model has no valid champion.
        StaleFeatures: the features are older than gold.
    """
    scored = score_model(model.context)
    summary = f"{scored.rows} rows {'written' if scored.changed else 'up to date'}, table version {scored.version}"
    if scored.unknown:
        summary += f"; {scored.unknown} without a prediction: no feature table has their key"
        if model.context.spec.missing_features.action == "refuse":
            summary += ", or too many of their features are missing"
    if scored.degraded:
        share = model.context.spec.missing_features.share
        summary += f"; {scored.degraded} degraded: more than {share:.0%} of their features are missing"
    if scored.caught_up:
        first, last = scored.caught_up[-1], scored.caught_up[0]
        summary += f"; with {len(scored.caught_up)} earlier days that had rows without a prediction, {first} to {last}"
    return ScoringOutcome(
        name=model.name,
        state="done" if scored.changed else "kept",
        summary=summary,
        table=str(scored.table),
        version=scored.version,
        rows=scored.rows,
        model_version=scored.model_version,
        unknown=scored.unknown,
        degraded=scored.degraded,
    )
