"""Step of one batch table: the predictions of several models side by side."""

from __future__ import annotations

from infra.job_records import BatchTableOutcome
from karat.declare import load_project
from karat.inference.combined_predictions import combine_predictions
from karat.lake import Lake
from karat.settings import Settings


def step(project: str, name: str) -> BatchTableOutcome:
    """Write the batch table; ``skipped`` if one of its models has no predictions yet."""
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    combined = combine_predictions(load_project(project, settings), name, lake)
    outcome = BatchTableOutcome(
        name=name,
        state="done" if combined.changed else "kept",
        summary=f"{combined.rows} rows {'written' if combined.changed else 'up to date'}, "
        f"table version {combined.version}",
        table=str(combined.table),
        version=combined.version,
        rows=combined.rows,
        missing=combined.waits,
    )
    if not combined.waits:
        return outcome
    summary = f"waits for the predictions of {', '.join(combined.waits)}"
    return outcome.model_copy(update={"state": "skipped", "summary": summary})
