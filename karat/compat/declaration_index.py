"""Index of declarations by the names that people use: features, tables and models of all projects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from karat.declare import FeatureTable, ModelSpec, Project, load_project, project_names
from karat.errors import DeclarationError, FeatureNotFound, TableNotFound, UnknownModel, WrongCall, did_you_mean
from karat.names import project_of
from karat.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSelection:
    """Features of a project's feature table."""

    project: Project
    table: FeatureTable
    features: tuple[str, ...]


class DeclarationIndex:
    """Declarations of all projects, or of one; files that changed are read again."""

    def __init__(self, settings: Settings, project: str | None = None) -> None:
        self.settings, self.project = settings, None if project is None else project_of(project)

    def projects(self) -> list[Project]:
        """Load the projects; a broken one is skipped unless all are broken.

        Returns:
            The projects, in the order of their names.

        Raises:
            DeclarationError: No project can be read.
            UnknownProject: There is no such project.
        """
        names = (self.project,) if self.project else project_names(self.settings)
        read, broken = [], []
        for name in names:
            try:
                read.append(_load_project(name, self.settings.projects, self.settings.environment, self._stamp(name)))
            except DeclarationError as error:  # one team's mistake is not another's
                broken.append(error)
        if broken and not read:
            raise broken[0]
        return read

    def feature(self, name: str, entity_type: str | None = None) -> FeatureSelection:
        """Find ``feature``, ``table:feature`` or ``project.table:feature``.

        Args:
            name: The feature.
            entity_type: Decides between several tables: ``USER`` means a table by ``user_id``.

        Returns:
            The feature with its table.

        Raises:
            FeatureNotFound: There is no such feature; the message has the nearest name.
            WrongCall: Several tables have it.
        """
        where, _, bare = name.rpartition(":")
        tables = [t for t in self._tables() if _matches_table(t[0], t[1], where)]
        found = [FeatureSelection(p, t, (bare,)) for p, t in tables if bare in _feature_names(t)]
        if len(found) > 1 and entity_type is not None:
            found = [f for f in found if _has_entity(f.table, entity_type)] or found
        if not found:
            known = {f for _, t in tables for f in _feature_names(t)} or {t.name for _, t in self._tables()}
            raise FeatureNotFound(
                f"there is no feature {name!r}",
                where=f"the feature tables of {', '.join(p.name for p in self.projects()) or 'no project'}",
                remedy=did_you_mean(bare if tables else where, known),
            )
        return _single(found, name, [f"{f.project.name}.{f.table.name}:{bare}" for f in found])

    def feature_set(self, name: str, entity_type: str | None = None) -> list[FeatureSelection]:
        """Find a declared feature set, a table (with or without ``_features``) or a single feature.

        Args:
            name: A feature set, a table with or without ``_features``, or a feature.
            entity_type: Entity of the table, if several tables have the feature.

        Returns:
            One selection per table.

        Raises:
            TableNotFound: There is none; the message has the nearest name.
            WrongCall: The name has several meanings.
        """
        sets = [
            (p, members)
            for p in self.projects()
            for n, members in p.spec.feature_sets.items()
            if _matches_set(p, n, name)
        ]
        if sets:
            project, members = _single(sets, name, [f"{p.name}.{name.rpartition('.')[2]}" for p, _ in sets])
            return [FeatureSelection(project, project.tables[m], _feature_names(project.tables[m])) for m in members]
        found = [FeatureSelection(p, t, _feature_names(t)) for p, t in self._tables() if _matches_table(p, t, name)]
        if found:
            return [_single(found, name, [f"{f.project.name}.{f.table.name}" for f in found])]
        try:
            return [self.feature(name, entity_type)]
        except FeatureNotFound:
            tables = {t.name for _, t in self._tables()} | {n for p in self.projects() for n in p.spec.feature_sets}
            raise TableNotFound(
                f"there is no feature set {name!r}",
                where=f"the feature tables of {', '.join(p.name for p in self.projects()) or 'no project'}",
                remedy=did_you_mean(name, tables | {t.removesuffix("_features") for t in tables}),
            ) from None

    def model(self, name: str) -> tuple[Project, ModelSpec]:
        """Find a declared model by any spelling, such as ``CHURN``, ``churn_model`` or ``project.model``.

        Args:
            name: Name of the model, in any spelling.

        Returns:
            The project and the model's declaration.

        Raises:
            UnknownModel: No project declares it; the message has the nearest name.
            WrongCall: Several projects declare it.
        """
        found = self.models(name)
        if not found:
            known = {m for p in self.projects() for m in p.models}
            raise UnknownModel(
                f"no project declares a model {name!r}",
                where=str(self.settings.projects),
                remedy=did_you_mean(name, known) or "declare it: projects/PROJECT/models/NAME.yaml",
            )
        return _single(found, name, [f"{p.name}.{m.name}" for p, m in found])

    def models(self, name: str) -> list[tuple[Project, ModelSpec]]:
        """Return every declared model that ``name`` may mean.

        Args:
            name: Name of the model, in any spelling.

        Returns:
            Project and declaration of each.
        """
        wanted = set(spellings(name))
        return [
            (p, m)
            for p in self.projects()
            for m in p.models.values()
            if wanted & {m.name, f"{p.name}.{m.name}", f"{p.name}_{m.name}", str(p.model_name(m.name))}
        ]

    def _tables(self) -> Iterator[tuple[Project, FeatureTable]]:
        return ((p, t) for p in self.projects() for t in p.tables.values())

    def _stamp(self, name: str) -> tuple[tuple[str, int], ...]:
        files = (f for f in (self.settings.projects / name).rglob("*") if f.suffix in (".py", ".yaml", ".yml"))
        return tuple(sorted((str(f), f.stat().st_mtime_ns) for f in files))


@lru_cache(maxsize=64)
def _load_project(name: str, folder: Path, environment: str, stamp: tuple[tuple[str, int], ...]) -> Project:
    """Load a project; cached, since reading declarations takes longer than computing a feature."""
    return load_project(name, Settings(projects=folder, environment=environment))


def spellings(name: str) -> Iterator[str]:
    """Yield a model's name as it may be declared: in snake case, without ``models:/`` and ``_model``."""
    plain = name.removeprefix("models:/").lower().replace("-", "_")
    catalog, _, rest = plain.partition(".")
    if rest.count(".") == 1:
        plain = f"{catalog}.models.{rest.removeprefix('features.')}" if rest.startswith("features.") else plain
    yield from (plain, plain.removesuffix("_model"))


def _feature_names(table: FeatureTable) -> tuple[str, ...]:
    return tuple(f.name for f in table.stored)


def _matches_table(project: Project, table: FeatureTable, text: str) -> bool:
    """Whether ``text`` (empty for any) names this table."""
    names = {table.name, table.name.removesuffix("_features")}
    qualified = {f"{project.name}.{n}" for n in names} | {str(project.table_name(table.name)), f"features.{table.name}"}
    return not text or text.lower() in names | qualified


def _matches_set(project: Project, declared: str, text: str) -> bool:
    """Whether ``text`` names this feature set: ``behavioral``, ``roi.behavioral``, ``behavioral_features``."""
    plain = text.lower().removesuffix("_features")
    return plain in (declared, f"{project.name}.{declared}")


def _has_entity(table: FeatureTable, entity_type: str) -> bool:
    """Whether the table has the entity: ``USER`` means ``user`` or ``user_id``."""
    kind = entity_type.lower()
    return any(e.lower() in (kind, f"{kind}_id") for e in table.entity)


def _single(found: list[T], name: str, choices: list[str]) -> T:
    if len(found) > 1:
        raise WrongCall(f"{name!r} may mean several", remedy=f"write one of: {', '.join(sorted(choices))}")
    return found[0]
