"""Which reports are due: by the project's schedules, and of champions that none has told of yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from karat.declare import ModelSpec
from karat.lake import Lake
from karat.monitoring import CHECKS, SCHEDULES, Check, reported
from tasks.schedule import is_due
from tasks.scope import Scope


def due_checks(scope: Scope, versions: Mapping[str, int]) -> dict[str, list[Check]]:
    """Model -> its checks that are due, of the models whose champion's version is given; without those that have none.

    A check is due on the day of its schedule, once; that of the features also where its newest report is of another
    version. What a new champion predicts in a month, and how groups fare with it, is still to come.
    """
    lake = Lake(scope.settings.lake, scope.settings.environment)
    known, now = reported(lake, scope.project.catalog), datetime.now(UTC)
    today = [check for check in CHECKS if is_due(scope.project, SCHEDULES[check], now)]

    def due(model: str, check: Check) -> bool:
        day, version = known.get((str(scope.project.model_name(model)), check), (None, None))
        new = check == "dataset" and version != versions[model]
        return new or (check in today and (day, version) != (now.date(), versions[model]))

    chosen = {m: [c for c in checks_of(spec) if due(m, c)] for m, spec in scope.models.items() if m in versions}
    return {model: checks for model, checks in chosen.items() if checks}


def asked_checks(scope: Scope, checks: Sequence[Check] | None) -> dict[str, list[Check]]:
    """Model -> its checks of those named; of all, by default."""
    chosen = {m: [c for c in checks_of(spec) if c in (checks or CHECKS)] for m, spec in scope.models.items()}
    return {model: found for model, found in chosen.items() if found}


def checks_of(spec: ModelSpec) -> list[Check]:
    """How groups fare is asked of models that declare some."""
    return [check for check in CHECKS if check != "fairness" or spec.protected]
