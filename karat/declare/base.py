"""Common parts of declarations: frozen records that refuse unknown fields, durations, time zones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from karat.errors import did_you_mean

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "w": "weeks"}


def parse_duration(value: object) -> object:
    """Parse ``"7d"``, ``"12h"``, ``"30m"``, ``"90s"`` or ``"2w"``; leave anything else to Pydantic.

    Raises:
        ValueError: The text is no duration.
    """
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*([dhmsw])", value.strip())):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration: write a whole number and d, h, m, s or w, as in '7d'")
    return value


def format_duration(value: timedelta) -> str:
    """Format a timedelta as the shortest text that ``parse_duration`` reads."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s" if seconds else "0d"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)]


def check_zone(zone: str) -> str:
    """Check that ``zone`` is an IANA time zone.

    Raises:
        ValueError: It is none; the message has the nearest name.
    """
    if zone not in (known := _known_zones()):
        raise ValueError(f"{zone!r} is not an IANA time zone. {did_you_mean(zone, known)}")
    return zone


@cache
def _known_zones() -> frozenset[str]:
    """All zones; listing the folder of zones takes ten milliseconds each time."""
    return frozenset(available_timezones())


TimeZone = Annotated[str, AfterValidator(check_zone)]


class FieldErrors(ValueError):
    """Errors between several fields of a record: (location, text) of each, the location as Pydantic gives it."""

    def __init__(self, found: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(text for _, text in self.found))


class Declaration(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
