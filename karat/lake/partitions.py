"""Hidden partition columns: the value of a partition column stays in the file, and its folder has a safe name.

Delta reads '' as null, and each reader turns the text of a folder into a value by rules of its own. So only dates and
integers are partitioned by directly. Of another column the table has a hidden one that holds a token of each value: a
bucket for its rows, from which no reader takes a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import polars as pl
import pyarrow as pa

from karat.errors import SchemaMismatch
from karat.fingerprint import fingerprint_bytes
from karat.lake.records import TableInfo

#: How the names of hidden partition columns begin; a number follows.
PARTITION_PREFIX = "_partition_"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_FOLDER = 200  # file systems allow 255 bytes


def survives_path(field: pa.Field) -> bool:
    """Whether every reader gets all values of a column back from the names of folders: dates and integers."""
    kind = field.type
    return bool(_PLAIN_NAME.fullmatch(field.name)) and (pa.types.is_integer(kind) or pa.types.is_date(kind))


def partition_tokens(column: pl.Series) -> pl.Series:
    """A token of each value, safe as the name of a folder: the value itself if it is plain, else its digest.

    Two values may share a token. The tokens of a value never change: an upsert finds its key's partition by them.
    """
    values = column.unique().to_list()
    tokens = {value: _token(value) for value in values if value is not None}
    made = [None if value is None else tokens[value] for value in values]
    mapped = column.replace_strict(pl.Series(values, dtype=column.dtype), pl.Series(made, dtype=pl.String))
    return mapped.fill_null("_null")


def _token(value: object) -> str:
    text = str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else f"_{fingerprint_bytes(text.encode(), size=8)}"


def check_visible_partitions(frame: pl.DataFrame, info: TableInfo) -> None:
    """Refuse texts that a table's visible partition column cannot hold. Karat makes no such table any more.

    Raises:
        SchemaMismatch: A text is empty, which Delta reads as null, or too long for the name of a folder.
    """
    for column in info.partition_by:
        if column in info.hidden or frame.schema[column] != pl.String:
            continue
        for value in frame[column].drop_nulls().unique():
            if not value or len(quote(value, safe="")) > _LONGEST_FOLDER:
                raise SchemaMismatch(
                    f"the partition column {column!r} cannot hold {value[:40]!r}: Delta reads an empty text as null, "
                    "and a long one is no name of a folder",
                    where=str(info.name),
                    remedy="give these rows another value, or drop the table and create it again: Karat's tables "
                    "hold every text in a partition column now; nothing was written",
                )


def with_hidden_columns(schema: pa.Schema, partition_by: Sequence[str]) -> tuple[pa.Schema, dict[str, str]]:
    """Add the hidden partition columns to a schema.

    Args:
        schema: The columns.
        partition_by: The columns to partition by.

    Returns:
        The schema, and partition column -> the column whose values it groups, in the order of ``partition_by``.
    """
    every = all(name in partition_by for name in schema.names)  # a file needs a column of its own
    partitions: dict[str, str] = {}
    for number, column in enumerate(partition_by, 1):
        if survives_path(schema.field(column)) and not every:
            partitions[column] = column
            continue
        hidden = f"{PARTITION_PREFIX}{number}"
        partitions[hidden] = column
        comment = {"comment": f"a token of {column}, by which the files are grouped"}
        schema = schema.append(pa.field(hidden, pa.string(), metadata=comment))
    return schema, partitions


def add_tokens(frame: pl.DataFrame, hidden: Mapping[str, str]) -> pl.DataFrame:
    """Add hidden partition columns (hidden column -> the column whose values it groups) to rows."""
    return frame.with_columns(partition_tokens(frame[column]).alias(name) for name, column in hidden.items())
