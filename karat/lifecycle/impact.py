"""What a change of the declarations breaks: which features of which champions, and where these are served."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from karat.declare import Project
from karat.errors import BreakingChange
from karat.names import ModelName, TableName
from karat.registry.records import ModelVersion
from karat.registry.store import Registry


@dataclass(frozen=True)
class BrokenFeature:
    """One thing that a champion reads and that is not what it was: a feature of a table, a table or a function.

    ``changed`` is False where it is gone. ``endpoint`` is "" for a model that is not served.
    """

    model: ModelName
    version: int
    what: str
    changed: bool
    endpoint: str

    def __str__(self) -> str:
        how = "has another meaning now" if self.changed else "is no longer declared"
        served = f", served at {self.endpoint}" if self.endpoint else ""
        return f"{self.model.name} version {self.version}{served}: {self.what} {how}"


def breaks(project: Project, registry: Registry, tables: Collection[str] | None = None) -> list[BrokenFeature]:
    """What the declarations, as they are now, change under the champions of the project; ``tables``: in these alone."""
    champions = [s.champion for s in registry.standing(project.catalog) if s.champion]
    return [one for champion in champions for one in broken(project, registry, champion, tables)]


def broken(
    project: Project,
    registry: Registry,
    version: ModelVersion,
    tables: Collection[str] | None = None,
    *,
    functions: bool | None = None,
) -> list[BrokenFeature]:
    """Of one version; with its feature functions if ``functions``, which is so by default where ``tables`` is None."""
    metadata = registry.metadata(version)
    found = [*_of_lookups(project, metadata["lookups"], tables)]
    if tables is None if functions is None else functions:
        found += _of_functions(project, metadata.get("functions", []))
    endpoint = _endpoint(project, version.name)
    return [BrokenFeature(version.name, version.version, what, changed, endpoint) for what, changed in found]


def refuse(found: Sequence[BrokenFeature], project: Project) -> None:
    """Raises BreakingChange where there is any."""
    if found:
        raise BreakingChange(
            "champions read what the declarations change: " + "".join(f"\n  - {one}" for one in found),
            where=f"{project.path.name}/features",
            remedy="declare what is new under a name of its own and leave the old feature until no champion reads it; "
            f"or let it be, and have these models trained anew: karat run {project.name} --allow-breaking",
        )


def _endpoint(project: Project, name: ModelName) -> str:
    spec = project.models.get(name.name)
    return f"/v1/predict/{project.name}.{name.name}" if spec is not None and spec.online else ""


def _of_lookups(
    project: Project, lookups: Sequence[dict[str, Any]], tables: Collection[str] | None
) -> Iterator[tuple[str, bool]]:
    for lookup in lookups:
        name = TableName.parse(lookup["table"])
        if name.catalog != project.catalog or (tables is not None and name.table not in tables):
            continue
        if name.table not in project.tables:
            # A table that nobody declared but the client made has no definition that could be gone.
            if lookup["definition_hash"]:
                yield f"feature table {name.table}", False
            continue
        declared, known = project.tables[name.table].meanings, lookup.get("meanings", {})
        for feature in lookup["columns"]:
            if feature not in declared:
                yield f"{name.table}.{feature}", False
            elif feature in known and known[feature] != declared[feature]:
                yield f"{name.table}.{feature}", True


def _of_functions(project: Project, functions: Sequence[dict[str, Any]]) -> Iterator[tuple[str, bool]]:
    for function in functions:
        if function["project"] != project.name:
            continue
        declared = project.functions.get(function["name"])
        if declared is None:
            yield f"feature function {function['name']}", False
        elif declared.source_hash != function["source_hash"]:
            yield f"feature function {function['name']}", True
