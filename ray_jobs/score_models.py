"""Batch predictions of the champions, each into its table of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from infra.job_records import Outcome
from karat.inference import score_model
from ray_jobs.model_task import ModelWork, for_each_model
from ray_jobs.program import Job, log, main


def work(job: Job) -> Iterator[Outcome]:
    return for_each_model(job, score)


def score(model: ModelWork) -> Outcome:
    """Raises NoChampion, and StaleFeatures where the features are not up to date with gold."""
    name = model.spec.name
    scored = score_model(model.project, model.spec, model.lake, model.registry)
    log.info(
        "%s: %s, table version %d", name, f"{scored.rows} rows" if scored.changed else "up to date", scored.version
    )
    reference = asdict(scored) | {"table": str(scored.table)}
    return Outcome(name=name, state="done" if scored.changed else "kept", reference=reference)


if __name__ == "__main__":
    main(work)
