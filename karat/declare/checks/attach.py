"""Checks bound to the table that declares them: columns that exist, and what is done where one is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from karat.declare.checks.base import Check
from karat.declare.checks.rows import Between, IsIn, Matches, NotNull, RowCheck
from karat.declare.checks.tables import Fresh, Unique, Volume
from karat.errors import did_you_mean

AnyCheck = Annotated[
    NotNull | Between | IsIn | Matches | Unique | Fresh | Volume,
    Field(discriminator="kind"),
]


def attached(
    checks: Iterable[AnyCheck], place: str, dtypes: Mapping[str, str | None], time: str | None, *, gold: bool
) -> tuple[AnyCheck, ...]:
    """``checks`` with their defaults. ValueError for the first that ``place`` (a table of these columns) can't have.

    A type of None is not known here: what it could tell is left out.
    """
    out: list[AnyCheck] = []
    for check in checks:
        for column in check.columns:
            if column not in dtypes:
                near = did_you_mean(column, dtypes)
                raise ValueError(f"the check {check.name!r} of {place} reads {column!r}, which is no column. {near}")
        read = {c: d for c in check.columns if (d := dtypes[c]) is not None}
        problem = check.problem(read, time) if len(read) == len(set(check.columns)) else None
        if problem:
            raise ValueError(f"the check {check.name!r} of {place} can't be kept: {problem}")
        if check.on_fail == "set_aside" and not isinstance(check, RowCheck):
            raise ValueError(f"the check {check.name!r} of {place} is of no single row: it can block or warn")
        if check.on_fail == "null" and (why := _null_problem(check, gold=gold)):
            raise ValueError(f"the check {check.name!r} of {place} can't set a value to null: {why}")
        if check.name in (c.name for c in out):
            raise ValueError(f"the check {check.name!r} of {place} is declared twice")
        out.append(check if check.on_fail else check.model_copy(update={"on_fail": check.default(gold=gold)}))
    return tuple(out)


def _null_problem(check: Check, *, gold: bool) -> str | None:
    """Why a failed check can't write null in place of a value, or None."""
    if not gold:
        return "only ingest does, into a gold table. Declare it on the gold column, or use on_fail='set_aside'"
    if not isinstance(check, Between | IsIn):
        return "it must name the one column of the value: use between or is_in, or on_fail='set_aside'"
    return None
