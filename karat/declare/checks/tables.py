"""Checks of a table as a whole: rows against rows, its newest day, its rows a day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from karat.declare.base import Duration, format_duration, parse_duration
from karat.declare.checks.base import Check, OnFail


class Unique(Check):
    """No two rows have the same values in ``of``; rows with a null in one of them are not compared."""

    kind: Literal["unique"] = "unique"
    of: tuple[str, ...] = Field(min_length=1)

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return self.of

    @property
    @override
    def name(self) -> str:
        return f"{', '.join(self.of)} {'is' if len(self.of) == 1 else 'are'} unique"


class Fresh(Check):
    """The newest row is not older than ``within`` before ``as_of`` (its end, UTC; now by default)."""

    kind: Literal["fresh"] = "fresh"
    within: Duration
    as_of: date | None = None

    @property
    @override
    def name(self) -> str:
        return f"fresh within {format_duration(self.within)}" + (f" of {self.as_of}" if self.as_of else "")

    @override
    def default(self, *, gold: bool) -> OnFail:
        return "warn"

    @override
    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        return None if time else "without a time a table can't be fresh or stale"


class Volume(Check):
    """Rows a day, for each of the ``last`` days up to the newest; of a table without time, rows in all.

    ``fall`` and ``rise`` are shares of the median of the ``days`` days before (those that have rows): a day of less
    than ``(1 - fall) * median`` rows or more than ``(1 + rise) * median`` breaks it. A day without rows has 0 of them,
    and breaks it whatever the bounds are, unless ``gaps`` are allowed.
    """

    kind: Literal["volume"] = "volume"
    low: Annotated[int, Field(ge=0)] | None = None
    high: Annotated[int, Field(ge=0)] | None = None
    fall: Annotated[float, Field(gt=0, le=1)] | None = None
    rise: Annotated[float, Field(gt=0)] | None = None
    days: Annotated[int, Field(ge=1)] = 28
    last: Annotated[int, Field(ge=1)] = 7
    gaps: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Volume:
        if self.gaps and self.low is None and self.high is None and not self.relative:
            raise ValueError("volume says nothing: give low, high, fall or rise, or allow no gaps")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the volume's range is empty: {self.low} is above {self.high}")
        return self

    @property
    def relative(self) -> bool:
        """Whether the bounds are shares of a median."""
        return self.fall is not None or self.rise is not None

    @property
    @override
    def name(self) -> str:
        bounds = [
            f"at least {self.low}" if self.low is not None else "",
            f"at most {self.high}" if self.high is not None else "",
        ]
        bounds += [f"median -{self.fall:.0%}" if self.fall else "", f"median +{self.rise:.0%}" if self.rise else ""]
        bounds += ["" if self.gaps else "no day without"]
        return f"rows a day: {', '.join(filter(None, bounds))}"

    @override
    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        if time is None and (self.relative or (self.low is None and self.high is None)):
            return "without a time a table has no days: give low or high, which count its rows in all"
        return None


def unique(*columns: str, on_fail: OnFail | None = None, description: str = "") -> Unique:
    """Check that no two rows are alike in ``columns``; the primary key needs no such check."""
    return Unique(of=columns, on_fail=on_fail, description=description)


def fresh(
    within: str | timedelta, *, as_of: date | None = None, on_fail: OnFail | None = None, description: str = ""
) -> Fresh:
    """The newest day or event is at most ``within`` old, as in ``fresh("2d")``; ``as_of`` where now means nothing."""
    return Fresh(within=parse_duration(within), as_of=as_of, on_fail=on_fail, description=description)


def volume(
    low: int | None = None,
    high: int | None = None,
    *,
    fall: float | None = None,
    rise: float | None = None,
    days: int = 28,
    last: int = 7,
    gaps: bool = False,
    on_fail: OnFail | None = None,
    description: str = "",
) -> Volume:
    """Rows a day between ``low`` and ``high``, or around the median of the ``days`` before: ``volume(fall=0.5)``."""
    return Volume(
        low=low,
        high=high,
        fall=fall,
        rise=rise,
        days=days,
        last=last,
        gaps=gaps,
        on_fail=on_fail,
        description=description,
    )
