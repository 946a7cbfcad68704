"""The training set that a model's declaration asks for."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.lake import Lake
from karat.training_sets.functions import FunctionLibrary, declared_functions
from karat.training_sets.lookups import declared_lookups
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
    project, label = model.project, model.spec.label
    sources = [model.spine_name, *([project.gold_name(label.source)] if label else [])]
    return create_training_set(
        lake,
        spine,
        [*declared_lookups(model), *declared_functions(model.spec)],
        model.spec.target,
        exclude_columns=[*model.spine_columns, *without],
        catalog=project.catalog,
        sources={str(name): lake.version(name) for name in sources if lake.exists(name)},
        library=FunctionLibrary(given=project.functions.values()),
    )
