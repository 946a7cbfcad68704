"""The reports of one champion."""

from __future__ import annotations

from datetime import date
from typing import Any

from infra.job_records import Outcome
from karat.errors import NoChampion
from karat.monitoring.watch import Watched, watch
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> Outcome:
    """``rows`` of the reference are what the job's driver commits; a model without a champion is left out."""
    day = date.fromisoformat(model.parameters["day"])
    checks = model.parameters["checks"][model.spec.name]
    try:
        found = watch(model.project, model.spec, model.lake, model.registry, checks=checks, day=day)
    except NoChampion as none:
        return Outcome(name=model.spec.name, state="skipped", said=none.what)
    said = "; ".join(f"{one.check}: {one.said}" for one in found)
    rows = [row for one in found for row in one.rows.to_dicts()]
    warnings = [f"{one.check}: {', '.join(one.drifted)} drifted" for one in found if one.drifted]
    reports = [_told(model, one) for one in found]
    reference = {"reports": reports, "rows": rows, "warnings": warnings}
    return Outcome(name=model.spec.name, state="done", said=said, reference=reference)


def _told(model: ModelWork, found: Watched) -> dict[str, Any]:
    first = found.rows.row(0, named=True)
    run = model.registry.client.get_run(first["run_id"])
    return {
        "experiment_id": run.info.experiment_id,
        "check": found.check,
        "said": found.said,
        "columns": found.rows.height,
        "drifted": found.drifted,
        **{c: first[c] for c in ("model_version", "run_id", "reference_rows", "current_rows", "report")},
        "days": None if first["first_day"] is None else f"{first['first_day']} to {first['last_day']}",
    }
