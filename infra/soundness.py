"""What is wrong with a project that can be loaded: expressions that do not bind to the tables that they name."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import FeatureTable, GoldTable, Project
from karat.errors import KaratError, LabelNotFound
from karat.features import compute_frame
from karat.training.labels import check_label
from karat.training.lookups import lookups_of


def mistakes(project: Project) -> Iterator[str]:
    """One text for each, with its place: features bound to gold, labels and lookups of models to their tables."""
    for table in project.tables.values():
        yield from _unbound(project, table, project.gold[table.source])
    for spec in project.models.values():
        place = "/".join(filter(None, (project.name, "models", spec.domain, f"{spec.name}.yaml")))
        try:
            if spec.label is not None:
                check_label(project, spec)
            lookups_of(project, spec)
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
