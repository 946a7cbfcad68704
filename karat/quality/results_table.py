"""The table of results, ``catalog.monitoring.quality``: the result of every check, each time it ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from karat.clock import utc_now
from karat.lake import Lake
from karat.names import TableName


def _field(name: str, kind: pa.DataType, comment: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": comment})


SCHEMA = pa.schema(
    [
        _field("day", pa.date32(), "UTC day of checked_at"),
        _field("run", pa.string(), "the work that ran the checks; each work runs them once"),
        _field("table_name", pa.string(), "catalog.schema.table"),
        _field("check_name", pa.string(), "the check in words"),
        _field("table_version", pa.int64(), "Delta version that holds these rows; null if nothing was committed"),
        _field("on_fail", pa.string(), "block, warn, set_aside or null"),
        _field("state", pa.string(), "passed, warned, set_aside or blocked"),
        _field("rows", pa.int64(), "rows checked (days, for volume)"),
        _field("failed", pa.int64(), "how many of them fail"),
        _field("examples", pa.string(), "JSON list of at most three of them"),
        _field("contract", pa.string(), "fingerprint of the table's identity and all its rules"),
        _field("checked_at", pa.timestamp("us", tz="UTC"), "when the checks ran"),
    ]
)
KEY = ("day", "run", "table_name", "check_name")


def quality_name(catalog: str) -> TableName:
    """The table of results of a catalog."""
    return TableName(catalog, "monitoring", "quality")


def record_results(
    lake: Lake,
    table: TableName,
    rows: Sequence[dict[str, Any]],
    *,
    run: str,
    version: int | None,
    contract: str,
    at: datetime | None = None,
) -> None:
    """Record the results of one run; a run that is recorded already is skipped.

    Args:
        lake: The lake.
        table: The checked table.
        rows: Rows of ``CheckResult.as_row``.
        run: The work that ran the checks.
        version: The checked version; None if nothing was committed.
        contract: The fingerprint of the table's identity and rules.
        at: When the checks ran; now by default.
    """
    name = quality_name(table.catalog)
    if not rows or _recorded(lake, name, table, run, version):
        return
    moment = at or utc_now()
    frame = pl.DataFrame([dict(r) for r in rows]).with_columns(
        day=pl.lit(moment.date()),
        run=pl.lit(run),
        table_name=pl.lit(str(table)),
        table_version=pl.lit(version, pl.Int64),
        contract=pl.lit(contract),
        checked_at=pl.lit(moment),
    )
    lake.create(
        name,
        SCHEMA,
        primary_key=KEY,
        partition_by=("day",),
        description="results of the checks of gold and feature tables",
    )
    lake.merge(name, frame.select(SCHEMA.names))


def _recorded(lake: Lake, name: TableName, table: TableName, run: str, version: int | None) -> bool:
    mine = (pl.col("run") == run) & (pl.col("table_name") == str(table))
    return lake.exists(name) and bool(
        lake.scan(name).filter(mine & pl.col("table_version").eq_missing(version)).limit(1).collect().height
    )


def results(lake: Lake, catalog: str, table: TableName | None = None) -> pl.DataFrame:
    """All recorded results of a catalog, or of one of its tables, oldest first."""
    name = quality_name(catalog)
    if not lake.exists(name):
        empty = pl.from_arrow(SCHEMA.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return empty
    rows = lake.scan(name)
    if table is not None:
        rows = rows.filter(pl.col("table_name") == str(table))
    return rows.sort("checked_at", "check_name").collect()


def latest_results(lake: Lake, catalog: str) -> pl.DataFrame:
    """The newest result of each check of each table."""
    return results(lake, catalog).unique(["table_name", "check_name"], keep="last", maintain_order=True)
