"""Drift check of one champion: its features, predictions or fairness against its training set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import polars as pl

from karat.clock import utc_now
from karat.errors import NoChampion
from karat.lifecycle import ModelContext, valid_champion
from karat.monitoring.drift_inputs import DriftInputs, feature_inputs, prediction_inputs
from karat.monitoring.drift_table import POLARS_SCHEMA, Check
from karat.monitoring.drift_thresholds import Finding, drift_findings, empty_findings
from karat.monitoring.fairness import audit_fairness
from karat.monitoring.fairness_data import fairness_data
from karat.monitoring.reference_current import Champion
from karat.monitoring.report import drift_page, fairness_page
from karat.registry import Registry
from karat.training.fairness import SELECTION_TASKS

#: MLflow keeps the pages of this many days per check: each page has its own scripts, some megabytes.
MAX_PAGES = 12
_TITLES: dict[Check, str] = {
    "dataset": "feature drift",
    "prediction": "prediction drift",
    "fairness": "fairness",
}


@dataclass(frozen=True)
class DriftCheckResult:
    """Result of a check.

    Attributes:
        check: The check.
        rows: One row per column, with the columns of ``drift_table.SCHEMA``.
        summary: The result in words.
    """

    check: Check
    rows: pl.DataFrame
    summary: str

    @property
    def drifted(self) -> list[str]:
        """The columns with drift, the farthest first."""
        far = self.rows.filter("drifted").sort(pl.col("statistic") / pl.col("threshold"), descending=True)
        return far["column_name"].to_list()


@dataclass(frozen=True)
class CheckResults:
    """Results of a champion's checks.

    Attributes:
        results: Results of the checks that finished.
        failed: Errors of the others, by check.
    """

    results: Sequence[DriftCheckResult]
    failed: Mapping[Check, Exception]


def check_champion(context: ModelContext, *, checks: Collection[Check], day: date) -> CheckResults:
    """Run checks of a model's champion and attach their pages to the champion's run.

    With too few new rows, a check's rows have no statistic and say why. A failed check does not stop the others.

    Args:
        context: The declared model with lake and registry.
        checks: The checks to run.
        day: UTC day of the report.

    Returns:
        The results and errors.

    Raises:
        NoChampion: The model has no valid champion.
    """
    version = valid_champion(context)
    if version is None:
        raise NoChampion(
            f"{context.name} has no valid champion to check",
            where=context.registry.tracking_uri,
            remedy=f"train and promote one: karat run {context.project.name} --models {context.spec.name}",
        )
    champion = Champion.load(context, version)
    results: list[DriftCheckResult] = []
    failed: dict[Check, Exception] = {}
    for check in checks:
        try:
            results.append(_run_check(champion, context.registry, check, day))
        except Exception as error:  # any error: the other checks do not depend on this one
            failed[check] = error
    return CheckResults(results, failed)


@dataclass(frozen=True)
class _Outcome:
    """Findings of a check; ``page`` renders HTML for a title, None if there is nothing to show."""

    findings: Sequence[Finding]
    summary: str
    reference_rows: int = 0
    current_rows: int = 0
    first: date | None = None
    last: date | None = None
    page: Callable[[str], str] | None = None


def _run_check(champion: Champion, registry: Registry, check: Check, day: date) -> DriftCheckResult:
    outcome = _CHECKS[check](champion)
    report = None
    if outcome.page is not None:
        title = f"{champion.spec.name} version {champion.version.version}: {_TITLES[check]}, {day}"
        path, page = f"monitoring/{day}-{check}.html", outcome.page(title)
        report = registry.attach(champion.version, path, page, keep=MAX_PAGES)
    shared = {
        "day": day,
        "model_name": str(champion.version.name),
        "check_name": check,
        "model_version": champion.version.version,
        "run_id": champion.version.run_id,
        "reference_version": champion.loaded.metadata.digest,
        "reference_rows": outcome.reference_rows,
        "current_rows": outcome.current_rows,
        "first_day": outcome.first,
        "last_day": outcome.last,
        "report": report,
        "checked_at": utc_now(),
    }
    rows = [shared | _finding_row(finding) for finding in outcome.findings]
    return DriftCheckResult(check, pl.DataFrame(rows, schema=POLARS_SCHEMA, orient="row"), outcome.summary)


def _finding_row(finding: Finding) -> dict[str, Any]:
    row = asdict(finding)
    return {"column_name": row.pop("column"), **row}


def _check_features(champion: Champion) -> _Outcome:
    return _compare(feature_inputs(champion), champion.loaded.features)


def _check_predictions(champion: Champion) -> _Outcome:
    return _compare(prediction_inputs(champion), ["prediction"])


def _compare(inputs: DriftInputs, names: Sequence[str]) -> _Outcome:
    """Compare the columns; ``names`` are the columns to report if there is nothing to compare."""
    if inputs.reason:
        reason = _joined(inputs.reason, inputs.left_out)
        return _Outcome(empty_findings(names, reason), reason, first=inputs.first, last=inputs.last)
    found = drift_findings(inputs.reference, inputs.current, inputs.history)
    findings = [replace(f, note=_joined(f.note, inputs.left_out)) for f in found]
    rows = inputs.reference.height, inputs.current.height
    page = partial(drift_page, inputs.reference, inputs.current, findings, inputs.notes)
    summary = _joined(_summary(findings), inputs.left_out)
    return _Outcome(findings, summary, *rows, inputs.first, inputs.last, page)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _check_fairness(champion: Champion) -> _Outcome:
    spec = champion.spec
    if spec.task not in SELECTION_TASKS:
        reason = f"fairness compares selection rates, and a {spec.task} model selects nobody"
        return _Outcome(empty_findings(spec.protected, reason), reason)
    audit = fairness_data(champion)
    declared = champion.context.project.fairness_of(spec)
    limits = {c: limit for c in spec.protected if (limit := declared.limit(c)) is not None}
    found, groups = audit_fairness(audit.rows, spec.protected, limits)
    findings = [replace(f, note=_joined(f.note, audit.left_out)) for f in found]
    page = partial(fairness_page, findings, groups, audit.notes)
    summary = _joined(_summary(findings), audit.left_out)
    return _Outcome(findings, summary, audit.tested, audit.newer, audit.first, audit.last, page)


_CHECKS: dict[Check, Callable[[Champion], _Outcome]] = {
    "dataset": _check_features,
    "prediction": _check_predictions,
    "fairness": _check_fairness,
}


def _summary(findings: Sequence[Finding]) -> str:
    drifted = [f.column for f in findings if f.drifted]
    shown = ", ".join(drifted[:5]) + (", ..." if len(drifted) > 5 else "")
    return f"{len(drifted)} of {len(findings)} over their threshold" + (f": {shown}" if drifted else "")
