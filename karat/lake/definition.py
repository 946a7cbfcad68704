"""Tables are made, and follow their definition."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.schema import Field

from karat.errors import CommitConflict
from karat.lake.schema import FIXED, Definition, changes, info_of
from karat.lake.transaction import ATTEMPTS, commit_properties, storing
from karat.names import TableName


def create_table(name: TableName, path: Path, wanted: Definition) -> None:
    """Makes the table, unless somebody else does at the same moment."""
    with storing(name):
        try:
            DeltaTable.create(
                path,
                wanted.schema,
                partition_by=list(wanted.partition_by) or None,
                description=wanted.description,
                configuration={**FIXED, **wanted.properties},
                raise_if_key_not_exists=False,
                commit_properties=commit_properties(0, uuid.uuid4().hex),
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(str(path)):
                raise


def evolve_table(name: TableName, path: Path, wanted: Definition) -> None:
    """Brings a table to its definition: only what differs is committed, so that the same definition twice leaves the
    table's version. Raises SchemaMismatch, CommitConflict."""
    with storing(name):
        for _ in range(ATTEMPTS):
            table = DeltaTable(path)
            version = table.version()
            try:
                _evolve(name, path, table, wanted)
                return
            except DeltaError:
                if DeltaTable(path).version() == version:
                    raise  # else another writer came between: look again at what differs now
    raise CommitConflict(f"{ATTEMPTS} attempts lost to other writers", where=str(name), remedy="run this again")


def _evolve(name: TableName, path: Path, table: DeltaTable, wanted: Definition) -> None:
    info = info_of(name, path, table)
    steps: list[Callable[[Any, CommitProperties], None]] = []
    added = [Field.from_arrow(f) for f in changes(info, wanted)]
    if added:
        steps.append(lambda alter, commit: alter.add_columns(added, commit_properties=commit))
    differing = {k: v for k, v in wanted.properties.items() if info.properties.get(k) != v}
    if differing:
        steps.append(
            lambda alter, commit: alter.set_table_properties(
                differing, raise_if_not_exists=False, commit_properties=commit
            )
        )
    if wanted.description != info.description:
        steps.append(lambda alter, commit: alter.set_table_description(wanted.description, commit_properties=commit))
    for field in wanted.schema:
        comment = (field.metadata or {}).get(b"comment", b"").decode()
        if comment != info.comments.get(field.name, comment):
            steps.append(_describe(field.name, comment))
    for step in steps:
        current = DeltaTable(path)
        step(current.alter, commit_properties(current.version() + 1, uuid.uuid4().hex))


def _describe(column: str, comment: str) -> Callable[[Any, CommitProperties], None]:
    return lambda alter, commit: alter.set_column_metadata(column, {"comment": comment}, commit_properties=commit)
