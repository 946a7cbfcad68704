"""The training set that a model's declaration asks for."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake
from karat.training_sets.functions import FeatureFunction, FunctionLibrary, declared_functions
from karat.training_sets.lookups import FeatureLookup, declared_lookups
from karat.training_sets.training_set import TrainingSet, create_training_set


def declared_training_set(
    model: DeclaredModel, lake: Lake, spine: pl.DataFrame, *, without: Sequence[str] = ()
) -> TrainingSet:
    """Joins the declared lookups to a labelled spine and computes the declared feature functions.

    Args:
        model: The declared model.
        lake: Holds the feature tables.
        spine: Keys and label, as ``label_spine`` makes them.
        without: Features to leave out of the training set.

    Raises:
        KaratError: what ``create_training_set`` raises.
    """
    sources = declared_sources(model, lake)
    return create_training_set(
        lake,
        spine,
        declared_features(model),
        model.spec.target,
        exclude_columns=[*model.spine_columns, *without],
        catalog=model.project.catalog,
        sources=sources,
        library=FunctionLibrary(given=model.project.functions.values()),
    )


def declared_features(model: DeclaredModel) -> list[FeatureLookup | FeatureFunction]:
    """Return the lookups and functions that a model declares."""
    return [*declared_lookups(model), *declared_functions(model.spec)]


def declared_sources(model: DeclaredModel, lake: Lake) -> dict[str, int]:
    """Return the present versions of the tables that the spine and the label come from."""
    label = model.spec.label
    names = [model.spine_name, *([model.project.gold_name(label.source)] if label else [])]
    return {str(name): lake.version(name) for name in names if lake.exists(name)}
