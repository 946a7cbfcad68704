"""A frame against the contract of its gold table: the rows that keep it, and those set aside with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import polars as pl

from karat.declare import GoldTable
from karat.errors import ColumnMissing, KaratError, did_you_mean
from karat.quality.parse import parse

#: Why a row is set aside that has the key of a later one.
DUPLICATE = "duplicate key"


@dataclass(frozen=True)
class Checked:
    """``good`` has the contract's columns and types; ``aside`` is ``row_number`` (in the frame, from 0), ``reason``
    (the first found) and ``row`` as JSON; ``reasons`` counts them, the most frequent first."""

    good: pl.DataFrame
    aside: pl.DataFrame
    reasons: dict[str, int]


def check(
    frame: pl.DataFrame,
    table: GoldTable,
    *,
    timezone: str | None = None,
    problems: pl.Series | None = None,
) -> Checked:
    """Reads every value in the contract's type and sets aside the rows that break it.

    Set aside are rows with a value that can't be read, none where there must be one, one out of range or not allowed;
    of several rows with the same key the last stays. ``timezone`` is what naive times mean (the contract's by
    default); ``problems`` brings reasons that are known before, null where there is none. Raises ColumnMissing,
    NaiveTimestamp, SchemaMismatch for what is wrong with a whole column.
    """
    for name in table.columns:
        if name not in frame.columns:
            near = did_you_mean(name, set(frame.columns) - set(table.columns))
            raise ColumnMissing(f"the column {name!r} is missing", where=f"gold table {table.name!r}", remedy=near)
    reasons = [] if problems is None else [problems.alias("given")]
    values: list[pl.Series] = []
    for name in table.columns:
        value, found = _column(frame[name], name, table, timezone or table.timezone)
        values.append(value)
        reasons.extend(found)
    good = pl.DataFrame(values)
    reason = pl.select(pl.coalesce(*reasons)).to_series() if reasons else pl.Series([], dtype=pl.String)
    reason = _with_duplicates(good, reason, list(table.key))
    return _checked(frame, good, reason.alias("reason"))


def _column(column: pl.Series, name: str, table: GoldTable, timezone: str | None) -> tuple[pl.Series, list[pl.Series]]:
    """The column in its declared type, and for each rule the rows that break it, as a column of reasons."""
    rules = table.columns[name]
    try:
        parsed = parse(column, rules.dtype, timezone)
    except KaratError as error:
        raise type(error)(error.what, where=f"gold table {table.name!r}", remedy=error.remedy) from None
    values, found = parsed.values.alias(name), [_named(parsed.problem, name)]
    if rules.dtype == "string" and name in table.key:
        values = values.set(values.str.strip_chars() == "", None).alias(name)
    if name in table.key or not rules.nullable:
        text = "no value in key column" if name in table.key else "no value"
        found.append(_where(values.is_null(), f"{text}: {name}"))
    if rules.minimum is not None:
        found.append(_where(values < rules.minimum, f"below {rules.minimum:g}: {name}"))
    if rules.maximum is not None:
        found.append(_where(values > rules.maximum, f"above {rules.maximum:g}: {name}"))
    if rules.allowed is not None:
        found.append(_where(~values.cast(pl.String).is_in(list(rules.allowed)), f"not an allowed value: {name}"))
    return values, found


def _named(problem: pl.Series, column: str) -> pl.Series:
    return pl.select(problem + f": {column}").to_series() if problem.null_count() < len(problem) else problem


def _where(broken: pl.Series, reason: str) -> pl.Series:
    return pl.select(pl.when(broken).then(pl.lit(reason))).to_series()


def _with_duplicates(good: pl.DataFrame, reason: pl.Series, keys: list[str]) -> pl.Series:
    """Among the rows that keep all other rules, the last of each key stays."""
    rows = good.select(keys).with_columns(reason=reason).with_row_index("row")
    last = rows.filter(pl.col("reason").is_null()).unique(keys, keep="last").select("row", kept=True)
    marked = rows.join(last, on="row", how="left", maintain_order="left")
    doubled = pl.col("reason").is_null() & pl.col("kept").is_null()
    return marked.select(pl.when(doubled).then(pl.lit(DUPLICATE)).otherwise("reason")).to_series()


def _checked(frame: pl.DataFrame, good: pl.DataFrame, reason: pl.Series) -> Checked:
    broken = reason.is_not_null()
    rows = frame.with_row_index("row_number").filter(broken)
    aside = pl.DataFrame(
        {
            "row_number": rows["row_number"].cast(pl.Int64),
            "reason": reason.filter(broken),
            "row": as_json(rows.drop("row_number")),
        }
    )
    return Checked(good.filter(~broken), aside, dict(Counter(aside["reason"].to_list()).most_common()))


def as_json(frame: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object."""
    if not frame.height:
        return pl.Series("row", [], dtype=pl.String)
    return frame.select(pl.struct(pl.all()).struct.json_encode().alias("row")).to_series()
