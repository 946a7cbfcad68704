"""The contract check: which rows of a frame keep the contract of a gold table, and why the others break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from karat.declare import GoldTable
from karat.errors import ColumnMissing, KaratError, did_you_mean
from karat.quality.row_checks import REASON, as_json, failure_reason
from karat.quality.text_parsing import parse
from karat.sql import unused_name

#: The reason of a row of which a value was set to null begins with this.
NULLED = "set to null: "
#: The reason of a row that has the key of a later row.
DUPLICATE = "duplicate key"


@dataclass(frozen=True)
class CheckedFrame:
    """A frame after the contract check.

    Attributes:
        good: The rows that keep the contract, in its columns and types.
        aside: The rows set aside: ``row_number`` (in the frame, from 0), ``reason`` (the first one) and ``row`` as
            JSON.
        reasons: How many rows have each reason, the most frequent first.
        nulled: The good rows of which a value was set to null, as ``aside``: once for each such value.
    """

    good: pl.DataFrame
    aside: pl.DataFrame
    reasons: dict[str, int]
    nulled: pl.DataFrame


@dataclass(frozen=True)
class CheckedRows:
    """Rows in the contract's types.

    Attributes:
        rows: The rows.
        reason: Why each row breaks the contract; null if it keeps it.
        nulled: For each rule that sets to null: why it did so in each row; null if it did not.
    """

    rows: pl.DataFrame
    reason: pl.Series
    nulled: tuple[pl.Series, ...] = ()


def check(frame: pl.DataFrame, table: GoldTable, *, timezone: str | None = None) -> CheckedFrame:
    """Read every value in the contract's type, and set aside the rows that break the contract.

    A row is set aside if a value cannot be read, is missing, out of range or not allowed. A rule with
    ``on_fail="null"`` sets the value to null instead. Of several rows with the same key the last is kept.

    Args:
        frame: Rows with the contract's columns, as text or typed.
        table: The gold table.
        timezone: IANA zone of naive times; the contract's by default.

    Returns:
        Good rows and rows set aside.

    Raises:
        ColumnMissing: A column of the contract is missing.
        NaiveTimestamp: Times have no zone, and none is given.
        SchemaMismatch: A column's type means something else.
    """
    checked = check_rows(frame, table, timezone=timezone)
    good, (reason,) = resolve_duplicates([checked], table)
    aside = _with_reasons(frame, reason)
    nulled = [_with_reasons(frame, why) for why in kept_nulls(checked, reason)]
    return CheckedFrame(good, aside, count_reasons(aside), pl.concat([aside.clear(), *nulled]))


def _with_reasons(frame: pl.DataFrame, reason: pl.Series) -> pl.DataFrame:
    """The rows that have a reason: their number, the reason, and the row as JSON."""
    told = reason.is_not_null()
    numbers = frame.select(pl.int_range(pl.len()).alias("row_number")).to_series()
    parts = [numbers.filter(told), reason.filter(told), as_json(frame.filter(told))]
    return pl.DataFrame(parts, schema={"row_number": pl.Int64, "reason": pl.String, "row": pl.String})


def kept_nulls(checked: CheckedRows, reason: pl.Series) -> list[pl.Series]:
    """Why values were set to null, one series for each rule, in the rows that have no ``reason`` to be set aside."""
    kept = reason.is_null()
    return [pl.select(pl.when(kept).then(why).alias("reason")).to_series() for why in checked.nulled]


def check_rows(
    frame: pl.DataFrame, table: GoldTable, *, timezone: str | None = None, problems: pl.Series | None = None
) -> CheckedRows:
    """Check every rule but the uniqueness of the key, which holds across all inputs.

    Args:
        frame: Rows with the contract's columns, as text or typed.
        table: The gold table.
        timezone: IANA zone of naive times; the contract's by default.
        problems: Reasons found before, null for rows without one.

    Returns:
        The rows and their reasons.

    Raises:
        ColumnMissing: As ``check``.
        NaiveTimestamp: As ``check``.
        SchemaMismatch: As ``check``.
    """
    for name in table.columns:
        if name not in frame.columns:
            near = did_you_mean(name, set(frame.columns) - set(table.columns))
            raise ColumnMissing(f"the column {name!r} is missing", where=f"gold table {table.name!r}", remedy=near)
    reasons = [] if problems is None else [problems.cast(pl.String).alias("given")]
    values: list[pl.Series] = []
    nulled: list[pl.Series] = []
    for name in table.columns:
        value, problem = _column(frame[name], name, table, timezone or table.timezone)
        for rule in (r for r in table.null_rules if r.column == name):
            why = pl.DataFrame([value]).with_columns(failure_reason([rule]).alias(REASON))[REASON]
            value = pl.select(pl.when(why.is_null()).then(value).alias(name)).to_series()
            nulled.append(NULLED + why)
        values.append(value)
        own = [c for c in table.column_rules if c.columns == (name,)]
        reasons += [problem, pl.DataFrame([value]).with_columns(failure_reason(own).alias(REASON))[REASON]]
    rows = pl.DataFrame(values)
    declared = rows.with_columns(failure_reason(table.aside_rules[len(table.column_rules) :]).alias(REASON))[REASON]
    return CheckedRows(rows, pl.select(pl.coalesce(*reasons, declared).alias("reason")).to_series(), tuple(nulled))


def resolve_duplicates(parts: Sequence[CheckedRows], table: GoldTable) -> tuple[pl.DataFrame, list[pl.Series]]:
    """Keep the last of several good rows with the same key.

    Args:
        parts: The checked rows of each input.
        table: The gold table.

    Returns:
        The good rows of all parts, and the reasons of each part, now with ``DUPLICATE``.
    """
    keys = list(table.key)
    rows = pl.concat([p.rows for p in parts])
    reason = pl.concat([p.reason for p in parts])
    why, place = unused_name(keys, "reason"), unused_name(keys, "row")
    marked = rows.select(keys).with_columns(reason.alias(why)).with_row_index(place)
    last = marked.filter(pl.col(why).is_null()).unique(keys, keep="last")[place]
    kept = pl.select(pl.int_range(len(reason), dtype=pl.UInt32).is_in(last.implode())).to_series()
    reason = pl.select(pl.when(reason.is_null() & ~kept).then(pl.lit(DUPLICATE)).otherwise(reason)).to_series()
    starts = accumulate((p.rows.height for p in parts), initial=0)
    return rows.filter(kept), [reason.slice(n, p.rows.height) for n, p in zip(starts, parts, strict=False)]


def _column(column: pl.Series, name: str, table: GoldTable, timezone: str | None) -> tuple[pl.Series, pl.Series]:
    """The column in its declared type, and why a value cannot be read in it; null if it can."""
    dtype = table.columns[name].dtype
    try:
        parsed = parse(column, dtype, timezone)
    except KaratError as error:
        raise type(error)(error.what, where=f"gold table {table.name!r}", remedy=error.remedy) from None
    values = parsed.values.alias(name)
    if dtype == "string" and name in table.key:
        values = values.set(values.str.strip_chars() == "", None).alias(name)
    return values, _named(parsed.problem, name)


def _named(problem: pl.Series, column: str) -> pl.Series:
    return pl.select(problem + f": {column}").to_series() if problem.null_count() < len(problem) else problem


def count_reasons(aside: pl.DataFrame) -> dict[str, int]:
    """How many rows have each reason, the most frequent first."""
    return dict(Counter(aside["reason"].to_list()).most_common())
