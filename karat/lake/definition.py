"""Creation of tables, and changes of their definition."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.schema import Field
from deltalake.table import TableAlterer
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt

from karat.errors import CommitConflict
from karat.lake.schema import TABLE_PROPERTIES, Definition, info_of, new_columns, new_properties
from karat.lake.transaction import ATTEMPTS, CommitLost, commit_properties, store_errors
from karat.names import TableName


def create_table(name: TableName, path: Path, wanted: Definition) -> None:
    """Create the table, unless another process creates it at the same moment."""
    with store_errors(name):
        try:
            DeltaTable.create(
                path,
                wanted.schema,
                partition_by=list(wanted.partition_by) or None,
                description=wanted.description,
                configuration={**TABLE_PROPERTIES, **wanted.properties},
                raise_if_key_not_exists=False,
                commit_properties=commit_properties(0, uuid.uuid4().hex),
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(str(path)):
                raise


def evolve_table(name: TableName, path: Path, wanted: Definition) -> None:
    """Bring a table to its definition. Only differences are committed: the same definition again makes no new version.

    Args:
        name: The table.
        path: Its folder.
        wanted: Its definition.

    Raises:
        SchemaMismatch: It exists with another definition.
        CommitConflict: Other writers were faster in every attempt.
    """
    attempts = Retrying(retry=retry_if_exception_type(CommitLost), stop=stop_after_attempt(ATTEMPTS))
    try:
        with store_errors(name):
            attempts(_attempt_evolution, name, path, wanted)
    except RetryError as error:
        raise CommitConflict(
            f"{ATTEMPTS} attempts to change the definition lost to other writers",
            where=str(name),
            remedy="wait until the other writers are done, then run this again",
        ) from error


def _attempt_evolution(name: TableName, path: Path, wanted: Definition) -> None:
    """One attempt. Raises CommitLost if another writer committed first."""
    table = DeltaTable(path)
    try:
        _evolve(name, path, table, wanted)
    except DeltaError as error:
        if DeltaTable(path).version() == table.version():
            raise
        raise CommitLost from error


def _evolve(name: TableName, path: Path, table: DeltaTable, wanted: Definition) -> None:
    info = info_of(name, path, table)
    steps: list[Callable[[TableAlterer, CommitProperties], None]] = []
    added = [Field.from_arrow(f) for f in new_columns(info, wanted)]
    if added:
        steps.append(lambda alter, commit: alter.add_columns(added, commit_properties=commit))
    differing = new_properties(info, wanted)
    if differing:
        steps.append(
            lambda alter, commit: alter.set_table_properties(
                differing, raise_if_not_exists=False, commit_properties=commit
            )
        )
    if wanted.description != info.description:
        steps.append(lambda alter, commit: alter.set_table_description(wanted.description, commit_properties=commit))
    for field in wanted.visible:
        comment = (field.metadata or {}).get(b"comment", b"").decode()
        if comment != info.comments.get(field.name, comment):
            steps.append(_describe(field.name, comment))
    for step in steps:
        current = DeltaTable(path)
        step(current.alter, commit_properties(current.version() + 1, uuid.uuid4().hex))


def _describe(column: str, comment: str) -> Callable[[TableAlterer, CommitProperties], None]:
    return lambda alter, commit: alter.set_column_metadata(column, {"comment": comment}, commit_properties=commit)
