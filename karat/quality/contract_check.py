"""A frame against the contract of its gold table: the rows that keep it, and those set aside with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from karat.declare import GoldTable
from karat.errors import ColumnMissing, KaratError, did_you_mean
from karat.quality.row_checks import REASON, as_json, reason_of
from karat.quality.text_parsing import parse

#: Why a row is set aside that has the key of a later one.
DUPLICATE = "duplicate key"


@dataclass(frozen=True)
class CheckedFrame:
    """``good`` has the contract's columns and types; ``aside`` is ``row_number`` (in the frame, from 0), ``reason``
    (the first found) and ``row`` as JSON; ``reasons`` counts them, the most frequent first."""

    good: pl.DataFrame
    aside: pl.DataFrame
    reasons: dict[str, int]


@dataclass(frozen=True)
class Judged:
    """``rows`` in the contract's types, and why each breaks it, null where it does not."""

    rows: pl.DataFrame
    reason: pl.Series


def check(frame: pl.DataFrame, table: GoldTable, *, timezone: str | None = None) -> CheckedFrame:
    """Reads every value in the contract's type and sets aside the rows that break it.

    Set aside are rows with a value that can't be read, none where there must be one, one out of range or not allowed;
    of several rows with the same key the last stays. ``timezone`` is what naive times mean (the contract's by
    default). Raises ColumnMissing, NaiveTimestamp, SchemaMismatch for what is wrong with a whole column.
    """
    good, (reason,) = conclude([judge(frame, table, timezone=timezone)], table)
    broken = reason.is_not_null()
    numbers = frame.select(pl.int_range(pl.len()).alias("row_number")).to_series()
    parts = [numbers.filter(broken), reason.filter(broken), as_json(frame.filter(broken))]
    aside = pl.DataFrame(parts, schema={"row_number": pl.Int64, "reason": pl.String, "row": pl.String})
    return CheckedFrame(good, aside, reasons_of(aside))


def judge(
    frame: pl.DataFrame, table: GoldTable, *, timezone: str | None = None, problems: pl.Series | None = None
) -> Judged:
    """Every rule but that of the key's uniqueness, which is for all inputs together. ``problems`` are reasons that are
    known before, null where there is none. Raises as ``check`` does."""
    for name in table.columns:
        if name not in frame.columns:
            near = did_you_mean(name, set(frame.columns) - set(table.columns))
            raise ColumnMissing(f"the column {name!r} is missing", where=f"gold table {table.name!r}", remedy=near)
    reasons = [] if problems is None else [problems.cast(pl.String).alias("given")]
    values: list[pl.Series] = []
    for name in table.columns:
        value, problem = _column(frame[name], name, table, timezone or table.timezone)
        values.append(value)
        own = [c for c in table.column_rules if c.columns == (name,)]
        reasons += [problem, pl.DataFrame([value]).with_columns(reason_of(own).alias(REASON))[REASON]]
    rows = pl.DataFrame(values)
    declared = rows.with_columns(reason_of(table.aside_rules[len(table.column_rules) :]).alias(REASON))[REASON]
    return Judged(rows, pl.select(pl.coalesce(*reasons, declared).alias("reason")).to_series())


def conclude(parts: Sequence[Judged], table: GoldTable) -> tuple[pl.DataFrame, list[pl.Series]]:
    """The good rows of all parts, and each part's reasons: among rows that keep all other rules, the last of each key
    stays."""
    keys = list(table.key)
    rows = pl.concat([p.rows for p in parts])
    reason = pl.concat([p.reason for p in parts])
    marked = rows.select(keys).with_columns(reason=reason).with_row_index("row")
    last = marked.filter(pl.col("reason").is_null()).unique(keys, keep="last")["row"]
    kept = pl.select(pl.int_range(len(reason), dtype=pl.UInt32).is_in(last.implode())).to_series()
    reason = pl.select(pl.when(reason.is_null() & ~kept).then(pl.lit(DUPLICATE)).otherwise(reason)).to_series()
    starts = accumulate((p.rows.height for p in parts), initial=0)
    return rows.filter(kept), [reason.slice(n, p.rows.height) for n, p in zip(starts, parts, strict=False)]


def _column(column: pl.Series, name: str, table: GoldTable, timezone: str | None) -> tuple[pl.Series, pl.Series]:
    """The column in its declared type, and why a row's value can't be read in it, null where it can."""
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


def reasons_of(aside: pl.DataFrame) -> dict[str, int]:
    """How many rows for each reason, the most frequent first."""
    return dict(Counter(aside["reason"].to_list()).most_common())
