"""Dates in many forms: times with or without a zone, days, and text of these."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from karat.clock import check_year, utc_now
from karat.errors import WrongCall


def to_utc(given: datetime | date | str | None, timezone: str) -> datetime:
    """Convert to a UTC time: None is now, a day is its 00:00 UTC, a naive time is in ``timezone``.

    Args:
        given: A time, a day, text of either, or None.
        timezone: IANA name of the zone of naive times.

    Returns:
        The time in UTC.
    """
    if given is None:
        return utc_now()
    value = _checked(_parse(given) if isinstance(given, str) else given)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=ZoneInfo(timezone))
    return value.astimezone(UTC)


def to_day(given: datetime | date | str) -> date:
    """Convert to a UTC day."""
    value = _checked(_parse(given) if isinstance(given, str) else given)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date()
    return value


def _checked(value: datetime | date) -> datetime | date:
    """Raises WrongCall for a date outside of the years that count as times."""
    try:
        check_year(value)
    except ValueError as error:
        raise WrongCall(str(error), remedy="give a date of your data") from error
    return value


def _parse(text: str) -> datetime | date:
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    raise WrongCall(f"{text!r} is not a date", remedy="write it as in 2024-01-15 or 2024-01-15T10:30:00Z")
