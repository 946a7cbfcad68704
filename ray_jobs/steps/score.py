"""Batch predictions of one champion."""

from __future__ import annotations

from dataclasses import asdict

from infra.job_records import Outcome
from karat.inference import score_model
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> Outcome:
    """Raises NoChampion, and StaleFeatures where the features are not up to date with gold."""
    name = model.spec.name
    scored = score_model(model.project, model.spec, model.lake, model.registry)
    said = f"{scored.rows} rows {'written' if scored.changed else 'up to date'}, table version {scored.version}"
    if scored.unknown:
        said += f"; {scored.unknown} without a prediction: no feature table knows them"
    reference = asdict(scored) | {"table": str(scored.table)}
    return Outcome(name=name, state="done" if scored.changed else "kept", said=said, reference=reference)
