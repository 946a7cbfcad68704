"""Training is due on the project's own day, in its own time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from karat.declare import Project, ProjectSpec
from tasks.schedule import is_due


def project(zone: str, training: str) -> Project:
    spec = ProjectSpec(description="p", owner="o", timezone=zone, schedules={"training": training})
    return Project("p", None, "dev", spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("zone", "cron", "now", "due"),
    [
        ("UTC", "0 4 * * 0", "2026-11-22T00:00+00:00", True),  # a Sunday, before and after the hour
        ("UTC", "0 4 * * 0", "2026-11-22T23:59+00:00", True),
        ("UTC", "0 4 * * 0", "2026-11-21T23:59+00:00", False),
        ("UTC", "0 4 * * 0", "2026-11-23T00:00+00:00", False),
        # Sunday 20:00 in New York is Monday in UTC; Monday 08:00 in Tokyo is Sunday there.
        ("America/New_York", "0 4 * * 0", "2026-11-23T01:00+00:00", True),
        ("Asia/Tokyo", "0 4 * * 0", "2026-11-22T23:00+00:00", False),
        ("UTC", "0 0 * * *", "2026-11-23T12:00+00:00", True),  # at midnight itself
        ("Europe/Berlin", "30 2 * * 0", "2026-03-29T12:00+00:00", True),  # an hour that this day does not have
        ("Europe/Berlin", "30 2 * * 0", "2026-10-25T12:00+00:00", True),  # and one that it has twice
        ("UTC", "0 4 1 1 *", "2026-01-01T12:00+00:00", True),
        ("UTC", "0 4 1 1 *", "2026-01-02T12:00+00:00", False),
    ],
)
def test_training_is_due(zone: str, cron: str, now: str, due: bool):
    assert is_due(project(zone, cron), "training", datetime.fromisoformat(now)) is due
    local = datetime.fromisoformat(now).astimezone(ZoneInfo(zone))
    assert is_due(project(zone, cron), "training", local) is due
