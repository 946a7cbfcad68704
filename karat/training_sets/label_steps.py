"""Labels of a forecast: one expression on consecutive windows after each row, computed by one query."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from karat.clock import MICROSECOND
from karat.declare.gold import GoldTable
from karat.declare.models import Label
from karat.sql import connect, plain_times, quote


def label_steps(
    label: Label, gold: GoldTable, rows: pl.DataFrame, spine: pl.DataFrame, *, start: timedelta
) -> pl.Series:
    """Compute the parts of ``label`` for each row of ``spine``.

    Step k of a row of day D is the window of one horizon that begins at D + offset + ``start`` + k horizons. Gold and
    spine rows meet in buckets as wide as all steps together, so that the work grows with the rows of a window, not with
    those of an entity.

    Args:
        label: The label; it has a horizon and steps.
        gold: The gold table.
        rows: Its rows.
        spine: The row's time ``t`` and the columns by which gold is joined, under gold's names.
        start: The table's ``label_start``: of an event one microsecond, so that no window holds the event itself.

    Returns:
        A struct for each row of ``spine``, ``(rows,)``; null where a step has no value.

    Raises:
        duckdb.Error: The expression fails.
    """
    assert label.horizon is not None
    assert label.steps is not None
    names = [c for c in spine.columns if c != "t"]
    asked = spine.with_columns(
        pl.int_range(pl.len()).alias("__row"),
        pl.col("t").cast(pl.Datetime("us")).to_physical().alias("__from") + (label.offset + start) // MICROSECOND,
    )
    on = " AND ".join(f"e.{quote(name)} = s.{quote(name)}" for name in names)
    window = label.horizon // MICROSECOND
    query = f"""
        WITH kept AS (SELECT * FROM gold WHERE {label.where or "true"}),
        timed AS (SELECT *, epoch_us({quote(str(gold.event_time))}::TIMESTAMP) AS __us FROM kept),
        e AS (SELECT *, __us // {window * label.steps} AS __bucket FROM timed),
        s AS (SELECT *, unnest([__from // {window * label.steps}, __from // {window * label.steps} + 1]) AS __bucket
            FROM (SELECT __row, __from, {", ".join(quote(n) for n in names)} FROM spine))
        SELECT s.__row, (e.__us - s.__from) // {window} AS __step, ({label.expression}) AS __label
        FROM s JOIN e ON e.__bucket = s.__bucket AND {on}
        WHERE e.__us >= s.__from AND e.__us < s.__from + {window * label.steps}
        GROUP BY 1, 2
    """
    # One thread: several threads add floats in varying order, and the digest of equal data would differ.
    with connect(threads=1) as connection:
        connection.register("gold", plain_times(rows))
        connection.register("spine", asked)
        found = connection.sql(query).pl()
    return _pivot_steps(label, asked.select("__row"), found)


def _pivot_steps(label: Label, rows: pl.DataFrame, found: pl.DataFrame) -> pl.Series:
    wide = rows
    for index, name in enumerate(label.parts):
        step = found.filter(pl.col("__step") == index).select("__row", pl.col("__label").cast(pl.Float64).alias(name))
        there = pl.lit(True).alias("__found")
        wide = wide.join(step.with_columns(there), on="__row", how="left", maintain_order="left")
        if label.default is not None:
            wide = wide.with_columns(pl.when("__found").then(name).otherwise(pl.lit(label.default)).alias(name))
        wide = wide.drop("__found")
    return pack_struct(wide.drop("__row"), label.name)


def pack_struct(parts: pl.DataFrame, name: str) -> pl.Series:
    """Pack columns into one struct column; null where a part is null or not a number."""
    parts = parts.fill_nan(None)
    known = pl.all_horizontal(pl.all().is_not_null())
    return parts.select(pl.when(known).then(pl.struct(pl.all())).alias(name)).to_series()
