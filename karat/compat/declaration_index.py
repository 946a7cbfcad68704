"""What is declared, found by the names that people use: a feature, a table, a model, in whichever project it is."""

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
class FoundDeclaration:
    """A feature table of a project, and those of its features that are meant."""

    project: Project
    table: FeatureTable
    features: tuple[str, ...]


class DeclarationIndex:
    """The declarations under ``settings.projects``, or those of one ``project``; read again when a file has changed."""

    def __init__(self, settings: Settings, project: str | None = None) -> None:
        self.settings, self.project = settings, None if project is None else project_of(project)

    def projects(self) -> list[Project]:
        """Raises DeclarationError where none of them can be read, UnknownProject for one that is not there."""
        names = (self.project,) if self.project else project_names(self.settings)
        read, broken = [], []
        for name in names:
            try:
                read.append(_project(name, self.settings.projects, self.settings.environment, self._stamp(name)))
            except DeclarationError as error:  # one team's mistake is not another's
                broken.append(error)
        if broken and not read:
            raise broken[0]
        return read

    def feature(self, name: str, entity_type: str | None = None) -> FoundDeclaration:
        """``feature``, ``table:feature`` or ``project.table:feature``. Where several tables have it, ``entity_type``
        (``USER``: a table by ``user_id``) decides. Raises FeatureNotFound with the nearest, WrongCall."""
        where, _, bare = name.rpartition(":")
        tables = [t for t in self._tables() if _is_named(t[0], t[1], where)]
        found = [FoundDeclaration(p, t, (bare,)) for p, t in tables if bare in _stored(t)]
        if len(found) > 1 and entity_type is not None:
            found = [f for f in found if _is_of(f.table, entity_type)] or found
        if not found:
            known = {f for _, t in tables for f in _stored(t)} or {t.name for _, t in self._tables()}
            raise FeatureNotFound(
                f"there is no feature {name!r}",
                where=f"the feature tables of {', '.join(p.name for p in self.projects()) or 'no project'}",
                remedy=did_you_mean(bare if tables else where, known),
            )
        return _only(found, name, [f"{f.project.name}.{f.table.name}:{bare}" for f in found])

    def feature_set(self, name: str, entity_type: str | None = None) -> list[FoundDeclaration]:
        """A declared set's tables, whole; or one table, by its name with or without ``_features``; else one feature."""
        sets = [
            (p, members) for p in self.projects() for n, members in p.spec.feature_sets.items() if _means(p, n, name)
        ]
        if sets:
            project, members = _only(sets, name, [f"{p.name}.{name.rpartition('.')[2]}" for p, _ in sets])
            return [FoundDeclaration(project, project.tables[m], _stored(project.tables[m])) for m in members]
        found = [FoundDeclaration(p, t, _stored(t)) for p, t in self._tables() if _is_named(p, t, name)]
        if found:
            return [_only(found, name, [f"{f.project.name}.{f.table.name}" for f in found])]
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
        """``churn``, ``CHURN``, ``move-probability``, ``move_probability_model``, ``project.model``, ``project_model``
        or a registered name. Raises UnknownModel with the nearest, WrongCall."""
        found = self.models(name)
        if not found:
            known = {m for p in self.projects() for m in p.models}
            raise UnknownModel(
                f"no project declares a model {name!r}",
                where=str(self.settings.projects),
                remedy=did_you_mean(name, known) or "declare it: projects/PROJECT/models/NAME.yaml",
            )
        return _only(found, name, [f"{p.name}.{m.name}" for p, m in found])

    def models(self, name: str) -> list[tuple[Project, ModelSpec]]:
        """Every declared model that ``name`` may mean."""
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
def _project(name: str, folder: Path, environment: str, stamp: tuple[tuple[str, int], ...]) -> Project:
    """Reading declarations takes longer than computing a feature: only what changed is read again."""
    return load_project(name, Settings(projects=folder, environment=environment))


def spellings(name: str) -> Iterator[str]:
    """A model's name as it may be declared: without ``models:/``, in snake case, without ``_model``; schemas such as
    ``catalog.features.NAME`` as ``catalog.models.NAME``."""
    plain = name.removeprefix("models:/").lower().replace("-", "_")
    catalog, _, rest = plain.partition(".")
    if rest.count(".") == 1:
        plain = f"{catalog}.models.{rest.rpartition('.')[2]}"
    yield from (plain, plain.removesuffix("_model"))


def _stored(table: FeatureTable) -> tuple[str, ...]:
    return tuple(f.name for f in table.stored)


def _is_named(project: Project, table: FeatureTable, text: str) -> bool:
    """Whether ``text`` (empty: any) means this table."""
    names = {table.name, table.name.removesuffix("_features")}
    qualified = {f"{project.name}.{n}" for n in names} | {str(project.table_name(table.name)), f"features.{table.name}"}
    return not text or text.lower() in names | qualified


def _means(project: Project, declared: str, text: str) -> bool:
    """Whether ``text`` means this feature set: ``behavioral``, ``roi.behavioral``, ``behavioral_features``."""
    plain = text.lower().removesuffix("_features")
    return plain in (declared, f"{project.name}.{declared}")


def _is_of(table: FeatureTable, entity_type: str) -> bool:
    """``USER`` names ``user`` and ``user_id``."""
    kind = entity_type.lower()
    return any(e.lower() in (kind, f"{kind}_id") for e in table.entity)


def _only(found: list[T], name: str, choices: list[str]) -> T:
    if len(found) > 1:
        raise WrongCall(f"{name!r} may mean several", remedy=f"write one of: {', '.join(sorted(choices))}")
    return found[0]
