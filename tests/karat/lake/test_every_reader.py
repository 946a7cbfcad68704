"""Random frames of every type, key and partition: each reader returns what was written, or nothing is written."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import SchemaMismatch
from karat.lake import Lake
from karat.lake.schema import TABLE_PROPERTIES
from karat.names import TableName
from tests.profiles import examples

NAME = TableName("shop_dev", "features", "t")
#: Texts that a path, Delta or a reader's type inference could change.
ODD = ["", " ", "null", "NULL", "None", "nan", "NaN", "true", "007", "1e3", "2026-01-01", "a/b", "a%2Fb", "%", ".."]
ODD += ["a=b", "é", "e\u0301", "日本", "\U0001f600", "__HIVE_DEFAULT_PARTITION__", "con", "a b", "a\nb", "'", '"', "\\"]
ODD += ["x" * 300, "_null", "A", "a"]
TEXTS = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC))
VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "text": (pl.String(), TEXTS),
    "number": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pl.Float64(), st.floats()),
    "flag": (pl.Boolean(), st.booleans()),
    "day": (pl.Date(), st.dates()),
    "moment": (pl.Datetime("us", "UTC"), TIMES),
    "bytes": (pl.Binary(), st.binary(max_size=4)),
    "list": (pl.List(pl.Float64), st.lists(st.none() | st.floats(allow_nan=False), max_size=3)),
    "struct": (pl.Struct({"a": pl.String, "b": pl.Int64}), st.fixed_dictionaries({"a": TEXTS, "b": st.integers(0, 9)})),
}
KEYS = ("text", "number", "day", "moment")
PARTITIONS = (None, "text", "number", "real", "flag", "day", "moment", "bytes")


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, list[str], list[str]]:
    """Rows, a second batch with some of their keys, key columns, and partition columns."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True))
    names = {f"k_{k}": k for k in keys} | {f"v_{k}": k for k in VALUES}
    partition = draw(st.lists(st.sampled_from(sorted(names)), max_size=2, unique=True))
    partition = [c for c in partition if names[c] in PARTITIONS]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    batches = []
    for _ in range(2):
        batch: dict[tuple[Any, ...], dict[str, Any]] = {}
        for _ in range(draw(st.integers(1, 4))):
            new = tuple(draw(VALUES[k][1]) for k in keys)
            key = draw(st.sampled_from([new, *rows]))
            own = {c: draw(st.none() | VALUES[k][1]) for c, k in names.items() if c.startswith("v_")}
            batch[key] = dict(zip(names, key, strict=False)) | own
        rows |= batch
        schema = {c: VALUES[k][0] for c, k in names.items()}
        batches.append(pl.DataFrame(list(batch.values()), schema=schema))
    return batches[0], batches[1], [f"k_{k}" for k in keys], partition


def plain(rows: list[dict[str, Any]]) -> set[str]:
    """Rows in one spelling: readers differ in the class of a zone and of a NaN alone."""

    def spelled(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None).isoformat()
        if isinstance(value, float):
            return "nan" if math.isnan(value) else repr(value)
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, list):
            return [spelled(v) for v in value]
        return {k: spelled(v) for k, v in value.items()} if isinstance(value, dict) else value

    return {repr(sorted((k, spelled(v)) for k, v in row.items())) for row in rows}


def read_by_all(lake: Lake, columns: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows by Karat, Polars, deltalake, and DuckDB over deltalake's Arrow table."""
    folder = str(lake.path(NAME))
    delta = DeltaTable(folder)
    arrow = delta.to_pyarrow_table().select(columns)
    connection = duckdb.connect()
    connection.sql("SET TimeZone = 'UTC'")
    connection.register("rows", arrow)
    found = {
        "karat": lake.read(NAME).to_dicts(),
        "polars": pl.read_delta(folder).select(columns).to_dicts(),
        "deltalake": arrow.to_pylist(),
        "duckdb": connection.sql("SELECT * FROM rows").to_arrow_table().to_pylist(),
    }
    connection.close()
    return found


@settings(max_examples=examples(10), deadline=None)
@given(tables())
def test_every_reader_returns_what_was_written(made) -> None:
    first, second, keys, partition = made
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.create(NAME, first.clear().to_arrow().schema, primary_key=keys, partition_by=partition)
        expected = dict(zip(first.select(keys).rows(), first.to_dicts(), strict=True))
        lake.merge(NAME, first)
        lake.merge(NAME, second)
        expected |= dict(zip(second.select(keys).rows(), second.to_dicts(), strict=True))
        for _ in range(2):  # as merged, and after one row was erased
            for reader, rows in read_by_all(lake, first.columns).items():
                assert (reader, len(rows)) == (reader, len(expected))
                assert (reader, plain(rows)) == (reader, plain(list(expected.values())))
            gone = second.select(keys).head(1)
            lake.delete(NAME, gone)
            expected.pop(gone.row(0), None)
        lake.overwrite(NAME, second)
        assert plain(lake.read(NAME).to_dicts()) == plain(second.to_dicts())
        assert lake.info(NAME).schema.names == first.columns


def test_a_table_of_before_keeps_its_visible_partition(tmp_path) -> None:
    """Tables that were partitioned by the text itself stay so, and refuse the texts that they would lose."""
    lake = Lake(tmp_path)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("seg", pa.string())])
    DeltaTable.create(
        lake.path(NAME),
        schema,
        partition_by=["seg"],
        configuration={
            **TABLE_PROPERTIES,
            "karat.primary_key": '["id"]',
            "karat.timeseries": "",
            "karat.grain": "",
            "karat.lag": "0.0",
            "karat.owner": "",
        },
        raise_if_key_not_exists=False,
    )
    lake.create(NAME, schema, primary_key=["id"], partition_by=["seg"])
    lake.merge(NAME, pl.DataFrame({"id": ["a", "b"], "seg": ["k", None]}))
    for lost in ("", "x" * 300):
        with pytest.raises(SchemaMismatch, match="'seg'"):
            lake.merge(NAME, pl.DataFrame({"id": ["c"], "seg": [lost]}))
    assert lake.info(NAME).partition_by == ("seg",)
    assert lake.read(NAME).sort("id").rows() == [("a", "k"), ("b", None)]
