"""Where the rows of a gold table came from, and the names of what stands beside it."""

from __future__ import annotations

import json

from karat.declare import GoldTable, Project
from karat.lake import Lake
from karat.names import TableName

#: The kind of work by which gold is written; its detail has ``origin``: "sample" or "ingest".
GOLD_WORK = "gold"
SAMPLE, INGEST = "sample", "ingest"


def origin(lake: Lake, name: TableName) -> str | None:
    """``"sample"``, ``"ingest"``, or None where the table is not there, is empty, or was written by other means."""
    if not lake.exists(name):
        return None
    work = lake.last_work(name, GOLD_WORK)
    if work is not None:
        return work.detail.get("origin")
    return lake.info(name).properties.get("karat.origin") if has_rows(lake, name) else None


def has_rows(lake: Lake, name: TableName) -> bool:
    return lake.scan(name).limit(1).collect().height > 0


def awaited_gold(project: Project, lake: Lake) -> tuple[str, ...]:
    """The declared gold tables without rows, where others hold rows that a user brought: his are still to come.

    Nothing is sampled beside real rows, so what reads these tables waits. () where no table holds a user's rows. Tables
    of a sample's planted truth are never awaited.
    """
    names = {t.name: project.gold_name(t.name) for t in project.gold.values() if not t.truth}
    there = {t for t, name in names.items() if lake.exists(name) and has_rows(lake, name)}
    if all(origin(lake, names[t]) == SAMPLE for t in there):
        return ()
    return tuple(t for t in names if t not in there)


def set_aside_name(name: TableName) -> TableName:
    """The gold table that holds the rows set aside of another one."""
    return TableName(name.catalog, name.schema, f"{name.table}_set_aside")


def create_gold(lake: Lake, name: TableName, table: GoldTable, came_from: str) -> None:
    """The gold table as its contract has it; its origin stands in its properties for any Delta reader."""
    lake.create(
        name,
        table.schema,
        primary_key=table.key,
        timeseries=table.event_time,
        owner=table.owner,
        description=table.description,
        properties={"origin": came_from, "cluster_by": json.dumps(list(table.cluster_by))},
    )
