"""Time: the epoch, microseconds and days since it, and the one place that reads the system's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DATE = EPOCH.date()
#: The epoch as a proleptic Gregorian ordinal, for ``date.fromordinal``.
EPOCH_ORDINAL = EPOCH_DATE.toordinal()
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
SECOND_MICROSECONDS = 1_000_000
DAY_MICROSECONDS = 86_400_000_000
#: The years that a caller may name: windows and lags reach further, and pandas' nanoseconds end in 2262.
FIRST_YEAR, LAST_YEAR = 1700, 2261


def utc_now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def yesterday() -> date:
    """The last whole day, in UTC."""
    return utc_now().date() - DAY


def to_utc(value: datetime) -> datetime:
    """A time with a zone that a caller has named, in UTC.

    Raises:
        ValueError: It lies outside of the years that count as times.
    """
    check_year(value)  # first: in the year 1, or 9999, the shift itself overflows
    return value.astimezone(UTC)


def check_year(value: date) -> None:
    """Check a date or time that a caller has named.

    Raises:
        ValueError: It lies outside of the years that count as times.
    """
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"{value.isoformat()} is not between the years {FIRST_YEAR} and {LAST_YEAR}")


def microseconds(value: date | datetime) -> int:
    """Microseconds from the epoch to a time with a zone, or to 00:00 UTC of a date."""
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    return days(value) * DAY_MICROSECONDS


def from_microseconds(value: int) -> datetime:
    """The time that is ``value`` microseconds after the epoch, in UTC."""
    return EPOCH + value * MICROSECOND


def days(value: date) -> int:
    """Days from the epoch to a date."""
    return value.toordinal() - EPOCH_ORDINAL
