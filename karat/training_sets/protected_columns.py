"""Protected columns of a model's rows: the groups by which its fairness is measured."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.declare.models import Lookup
from karat.lake import Lake
from karat.training_sets.feature_join import join_features
from karat.training_sets.lookups import declared_lookups, pin

#: Prefix of a protected column beside the columns that the model reads, which may bear the same name.
_PREFIX = "karat_protected_"


def protected_columns(model: DeclaredModel, lake: Lake, keys: pl.DataFrame) -> pl.DataFrame:
    """Return the groups of each row, whether the model reads the columns or not.

    A column comes from the rows' keys, or by a point-in-time lookup in the present feature tables.

    Args:
        model: The declared model.
        lake: Holds the feature tables.
        keys: The rows, with their keys.

    Returns:
        A text column for each protected column, ``(rows, columns)``; null where the group is not known.
    """
    project, spec, found = model.project, model.spec, {}
    for column in spec.protected:
        if column in keys.columns:
            found[column] = keys[column]
            continue
        tables = dict.fromkeys((spec.spine_table, *(lookup.table for lookup in spec.lookups)))
        table = next(t for t in tables if column in {f.name for f in project.tables[t].stored})
        # Name the spine: without it, the column's own table would become the spine.
        alone = (Lookup(table=table, features=(column,)),)
        asked = spec.model_copy(update={"spine": spec.spine_table, "lookups": alone})
        pinned = [pin(lookup, lake, keys) for lookup in declared_lookups(DeclaredModel(project, asked))]
        found[column] = join_features(lake, keys, pinned).values[column]
    return pl.DataFrame([found[c].cast(pl.String).alias(c) for c in spec.protected])


def with_protected(model: DeclaredModel, lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    """Add the protected columns to a training set's rows under names that no feature has."""
    if not model.spec.protected:
        return rows
    own = rows.select(c for c in rows.columns if c in model.spine_columns)
    return rows.hstack(protected_columns(model, lake, own).rename(lambda c: _PREFIX + c))


def groups_of(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame | None:
    """Return the protected columns that ``with_protected`` added, under their own names; None without one of them."""
    names = {_PREFIX + c: c for c in columns}
    return rows.select(names.keys()).rename(names) if names and names.keys() <= set(rows.columns) else None
