"""Rows that broke a contract: kept as they came, with the place and the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from karat.lake import Lake
from karat.names import TableName
from karat.quality.check import Checked, as_json
from karat.quality.mapping import Mapped

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


def rows_aside(mapped: Sequence[Mapped], checked: Checked) -> pl.DataFrame:
    """``source``, ``place``, ``reason``, ``row``: the rows set aside as they were in their files, and the lines that
    were no rows."""
    parts: list[pl.DataFrame] = []
    start = 0
    for part in mapped:
        height = part.frame.height
        here = checked.aside.filter((pl.col("row_number") >= start) & (pl.col("row_number") < start + height))
        numbers = part.numbers.gather(here["row_number"] - start)
        own = part.source.rows.select(pl.all().gather(numbers - 1))
        rows = pl.DataFrame({"number": numbers, "reason": here["reason"], "row": as_json(own)})
        rows = rows.select(pl.format("row {}", "number").alias("place"), "reason", "row")
        source = pl.lit(str(part.source.path)).alias("source")
        parts.append(pl.concat([part.source.unread, rows]).select(source, pl.all()))
        start += height
    return pl.concat(parts)


def reasons_of(aside: pl.DataFrame) -> dict[str, int]:
    """How many rows for each reason, the most frequent first."""
    return dict(Counter(aside["reason"].to_list()).most_common())


def write_aside(lake: Lake, name: TableName, aside: pl.DataFrame, batch: str, *, replaces: bool) -> None:
    """Adds the rows of a batch, or replaces all; no table is made for no rows."""
    if not aside.height and not (replaces and lake.exists(name)):
        return
    lake.create(
        name,
        SCHEMA,
        primary_key=("batch", "number"),
        description=f"rows that broke the contract of {name.table.removesuffix('_set_aside')}",
    )
    rows = aside.with_row_index("number", 1).with_columns(pl.lit(batch).alias("batch"))
    if replaces:
        lake.overwrite(name, rows)
    else:
        lake.merge(name, rows)
