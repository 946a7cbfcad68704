"""One champion's report: what it reads, or what it says, against the training set that it pins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import Any

import polars as pl

from karat.clock import utc_now
from karat.errors import NoChampion
from karat.lifecycle import ModelContext, valid_champion
from karat.monitoring.drift_inputs import DriftInputs, features, predictions
from karat.monitoring.drift_table import POLARS, Check
from karat.monitoring.drift_thresholds import Finding, judged, nothing
from karat.monitoring.fairness import audited
from karat.monitoring.fairness_data import TASKS, audit_of
from karat.monitoring.reference_current import Champion
from karat.monitoring.report import draw, draw_groups
from karat.registry import Registry

#: Of each check the pages of so many days stay in MLflow: each brings its own scripts, some megabytes.
PAGES = 12
_TITLES: dict[Check, str] = {
    "dataset": "what it reads",
    "prediction": "what it predicts",
    "fairness": "how groups fare",
}


@dataclass(frozen=True)
class DriftCheckResult:
    """What a check found: ``rows`` of ``table.SCHEMA``, one a column; ``said`` in words."""

    check: Check
    rows: pl.DataFrame
    said: str

    @property
    def drifted(self) -> list[str]:
        """The columns that did, the farthest first."""
        far = self.rows.filter("drifted").sort(pl.col("statistic") / pl.col("threshold"), descending=True)
        return far["column_name"].to_list()


@dataclass(frozen=True)
class Reports:
    """``found``: of the checks that came to an end; ``failed``: what the others raised."""

    found: Sequence[DriftCheckResult]
    failed: Mapping[Check, Exception]


def watch(context: ModelContext, *, checks: Collection[Check], day: date) -> Reports:
    """The reports of a model's champion for ``day``; their pages are put among the artifacts of the champion's run.

    Where too few rows are new, its rows have no statistic and say so. A check that fails leaves the others. Raises
    NoChampion, and what reading the model and the keys of its training set raises.
    """
    version = valid_champion(context)
    if version is None:
        raise NoChampion(
            f"{context.name} has no champion that counts, so there is nothing to watch",
            where=context.registry.tracking_uri,
            remedy=f"train and promote one: karat run {context.project.name} --models {context.spec.name}",
        )
    champion = Champion.of(context, version)
    found: list[DriftCheckResult] = []
    failed: dict[Check, Exception] = {}
    for check in checks:
        try:
            found.append(_watched(champion, context.registry, check, day))
        except Exception as error:  # also what nobody foresaw: the other checks have nothing to do with it
            failed[check] = error
    return Reports(found, failed)


@dataclass(frozen=True)
class _Found:
    """``page`` makes the HTML page of a title; None where there is nothing to show."""

    findings: Sequence[Finding]
    said: str
    reference_rows: int = 0
    current_rows: int = 0
    first: date | None = None
    last: date | None = None
    page: Callable[[str], str] | None = None


def _watched(champion: Champion, registry: Registry, check: Check, day: date) -> DriftCheckResult:
    found = _FOUND[check](champion)
    report = None
    if found.page is not None:
        title = f"{champion.spec.name} version {champion.version.version}: {_TITLES[check]}, {day}"
        report = registry.attach(champion.version, f"monitoring/{day}-{check}.html", found.page(title), keep=PAGES)
    shared = {
        "day": day,
        "model_name": str(champion.version.name),
        "check_name": check,
        "model_version": champion.version.version,
        "run_id": champion.version.run_id,
        "reference_version": champion.loaded.metadata.digest,
        "reference_rows": found.reference_rows,
        "current_rows": found.current_rows,
        "first_day": found.first,
        "last_day": found.last,
        "report": report,
        "checked_at": utc_now(),
    }
    rows = [shared | _told(finding) for finding in found.findings]
    return DriftCheckResult(check, pl.DataFrame(rows, schema=POLARS, orient="row"), found.said)


def _told(finding: Finding) -> dict[str, Any]:
    told = asdict(finding)
    return {"column_name": told.pop("column"), **told}


def _dataset(champion: Champion) -> _Found:
    return _of(features(champion), champion.loaded.features)


def _prediction(champion: Champion) -> _Found:
    return _of(predictions(champion), ["prediction"])


def _of(sides: DriftInputs, names: Sequence[str]) -> _Found:
    """``names``: the columns of which is said why they can't be compared."""
    if sides.why:
        return _Found(nothing(names, sides.why), sides.why, first=sides.first, last=sides.last)
    findings = judged(sides.reference, sides.current, sides.history)
    rows = sides.reference.height, sides.current.height
    page = partial(draw, sides.reference, sides.current, findings, sides.told)
    return _Found(findings, _said(findings), *rows, sides.first, sides.last, page)


def _fairness(champion: Champion) -> _Found:
    spec = champion.spec
    if spec.task not in TASKS:
        why = f"groups are compared by whom a model picks, and a {spec.task} model picks nobody"
        return _Found(nothing(spec.protected, why), why)
    audit = audit_of(champion)
    findings, groups = audited(audit.rows, spec.protected)
    page = partial(draw_groups, findings, groups, audit.told)
    return _Found(findings, _said(findings), audit.tested, audit.newer, audit.first, audit.last, page)


_FOUND: dict[Check, Callable[[Champion], _Found]] = {
    "dataset": _dataset,
    "prediction": _prediction,
    "fairness": _fairness,
}


def _said(findings: Sequence[Finding]) -> str:
    drifted = [f.column for f in findings if f.drifted]
    shown = ", ".join(drifted[:5]) + (", ..." if len(drifted) > 5 else "")
    return f"{len(drifted)} of {len(findings)} over their threshold" + (f": {shown}" if drifted else "")
