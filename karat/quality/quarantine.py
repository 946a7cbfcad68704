"""Rows that broke a contract: kept as they came, with the place and the reason."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from karat.declare.checks import RowCheck
from karat.fingerprint import fingerprint_bytes
from karat.lake import Lake
from karat.names import TableName
from karat.quality.mapping import MappedRows
from karat.quality.row_checks import REASON, as_json, reason_of

SCHEMA = pa.schema(
    [
        pa.field("batch", pa.string(), metadata={"comment": "the piece of work that set the row aside"}),
        pa.field("number", pa.int64(), metadata={"comment": "counts the rows of a batch"}),
        pa.field("source", pa.string(), metadata={"comment": "the file, or 'sample'"}),
        pa.field("place", pa.string(), metadata={"comment": "where in the source, counted from 1"}),
        pa.field("reason", pa.string(), metadata={"comment": "the first rule that the row breaks"}),
        pa.field("row", pa.string(), metadata={"comment": "the row as it came, as JSON"}),
    ]
)


def rows_aside(mapped: Sequence[MappedRows], reasons: Sequence[pl.Series]) -> pl.DataFrame:
    """``source``, ``place``, ``reason``, ``row``: the rows with a reason as they were in their files, and the lines
    that were no rows."""
    parts: list[pl.DataFrame] = []
    for part, reason in zip(mapped, reasons, strict=True):
        numbers = part.numbers.filter(reason.is_not_null())
        own = part.source.rows.select(pl.all().gather(numbers - 1))
        rows = pl.DataFrame({"number": numbers, "reason": reason.drop_nulls(), "row": as_json(own)})
        rows = rows.select(pl.format("row {}", "number").alias("place"), "reason", "row")
        source = pl.lit(str(part.source.path)).alias("source")
        parts.append(pl.concat([part.source.unread, rows]).select(source, pl.all()))
    return pl.concat(parts)


def write_aside(lake: Lake, name: TableName, aside: pl.DataFrame, batch: str, *, replaces: bool) -> None:
    """Adds the rows of a batch, or replaces all; no table is made for no rows."""
    if not aside.height and not (replaces and lake.exists(name)):
        return
    lake.create(name, SCHEMA, primary_key=("batch", "number"), description=_description(name))
    rows = aside.with_row_index("number", 1).with_columns(pl.lit(batch).alias("batch"))
    if replaces:
        lake.overwrite(name, rows)
    else:
        lake.merge(name, rows)


def keep_aside(lake: Lake, name: TableName, rows: pl.LazyFrame, checks: Sequence[RowCheck], key: Sequence[str]) -> None:
    """Copies the gold rows that break one of ``checks`` into the table of rows set aside: each key once, as it was
    seen last. The rows stay in gold; features are computed without them."""
    broken = rows.with_columns(reason_of(checks).alias(REASON)).filter(pl.col(REASON).is_not_null())
    found = broken.collect(engine="streaming")
    keys = as_json(found.select(key))
    aside = pl.DataFrame(
        {
            "batch": [f"read:{fingerprint_bytes(k.encode())}" for k in keys],
            "number": pl.repeat(1, found.height, dtype=pl.Int64, eager=True),
            "source": pl.repeat("gold", found.height, dtype=pl.String, eager=True),
            "place": keys,
            "reason": found[REASON],
            "row": as_json(found.drop(REASON)),
        }
    )
    lake.create(name, SCHEMA, primary_key=("batch", "number"), description=_description(name))
    lake.merge(name, aside)


def _description(name: TableName) -> str:
    return f"rows that broke the contract of {name.table.removesuffix('_set_aside')}"
