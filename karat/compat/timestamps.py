"""Dates as people write them: a time with its zone, one of the project's zone, a day, or text of any of these."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from karat.clock import utc_now
from karat.errors import WrongCall


def moment(given: datetime | date | str | None, timezone: str) -> datetime:
    """``given`` as a time in UTC: None is now, a day its 00:00 UTC, a time without a zone is of ``timezone``."""
    if given is None:
        return utc_now()
    value = _parsed(given) if isinstance(given, str) else given
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=ZoneInfo(timezone))
    return value.astimezone(UTC)


def day(given: datetime | date | str) -> date:
    """The UTC day that is meant; a time's own day."""
    value = _parsed(given) if isinstance(given, str) else given
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date()
    return value


def _parsed(text: str) -> datetime | date:
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    raise WrongCall(f"{text!r} is no date", remedy="write it as in 2024-01-15 or 2024-01-15T10:30:00Z")
