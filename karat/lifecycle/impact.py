"""Impact of a change of the declarations: which features of which champions break, and where these are served."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from karat.declare import Project
from karat.errors import BreakingChange
from karat.names import ModelName
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training_sets.functions import PinnedFunction
from karat.training_sets.lookups import PinnedLookup


@dataclass(frozen=True)
class BrokenFeature:
    """A feature of a table, a table or a function that a champion reads and that changed.

    Attributes:
        model: The registered model.
        version: The champion.
        what: The feature, table or function.
        changed: True if its definition changed, False if it is gone.
        endpoint: Where the model is served; "" if it is not.
    """

    model: ModelName
    version: int
    what: str
    changed: bool
    endpoint: str

    def __str__(self) -> str:
        how = "has another meaning now" if self.changed else "is no longer declared"
        served = f", served at {self.endpoint}" if self.endpoint else ""
        return f"{self.model.short} version {self.version}{served}: {self.what} {how}"


def breaking_changes(
    project: Project, registry: Registry, tables: Collection[str] | None = None
) -> list[BrokenFeature]:
    """Return what the current declarations break under the project's champions; with ``tables``, in these alone."""
    champions = [s.champion for s in registry.statuses(project.catalog) if s.champion]
    return [one for champion in champions for one in broken_features(project, registry, champion, tables)]


def broken_features(
    project: Project,
    registry: Registry,
    version: ModelVersion,
    tables: Collection[str] | None = None,
    *,
    functions: bool | None = None,
) -> list[BrokenFeature]:
    """Return what the current declarations break of one version.

    Args:
        project: The declarations.
        registry: Holds the version.
        version: The version.
        tables: Only features of these tables.
        functions: Whether feature functions count; by default if ``tables`` is None.
    """
    metadata = registry.metadata(version)
    found = [*_of_lookups(project, metadata.lookups, tables)]
    if tables is None if functions is None else functions:
        found += _of_functions(project, metadata.functions)
    endpoint = _endpoint(project, version.name)
    return [BrokenFeature(version.name, version.version, what, changed, endpoint) for what, changed in found]


def refuse_breaking_changes(found: Sequence[BrokenFeature], project: Project) -> None:
    """Raise an error if anything breaks.

    Raises:
        BreakingChange: lists what breaks.
    """
    if found:
        raise BreakingChange(
            "champions read what the declarations change: " + "".join(f"\n  - {one}" for one in found),
            where=f"{project.path.name}/features",
            remedy="declare what is new under a name of its own and leave the old feature until no champion reads it; "
            f"or let it be, and have these models trained anew: karat run {project.name} --allow-breaking",
        )


def _endpoint(project: Project, name: ModelName) -> str:
    spec = project.models.get(name.short)
    return f"/v1/predict/{project.name}.{name.name}" if spec is not None and spec.online else ""


def _of_lookups(
    project: Project, lookups: Sequence[PinnedLookup], tables: Collection[str] | None
) -> Iterator[tuple[str, bool]]:
    for lookup in lookups:
        name = lookup.table
        if name.catalog != project.catalog or (tables is not None and name.table not in tables):
            continue
        if name.table not in project.tables:
            # A table that nobody declared but the client made has no definition that could be gone.
            if lookup.definition_hash:
                yield f"feature table {name.table}", False
            continue
        declared, known = project.tables[name.table].meanings, lookup.meanings
        for feature in lookup.columns:
            if feature not in declared:
                yield f"{name.table}.{feature}", False
            elif feature in known and known[feature] != declared[feature]:
                yield f"{name.table}.{feature}", True


def _of_functions(project: Project, functions: Sequence[PinnedFunction]) -> Iterator[tuple[str, bool]]:
    for function in functions:
        if function.project != project.name:
            continue
        declared = project.functions.get(function.name)
        if declared is None:
            yield f"feature function {function.name}", False
        elif declared.source_hash != function.source_hash:
            yield f"feature function {function.name}", True
