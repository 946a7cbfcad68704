"""Step of one model: the checks of its champion."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from infra.job_records import DriftReport, JobError, MonitoringOutcome
from karat.errors import NoChampion
from karat.monitoring import Check
from karat.monitoring.drift_check import DriftCheckResult, check_champion
from ray_jobs.steps.model_work import ModelWork


def step(model: ModelWork) -> MonitoringOutcome:
    """Check the champion; ``skipped`` without one.

    ``rows`` of the outcome are complete even if one of the checks failed; the job's driver commits them.
    """
    day = date.fromisoformat(model.parameters["day"])
    checks = model.parameters["checks"][model.name]
    try:
        found = check_champion(model.context, checks=checks, day=day)
    except NoChampion as none:
        return MonitoringOutcome(name=model.name, state="skipped", summary=none.what)
    results = found.results
    error = _failed(found.failed) if found.failed else None
    return MonitoringOutcome(
        name=model.name,
        state="done" if error is None else "failed",
        summary="; ".join(f"{one.check}: {one.summary}" for one in results),
        warnings=tuple(f"{one.check}: {', '.join(one.drifted)} drifted" for one in results if one.drifted),
        reports=tuple(_report(model, one) for one in results),
        rows=tuple(row for one in results for row in one.rows.to_dicts()),
        error=error,
    )


def _failed(errors: Mapping[Check, Exception]) -> JobError:
    """One error that names every failed check; transient if one of them is."""
    known = {check: JobError.of(error) for check, error in errors.items()}
    first = next(iter(known.values()))
    what = "; ".join(f"the check {check!r} failed: {error.what}" for check, error in known.items())
    lines = "".join(error.traceback for error in known.values())
    transient = any(error.transient for error in known.values())
    return first.model_copy(update={"what": what, "transient": transient, "traceback": lines})


def _report(model: ModelWork, result: DriftCheckResult) -> DriftReport:
    first = result.rows.row(0, named=True)
    run = model.context.registry.client.get_run(first["run_id"])
    return DriftReport(
        check=result.check,
        summary=result.summary,
        columns=result.rows.height,
        drifted=tuple(result.drifted),
        experiment_id=run.info.experiment_id,
        days=None if first["first_day"] is None else f"{first['first_day']} to {first['last_day']}",
        **{c: first[c] for c in ("model_version", "run_id", "reference_rows", "current_rows", "report")},
    )
