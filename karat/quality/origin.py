"""Origin of a gold table's rows, and the names of the tables beside it."""

from __future__ import annotations

import json

from karat.declare import GoldTable, Project
from karat.lake import Lake
from karat.names import TableName

#: The kind of work that writes gold; its detail has ``origin``: "sample" or "ingest".
GOLD_WORK = "gold"
SAMPLE, INGEST = "sample", "ingest"


def origin(lake: Lake, name: TableName) -> str | None:
    """``sample`` or ``ingest``; None if the table is missing, empty, or was written by another program."""
    if not lake.exists(name):
        return None
    work = lake.last_work(name, GOLD_WORK)
    if work is not None:
        return work.detail.get("origin")
    return lake.info(name).properties.get("karat.origin") if has_rows(lake, name) else None


def has_rows(lake: Lake, name: TableName) -> bool:
    """Whether the table has rows."""
    return lake.scan(name).limit(1).collect().height > 0


def awaited_gold(project: Project, lake: Lake) -> tuple[str, ...]:
    """The gold tables that still wait for a user's rows.

    Nothing is sampled beside real rows, so features and models of these tables wait.

    Args:
        project: The project.
        lake: The lake.

    Returns:
        Declared tables without rows, if another table has ingested rows; else (). Tables of a sample's ground truth are
        never awaited.
    """
    names = {t.name: project.gold_name(t.name) for t in project.gold.values() if not t.truth}
    there = {t for t, name in names.items() if lake.exists(name) and has_rows(lake, name)}
    if all(origin(lake, names[t]) == SAMPLE for t in there):
        return ()
    return tuple(t for t in names if t not in there)


def quarantine_name(name: TableName) -> TableName:
    """The table that holds the rows set aside from a gold table."""
    return TableName(name.catalog, name.schema, f"{name.table}_set_aside")


def create_gold(lake: Lake, name: TableName, table: GoldTable, source: str) -> None:
    """Create the gold table of a contract; its origin is a property, for any Delta reader."""
    lake.create(
        name,
        table.schema,
        primary_key=table.key,
        timeseries=table.event_time,
        owner=table.owner,
        description=table.description,
        properties={"origin": source, "cluster_by": json.dumps(list(table.cluster_by))},
    )
