"""Quarantine: rows that broke a contract, unchanged, with their place and the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa

from karat.declare.checks import RowCheck
from karat.fingerprint import fingerprint_bytes
from karat.lake import Lake
from karat.names import TableName
from karat.quality.mapping import MappedRows
from karat.quality.row_checks import as_json, failure_reason, reason_name

SCHEMA = pa.schema(
    [
        pa.field("batch", pa.string(), metadata={"comment": "the work that set the row aside"}),
        pa.field("number", pa.int64(), metadata={"comment": "the row's number in its batch"}),
        pa.field("source", pa.string(), metadata={"comment": "the file, or 'sample'"}),
        pa.field("place", pa.string(), metadata={"comment": "place in the source, counted from 1"}),
        pa.field(
            "reason", pa.string(), metadata={"comment": "the first rule that the row breaks, or the value set to null"}
        ),
        pa.field("row", pa.string(), metadata={"comment": "the original row, as JSON"}),
    ]
)


@dataclass(frozen=True)
class RowsBeside:
    """Original rows to keep beside a gold table: ``source``, ``place``, ``reason`` and ``row``.

    Attributes:
        aside: Rows that break the contract.
        nulled: Rows that are in gold, but for a value that was set to null.
    """

    aside: pl.DataFrame
    nulled: pl.DataFrame


def quarantined_rows(mapped: Sequence[MappedRows], reasons: Sequence[pl.Series]) -> pl.DataFrame:
    """The rows of files that break the contract.

    Args:
        mapped: The rows of each file.
        reasons: Why each row of each file breaks the contract; null if it keeps it.

    Returns:
        ``source``, ``place``, ``reason`` and ``row``: the original rows, and the lines of CSV files that are no rows.
    """
    parts: list[pl.DataFrame] = []
    for part, reason in zip(mapped, reasons, strict=True):
        source = pl.lit(str(part.source.path)).alias("source")
        parts += [part.source.unread.select(source, pl.all()), original_rows(part, reason)]
    return pl.concat(parts)


def original_rows(part: MappedRows, reason: pl.Series) -> pl.DataFrame:
    """The original rows of a file that have a reason: ``source``, ``place``, ``reason`` and ``row``."""
    numbers = part.numbers.filter(reason.is_not_null())
    own = part.source.rows.select(pl.all().gather(numbers - 1))
    rows = pl.DataFrame({"number": numbers, "reason": reason.drop_nulls(), "row": as_json(own)})
    source = pl.lit(str(part.source.path)).alias("source")
    return rows.select(source, pl.format("row {}", "number").alias("place"), "reason", "row")


def write_quarantine(lake: Lake, name: TableName, aside: pl.DataFrame, batch: str, *, replaces: bool) -> None:
    """Write the rows of a batch to a quarantine table. No table is created for no rows.

    Args:
        lake: The lake.
        name: The quarantine table.
        aside: Rows as ``quarantined_rows`` gives them.
        batch: The work that set them aside.
        replaces: Whether they replace all rows.
    """
    if not aside.height and not (replaces and lake.exists(name)):
        return
    lake.create(name, SCHEMA, primary_key=("batch", "number"), description=_description(name))
    rows = aside.with_row_index("number", 1).with_columns(pl.lit(batch).alias("batch"))
    if replaces:
        lake.overwrite(name, rows)
    else:
        lake.merge(name, rows)


def quarantine_counts(lake: Lake, name: TableName) -> dict[str, int]:
    """The rows of a quarantine table by reason, the most frequent first; none if there is no such table."""
    if not lake.exists(name):
        return {}
    counts = lake.scan(name).group_by("reason").len("rows").sort("rows", "reason", descending=[True, False])
    return dict(counts.collect(engine="streaming").iter_rows())


def copy_to_quarantine(
    lake: Lake, name: TableName, rows: pl.LazyFrame, checks: Sequence[RowCheck], key: Sequence[str]
) -> None:
    """Copy the gold rows that break a check to the quarantine table: one per key, the latest seen.

    The rows stay in gold; features are computed without them.

    Args:
        lake: The lake.
        name: The quarantine table.
        rows: Gold rows.
        checks: Checks that set aside.
        key: Gold's key columns.
    """
    reason = reason_name(rows.collect_schema().names())
    broken = rows.with_columns(failure_reason(checks).alias(reason)).filter(pl.col(reason).is_not_null())
    rejected = broken.collect(engine="streaming")
    keys = as_json(rejected.select(key))
    aside = pl.DataFrame(
        {
            "batch": [f"read:{fingerprint_bytes(k.encode())}" for k in keys],
            "number": pl.repeat(1, rejected.height, dtype=pl.Int64, eager=True),
            "source": pl.repeat("gold", rejected.height, dtype=pl.String, eager=True),
            "place": keys,
            "reason": rejected[reason],
            "row": as_json(rejected.drop(reason)),
        }
    )
    lake.create(name, SCHEMA, primary_key=("batch", "number"), description=_description(name))
    lake.merge(name, aside)


def erase_from_quarantine(lake: Lake, name: TableName, keys: pl.DataFrame) -> int:
    """Delete the original rows that belong to one of the keys from a quarantine table.

    A file names its columns in its own way. A key column that the original row has is compared by its name, any other
    with every value of the row. A time is not compared, since a file may write it in any format, unless there is no
    other key column. A line that could not be read goes if it holds the key as a word.

    Args:
        lake: The lake.
        name: The quarantine table.
        keys: Rows of key columns of the gold table.

    Returns:
        The number of rows deleted.
    """
    if not lake.exists(name):
        return 0
    times = [c for c, dtype in keys.schema.items() if dtype.is_temporal()]
    compared = keys.drop(times) if len(times) < keys.width else keys
    wanted = [{_plain(c): _text(v) for c, v in row.items()} for row in compared.unique().rows(named=True)]
    texts = sorted({text for key in wanted for text in key.values()})
    rows = lake.scan(name).select("batch", "number", "row")
    near = rows.filter(pl.col("row").str.contains_any(texts)).collect()
    gone = near.filter(pl.Series([_belongs(row, wanted) for row in near["row"]], dtype=pl.Boolean))
    if gone.height:
        lake.delete(name, gone.select("batch", "number"))
    return gone.height


def _belongs(row: str, wanted: Sequence[dict[str, str]]) -> bool:
    """Whether an original row holds one of the keys."""
    try:
        values = json.loads(row)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return any(all(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", row) for text in key.values()) for key in wanted)
    named = {_plain(name): _text(value) for name, value in values.items()}
    known = set(named.values())
    return any(all(named[c] == text if c in named else text in known for c, text in key.items()) for key in wanted)


def _plain(name: str) -> str:
    """A column's name without case and punctuation: customerID is customer_id."""
    return re.sub(r"\W|_", "", name).casefold()


def _text(value: object) -> str:
    """A value as a file may write it: 5 for 5.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _description(name: TableName) -> str:
    return f"rows that broke the contract of {name.table.removesuffix('_set_aside')}"
