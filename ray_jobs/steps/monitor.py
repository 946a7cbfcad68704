"""The reports of one champion."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from infra.job_records import JobError, Outcome
from karat.errors import NoChampion
from karat.monitoring import Check
from karat.monitoring.drift_check import DriftCheckResult, watch
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> Outcome:
    """``rows`` of the reference are what the job's driver commits, also where one of the checks failed; a model without
    a champion is left out."""
    day = date.fromisoformat(model.parameters["day"])
    checks = model.parameters["checks"][model.spec.name]
    try:
        told = watch(model.project, model.spec, model.lake, model.registry, checks=checks, day=day)
    except NoChampion as none:
        return Outcome(name=model.spec.name, state="skipped", said=none.what)
    found = told.found
    said = "; ".join(f"{one.check}: {one.said}" for one in found)
    rows = [row for one in found for row in one.rows.to_dicts()]
    warnings = [f"{one.check}: {', '.join(one.drifted)} drifted" for one in found if one.drifted]
    reports = [_told(model, one) for one in found]
    reference = {"reports": reports, "rows": rows, "warnings": warnings} if found or not told.failed else {}
    error = _failed(told.failed) if told.failed else None
    state = "done" if error is None else "failed"
    return Outcome(name=model.spec.name, state=state, said=said, reference=reference, error=error)


def _failed(errors: Mapping[Check, Exception]) -> JobError:
    """One error that names each check which failed; worth another try where one of them is."""
    known = {check: JobError.of(error) for check, error in errors.items()}
    first = next(iter(known.values()))
    what = "; ".join(f"the check {check!r} failed: {error.what}" for check, error in known.items())
    lines = "".join(error.traceback for error in known.values())
    transient = any(error.transient for error in known.values())
    return first.model_copy(update={"what": what, "transient": transient, "traceback": lines})


def _told(model: ModelWork, found: DriftCheckResult) -> dict[str, Any]:
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
