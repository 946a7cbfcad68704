"""Expiry of online rows: a row older than the lookback at the time of reading is EXPIRED; its values are not used."""

from __future__ import annotations

from datetime import timedelta

from karat.clock import MICROSECOND

_BEGINNING = -(1 << 63)


def lookback_microseconds(lookback: timedelta | None) -> int | None:
    """The greatest age of a row in microseconds; None if rows never expire."""
    return None if lookback is None else lookback // MICROSECOND


def oldest_time(at: int, lookback: int | None) -> int:
    """The earliest time of a row that is not expired at ``at``; both in microseconds UTC."""
    return _BEGINNING if lookback is None else at - lookback


def is_expired(time: int | None, at: int, lookback: int | None) -> bool:
    """Whether a row of ``time`` is too old at ``at``; a row without a time never is.

    Args:
        time: Microseconds UTC; None if the table has no time.
        at: The moment of reading, microseconds UTC.
        lookback: Microseconds; None if rows never expire.
    """
    return lookback is not None and time is not None and time < at - lookback
