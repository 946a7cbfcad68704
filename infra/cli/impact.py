"""Which champions the declarations as they are now would break, or leave with features of another meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from karat.declare import Project
from karat.errors import PlatformError, StoreError
from karat.names import TableName
from karat.registry import ModelVersion, Registry, open_registry
from karat.settings import Settings


def broken_champions(project: Project, settings: Settings) -> list[str]:
    """One line for each trouble of a champion; a line of its own where the registry can't be asked."""
    try:
        registry = open_registry(settings)
        champions = [s.champion for s in registry.standing(project.catalog) if s.champion]
        return [line for champion in champions for line in _troubles(project, registry, champion)]
    except (PlatformError, StoreError) as error:
        return [f"the champions could not be looked at: {error.what} ({error.where})"]


def _troubles(project: Project, registry: Registry, champion: ModelVersion) -> Iterator[str]:
    metadata = registry.metadata(champion)
    for lookup in metadata["lookups"]:
        yield from _of_lookup(project, champion, lookup)
    for function in metadata.get("functions", []):
        yield from _of_function(project, champion, function)


def _of_function(project: Project, champion: ModelVersion, function: dict[str, Any]) -> Iterator[str]:
    if function["project"] != project.name:
        return
    who, declared = f"{champion.name.name} version {champion.version}", project.functions.get(function["name"])
    if declared is None:
        yield f"{who} would break: it calls the feature function {function['name']}, which is no longer declared"
    elif declared.source_hash != function["source_hash"]:
        yield f"{who} would break: the feature function {function['name']} has another source now"


def _of_lookup(project: Project, champion: ModelVersion, lookup: dict[str, Any]) -> Iterator[str]:
    name = TableName.parse(lookup["table"])
    if name.catalog != project.catalog:
        return
    who = f"{champion.name.name} version {champion.version}"
    table = project.tables.get(name.table)
    if table is None:
        yield f"{who} would break: it reads {name.table}, which is no longer declared"
        return
    stored = {f.name for f in table.stored}
    gone = [feature for feature in lookup["columns"] if feature not in stored]
    if gone:
        yield f"{who} would break: {name.table} no longer has {', '.join(gone)}"
    elif lookup["definition_hash"] and lookup["definition_hash"] != table.definition_hash:
        yield f"{who} was trained on another definition of {name.table}: train it again"
