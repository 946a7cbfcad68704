"""The spine of a training set as a Delta table: one commit per training set, its rows in the order of a row number."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from karat.lake import Lake, Work
from karat.names import ModelName, TableName

#: The stored row number by which a training set's rows keep their order.
ROW = "karat_row"
KIND = "spine"
_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_AS_TEXT = (pl.UInt64, pl.Int128, pl.Decimal)
_AS_NUMBERS = (pl.Datetime, pl.Duration, pl.Time)


@dataclass(frozen=True)
class StoredSpine:
    """Where a spine is: ``table`` at ``version``; ``columns`` maps its columns to the table's; ``schema`` is an empty
    Arrow file (base64) with the types that it had."""

    table: TableName
    version: int
    columns: dict[str, str]
    schema: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "table": str(self.table)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoredSpine:
        return cls(**{**record, "table": TableName.parse(record["table"])})


def store_spine(lake: Lake, model: ModelName, spine: pl.DataFrame, digest: str) -> StoredSpine:
    """Writes ``spine`` as the next version of the model's spine table; the one that stands there already stays.

    Spines of other columns or types have a table of their own: ``catalog.models.spine__MODEL__SCHEMA``.
    """
    columns = _names(spine)
    rows = pl.DataFrame([_stored(spine[c]).alias(name) for c, name in columns.items()]).with_row_index(ROW)
    rows = rows.with_columns(pl.col(ROW).cast(pl.Int64))
    schema = base64.b64encode(spine.clear().write_ipc(None).getvalue()).decode()
    meaning = hashlib.blake2b(repr([(c, str(t)) for c, t in spine.schema.items()]).encode(), digest_size=4).hexdigest()
    name = TableName(model.catalog, "models", f"spine__{model.name}__{meaning}")
    lake.create(
        name,
        pa.schema([pa.field(f.name, _delta(f.type)) for f in rows.to_arrow().schema]),
        primary_key=[ROW],
        description=f"Keys and labels of the training sets of {model}, one version each",
        properties={"karat.model": str(model), "karat.spine": "true"},
    )
    commit = lake.overwrite(name, rows, work=Work(KIND, digest))
    return StoredSpine(name, commit.version, columns, schema)


def read_spine(lake: Lake, stored: StoredSpine) -> pl.DataFrame:
    """The spine as it was: columns, types, order; less the rows of those who were erased.

    Raises what the lake raises where that version is gone."""
    rows = lake.read_pinned(stored.table, stored.version).sort(ROW)
    types = pl.read_ipc(io.BytesIO(base64.b64decode(stored.schema))).schema
    return pl.DataFrame([_restored(rows[name], types[c]).alias(c) for c, name in stored.columns.items()])


def _names(spine: pl.DataFrame) -> dict[str, str]:
    """Delta takes no spaces or brackets in a name, and takes A and a for the same."""
    lower = [c.lower() for c in spine.columns]
    plain = [bool(_PLAIN.match(c)) and lower.count(c.lower()) == 1 for c in spine.columns]
    return {c: c if ok else f"karat_column_{i}" for i, (c, ok) in enumerate(zip(spine.columns, plain, strict=True))}


def _stored(column: pl.Series) -> pl.Series:
    """In a type that the lake keeps without loss."""
    dtype = column.dtype
    if isinstance(dtype, _AS_TEXT) or dtype == pl.Null or isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, _AS_NUMBERS):
        return column.to_physical().cast(pl.Int64)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    return column.cast(pl.Float64) if dtype.is_float() else column


def _delta(kind: pa.DataType) -> pa.DataType:
    """Lists as Delta gives them back, so that a table that is there is found to be the one wanted."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", _delta(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _delta(f.type)) for f in kind])
    return pa.string() if pa.types.is_large_string(kind) else kind


def _restored(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if dtype == pl.Null:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    return column.cast(dtype)
