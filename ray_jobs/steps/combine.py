"""One batch table."""

from __future__ import annotations

from dataclasses import asdict

from infra.job_records import Outcome
from karat.declare import load_project
from karat.inference.combined_predictions import combine_predictions
from karat.lake import Lake
from karat.settings import Settings


def step(project: str, name: str) -> Outcome:
    """``skipped`` where one of its models has no predictions yet: a run of some models needs not have all."""
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    combined = combine_predictions(load_project(project, settings), name, lake)
    reference = asdict(combined) | {"table": str(combined.table)}
    if combined.waits:
        said = f"waits for the predictions of {', '.join(combined.waits)}"
        return Outcome(name=name, state="skipped", said=said, reference=reference)
    said = f"{combined.rows} rows {'written' if combined.changed else 'up to date'}, table version {combined.version}"
    return Outcome(name=name, state="done" if combined.changed else "kept", said=said, reference=reference)
