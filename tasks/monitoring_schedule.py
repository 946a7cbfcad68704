"""Which monitoring checks are due: by the project's schedules, and for champions that no report covers yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from karat.declare import Project
from karat.lake import Lake
from karat.monitoring import CHECKS, SCHEDULES, Check, checks_of, first_checks, latest_checks
from tasks.scope import Scope


def due_checks(scope: Scope, versions: Mapping[str, int]) -> dict[str, list[Check]]:
    """Return the checks that are due, of the models whose champion's version is given.

    A check is due once on the day of its schedule, and on any later day until it is made up. The dataset check is also
    due if its newest report is of another version. Predictions and fairness of a new champion need rows that are still
    to come; a check that was never made counts as missed since the model's first report.

    Args:
        scope: The selected models.
        versions: Model -> version of its champion.

    Returns:
        Model -> its due checks, without models that have none.
    """
    project, lake = scope.project, Lake(scope.settings.lake, scope.settings.environment)
    known, first, now = latest_checks(lake, project.catalog), first_checks(lake, project.catalog), datetime.now(UTC)
    today = _day(project, now)
    fires = {check: last_scheduled_day(project, SCHEDULES[check], now) for check in CHECKS}

    def due(model: str, check: Check) -> bool:
        name, fired = str(project.model_name(model)), fires[check]
        newest = known.get((name, check))
        since = newest.at if newest else first.get(name)
        other = newest is None or newest.version != versions[model]
        missed = since is not None and fired is not None and _day(project, since) < fired
        return missed or (other and (check == "dataset" or fired == today))

    chosen = {m: [c for c in checks_of(spec) if due(m, c)] for m, spec in scope.models.items() if m in versions}
    return {model: checks for model, checks in chosen.items() if checks}


def last_scheduled_day(project: Project, schedule: str, now: datetime) -> date | None:
    """Return the last day up to ``now`` on which the schedule fires; None if it never did."""
    midnight = datetime.combine(_day(project, now) + timedelta(days=1), time(), ZoneInfo(project.spec.timezone))
    found = next(CronSim(getattr(project.spec.schedules, schedule), midnight, reverse=True), None)
    return None if found is None else found.date()


def _day(project: Project, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(project.spec.timezone)).date()


def requested_checks(scope: Scope, checks: Sequence[Check] | None) -> dict[str, list[Check]]:
    """Return model -> its checks among those named; all of them by default."""
    chosen = {m: [c for c in checks_of(spec) if c in (checks or CHECKS)] for m, spec in scope.models.items()}
    return {model: found for model, found in chosen.items() if found}
