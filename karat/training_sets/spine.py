"""Spine of a training set, stored as a Delta table: one commit per training set, rows ordered by a row number."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from karat.fingerprint import fingerprint_bytes
from karat.lake import Lake, StagedFile, Work
from karat.names import ModelName, TableName
from karat.training_sets.digest import RowDigest
from karat.training_sets.pins import StoredSpineRecord

#: The stored row number by which a training set's rows keep their order.
ROW_NUMBER = "karat_row"
KIND = "spine"
_PLAIN_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_AS_TEXT = (pl.UInt64, pl.Int128, pl.Decimal)
_AS_NUMBERS = (pl.Datetime, pl.Duration, pl.Time)


@dataclass(frozen=True)
class StoredSpine:
    """Location of a stored spine.

    Attributes:
        table: The spine table.
        version: Its Delta version.
        columns: Maps the spine's columns to the table's.
        schema: An empty Arrow file (base64) with the spine's column types.
    """

    table: TableName
    version: int
    columns: dict[str, str]
    schema: str

    def as_json(self) -> StoredSpineRecord:
        """Return the record that a model keeps."""
        return {"table": str(self.table), "version": self.version, "columns": self.columns, "schema": self.schema}

    @classmethod
    def from_json(cls, record: StoredSpineRecord) -> StoredSpine:
        """Read the record that a model keeps."""
        return cls(TableName.parse(record["table"]), record["version"], record["columns"], record["schema"])


def store_spine(lake: Lake, model: ModelName, spine: pl.DataFrame) -> StoredSpine:
    """Write ``spine`` as the next version of the model's spine table.

    Spines of other columns or types have a table of their own: ``catalog.models.spine__MODEL__SCHEMA``.

    Args:
        lake: The lake.
        model: The model that the spine belongs to.
        spine: Keys, time and label, ``(rows, columns)``. The same rows in the same order are not written again.

    Returns:
        The table and version that hold the spine.
    """
    return store_spine_parts(lake, model, spine.clear(), [spine])


def store_spine_parts(lake: Lake, model: ModelName, head: pl.DataFrame, parts: Iterable[pl.DataFrame]) -> StoredSpine:
    """Write a spine that comes in parts; see ``store_spine``.

    Args:
        lake: The lake.
        model: The model that the spine belongs to.
        head: The spine's columns, without rows.
        parts: The rows, in their order.

    Returns:
        The table and version that hold the spine.
    """
    columns, name = _table_columns(head), _spine_table(model, head)
    empty = _stored_rows(head, columns, 0)
    lake.create(
        name,
        empty.to_arrow().schema,
        primary_key=[ROW_NUMBER],
        description=f"Keys and labels of the training sets of {model}, one version each",
        properties={"karat.model": str(model), "karat.spine": "true"},
    )
    whole = RowDigest.of(empty)
    staged: list[StagedFile] = []
    try:
        for part in parts:
            rows = _stored_rows(part, columns, whole.rows)
            staged += lake.stage(name, rows, label=f"spine-{len(staged)}")
            whole += RowDigest.of(rows)
    except BaseException:
        lake.discard(name, staged)
        raise
    commit = lake.commit(name, staged, replace="all", work=Work(KIND, str(whole)))
    schema = base64.b64encode(head.write_ipc(None).getvalue()).decode()
    return StoredSpine(name, commit.version, columns, schema)


def _spine_table(model: ModelName, head: pl.DataFrame) -> TableName:
    meaning = fingerprint_bytes(repr([(c, str(t)) for c, t in head.schema.items()]).encode(), size=4)
    return TableName(model.catalog, "models", f"spine__{model.short.replace('.', '__')}__{meaning}")


def _stored_rows(spine: pl.DataFrame, columns: dict[str, str], first: int) -> pl.DataFrame:
    """The rows as the table has them, numbered from ``first``."""
    stored = pl.DataFrame([_to_stored_type(spine[c]).alias(name) for c, name in columns.items()])
    return stored.with_row_index(ROW_NUMBER, offset=first).with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))


def read_spine(lake: Lake, stored: StoredSpine) -> pl.DataFrame:
    """Read a stored spine with its columns, types and order, less the rows of erased people.

    Raises:
        DataError: The table's version is gone.
    """
    rows = lake.read_pinned(stored.table, stored.version).sort(ROW_NUMBER)
    types = pl.read_ipc(io.BytesIO(base64.b64decode(stored.schema))).schema
    return pl.DataFrame([_from_stored_type(rows[name], types[c]).alias(c) for c, name in stored.columns.items()])


def _table_columns(spine: pl.DataFrame) -> dict[str, str]:
    """Map each column to a name that Delta accepts: no spaces or brackets, no two that differ in case alone."""
    lower = [c.lower() for c in spine.columns]
    plain = [bool(_PLAIN_NAME.match(c)) and lower.count(c.lower()) == 1 for c in spine.columns]
    return {c: c if ok else f"karat_column_{i}" for i, (c, ok) in enumerate(zip(spine.columns, plain, strict=True))}


def _to_stored_type(column: pl.Series) -> pl.Series:
    """Cast to a type that the lake keeps without loss."""
    dtype = column.dtype
    if isinstance(dtype, _AS_TEXT) or dtype == pl.Null or isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, _AS_NUMBERS):
        return column.to_physical().cast(pl.Int64)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    return column.cast(pl.Float64) if dtype.is_float() else column


def _from_stored_type(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast a stored column back to the spine's type."""
    if dtype == pl.Null:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    return column.cast(dtype)
