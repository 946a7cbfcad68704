"""Errors of a project that loads: expressions that do not bind to the tables that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from karat.declare import DeclaredModel, FeatureTable, GoldTable, Project
from karat.errors import DeclarationError, KaratError, LabelNotFound
from karat.features import compute_frame
from karat.training_sets.labels import check_label
from karat.training_sets.lookups import declared_lookups


def refuse_mistakes(project: Project, models: Collection[str]) -> None:
    """Refuse a project with expressions that do not bind, before any work is done.

    Args:
        project: A project that loads.
        models: Only these models and what they read; all if empty.

    Raises:
        DeclarationError: With every error.
    """
    found = list(mistakes(project, models))
    if found:
        raise DeclarationError(
            f"{len(found)} expressions of project {project.name!r} cannot be computed",
            where=str(project.path),
            remedy=f"mend them and look again with: karat check {project.name}",
            errors=found,
        )


def mistakes(project: Project, models: Collection[str] = ()) -> Iterator[str]:
    """Find expressions that do not bind: features to gold, labels and lookups of models to their tables.

    Args:
        project: A project that loads.
        models: Only these models and what they read; all if empty.

    Yields:
        One text per error, with its place.
    """
    chosen = {name: spec for name, spec in project.models.items() if not models or name in models}
    for table in project.tables_of(chosen) if models else project.tables:
        yield from _unbound(project, project.tables[table], project.gold[project.tables[table].source])
    for spec in chosen.values():
        place = "/".join(filter(None, (project.name, "models", spec.domain, f"{spec.name}.yaml")))
        try:
            if spec.label is not None:
                check_label(DeclaredModel(project, spec))
            declared_lookups(DeclaredModel(project, spec))
        except LabelNotFound as error:
            yield f"{place}: label: {error.what}. {error.remedy}"
        except KaratError as error:
            yield f"{place}: {error.what}. {error.remedy}"


def _unbound(project: Project, table: FeatureTable, source: GoldTable) -> Iterator[str]:
    """A table that can't be computed from no rows can't be from any."""
    empty = pl.from_arrow(source.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    try:
        compute_frame(table, empty, source=source)
    except KaratError as error:
        yield f"{project.name}/features: {table.name}: {error.what}. {error.remedy}"
