"""Row checks on rows: why each breaks one, which are kept, how many break each."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from karat.declare.checks import RowCheck
from karat.quality.check_results import EXAMPLES, CheckResult

#: Beside a table's own columns; no column of a table begins so.
REASON = "_reason"


def reason_of(checks: Sequence[RowCheck]) -> pl.Expr:
    """The first reason for which a row breaks one of ``checks``, null where it keeps them all."""
    found = [pl.when(broken).then(pl.lit(text)) for check in checks for broken, text in check.reasons()]
    return pl.coalesce(*found) if found else pl.lit(None, pl.String)


def aside_of(checks: Sequence[object]) -> list[RowCheck]:
    """Those that set rows aside."""
    return [c for c in checks if isinstance(c, RowCheck) and c.on_fail == "set_aside"]


def part(frame: pl.DataFrame, checks: Sequence[RowCheck]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that stay, and those set aside with their reason (the column REASON)."""
    judged = frame.with_columns(reason_of(aside_of(checks)).alias(REASON))
    return judged.filter(pl.col(REASON).is_null()).drop(REASON), judged.filter(pl.col(REASON).is_not_null())


def count(rows: pl.LazyFrame, checks: Sequence[RowCheck], shown: Sequence[str]) -> list[CheckResult]:
    """How many of ``rows`` break each check, in one pass; a second one, where any do, finds examples: their columns
    ``shown`` and those that the check reads."""
    counts = [check.broken().sum().alias(str(n)) for n, check in enumerate(checks)]
    total, *failed = rows.select(pl.len().alias("rows"), *counts).collect(engine="streaming").row(0)
    out = []
    for check, number in zip(checks, failed, strict=True):
        examples: tuple[str, ...] = ()
        if number:
            columns = list(dict.fromkeys((*shown, *check.columns)))
            some = rows.filter(check.broken()).select(columns).head(EXAMPLES).collect(engine="streaming")
            examples = tuple(as_json(some).to_list())
        out.append(CheckResult(check, total, number, examples))
    return out


def as_json(frame: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object."""
    if not frame.height:
        return pl.Series("row", [], dtype=pl.String)
    return frame.select(pl.struct(pl.all()).struct.json_encode().alias("row")).to_series()
