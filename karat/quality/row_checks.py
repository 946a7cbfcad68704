"""Row checks: why a row fails, which rows are kept, how many rows fail each check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from karat.declare.checks import RowCheck
from karat.quality.check_results import EXAMPLES, CheckResult
from karat.sql import unused_name

#: The column of reasons, unless a table has such a column itself.
REASON = "_reason"


def failure_reason(checks: Sequence[RowCheck]) -> pl.Expr:
    """The first reason for which a row breaks one of ``checks``; null if it keeps them all."""
    reasons = [pl.when(broken).then(pl.lit(text)) for check in checks for broken, text in check.reasons()]
    return pl.coalesce(*reasons) if reasons else pl.lit(None, pl.String)


def quarantine_rules(checks: Sequence[object]) -> list[RowCheck]:
    """The row checks whose broken rows are left out: in a table, a value that should be null counts as well."""
    return [c for c in checks if isinstance(c, RowCheck) and c.on_fail in ("set_aside", "null")]


def split_rows(frame: pl.DataFrame, checks: Sequence[RowCheck]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to keep, and the rows to set aside with the column ``reason_name(frame.columns)``."""
    name = reason_name(frame.columns)
    checked = frame.with_columns(failure_reason(quarantine_rules(checks)).alias(name))
    return checked.filter(pl.col(name).is_null()).drop(name), checked.filter(pl.col(name).is_not_null())


def reason_name(columns: Iterable[str]) -> str:
    """The column of reasons beside these columns: ``REASON``, unless one of them has that name."""
    return unused_name(columns, REASON)


def count_failures(rows: pl.LazyFrame, checks: Sequence[RowCheck], shown: Sequence[str]) -> list[CheckResult]:
    """Count the rows that break each check, in one pass. A second pass collects examples if there are any.

    Args:
        rows: The rows.
        checks: The checks.
        shown: Columns of an example, besides those that the check reads.

    Returns:
        One result per check.
    """
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
    # Polars writes no bytes as JSON.
    texts = frame.with_columns(pl.col(pl.Binary).bin.encode("hex"))
    return texts.select(pl.struct(pl.all()).struct.json_encode().alias("row")).to_series()
