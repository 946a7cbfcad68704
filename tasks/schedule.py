"""Whether a schedule of the project fires today."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from karat.declare import Project


def is_due(project: Project, schedule: str, now: datetime) -> bool:
    """Return whether the schedule fires at any time of ``now``'s day, in the project's time zone."""
    midnight = now.astimezone(ZoneInfo(project.spec.timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    following = next(CronSim(getattr(project.spec.schedules, schedule), midnight - timedelta(seconds=1)))
    return following.date() == midnight.date()
