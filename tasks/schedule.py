"""Whether today is a project's day to train."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from karat.declare import Project


def training_is_due(project: Project, now: datetime) -> bool:
    """True where the training schedule fires at any time of ``now``'s day, in the project's time zone."""
    midnight = now.astimezone(ZoneInfo(project.spec.timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    following = next(CronSim(project.spec.schedules.training, midnight - timedelta(seconds=1)))
    return following.date() == midnight.date()
