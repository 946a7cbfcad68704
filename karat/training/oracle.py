"""Oracle: predictions by the truth that a sample plants, for every row of a spine."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.declare.feature_tables import FeatureTable
from karat.declare.gold import GoldTable
from karat.declare.models import Label, ModelSpec
from karat.declare.truth import Truth
from karat.errors import DeclarationError, LabelNotFound, did_you_mean
from karat.lake import Lake
from karat.quality import origin
from karat.sql import connect, plain_times
from karat.training.fitted_evaluation import TrainingResult
from karat.training_sets.labels import label_spine

#: Column of the oracle's predictions.
ORACLE_COLUMN = "karat_truth"


def oracle_predictions(model: DeclaredModel, lake: Lake, spine: pl.DataFrame) -> pl.Series | None:
    """Predict each row of ``spine`` by the declared truth.

    An aggregate is evaluated over the label's own window. A plain column is read from the row's own key and day; an
    event's from its whole key.

    Args:
        model: The declared model.
        lake: The lake.
        spine: Keys and times, ``(rows, columns)``.

    Returns:
        One prediction per row: a number, a list for a truth with ``expressions``, or a struct for a forecast; null
        where the truth has none. None if the model declares no truth, or its rows are no sample.

    Raises:
        LabelNotFound: The truth's expression does not bind.
    """
    spec, truth = model.spec, model.spec.truth
    if truth is None or spec.label is None or not _has_oracle(model, truth, lake):
        return None
    plain = _is_row_expression(truth, model.project.gold[truth.source])
    label = spec.label.model_copy(
        update={
            "name": ORACLE_COLUMN,
            "source": truth.source,
            "expression": _single_row_sql(truth) if plain else _oracle_sql(truth),
            "expressions": {},
            "where": truth.where,
            "default": None,
            "columns": truth.columns or spec.label.columns,
            **(_own_window(spec.label, model.spine) if plain else {}),
        }
    )
    # A truth with several expressions is one list here, so that no task needs its own way.
    whole = spec.task == "forecast" and not plain and not truth.expressions
    asked = spec.model_copy(update={"label": label, "task": spec.task if whole else "regression"})
    try:
        found = label_spine(DeclaredModel(model.project, asked), lake)
    except LabelNotFound as error:
        raise LabelNotFound(
            error.what.replace("the label of", "the truth of", 1),
            where=error.where.replace("label.", "truth.", 1),
            remedy=error.remedy,
        ) from error
    keys = [c for c in found.columns if c != ORACLE_COLUMN]
    # nulls_equal: an event whose other keys are null still finds its truth by its own key.
    return spine.select(keys).join(found, on=keys, how="left", nulls_equal=True, maintain_order="left")[ORACLE_COLUMN]


def with_oracle(model: DeclaredModel, lake: Lake, data: pl.DataFrame) -> pl.DataFrame:
    """Add the oracle's predictions as a column, if the model has an oracle.

    Args:
        model: The declared model.
        lake: The lake.
        data: Rows of the training set, with the spine's key and the label.

    Returns:
        ``data``, with ``ORACLE_COLUMN`` if there is an oracle.

    Raises:
        DeclarationError: A class of the label has no expression in the truth.
        LabelNotFound: The truth's expression does not bind.
    """
    predictions = oracle_predictions(model, lake, data)
    if predictions is None:
        return data
    if model.spec.target is not None:
        check_oracle_classes(model.spec, data[model.spec.target])
    return data.with_columns(predictions.alias(ORACLE_COLUMN))


def check_oracle_classes(spec: ModelSpec, labels: pl.Series) -> None:
    """Check that the truth has an expression for each class.

    Raises:
        DeclarationError: A class of the labels has no expression.
    """
    if spec.task != "multiclass" or spec.truth is None or not spec.truth.expressions:
        return
    for name in sorted(map(str, labels.drop_nulls().unique().to_list())):
        if name not in spec.truth.expressions:
            raise DeclarationError(
                f"the truth of {spec.name!r} has no expression for the class {name!r}",
                where=f"model {spec.name!r}, truth.expressions",
                remedy=did_you_mean(name, spec.truth.expressions),
            )


def oracle_array(trained: TrainingResult, truth: pl.Series) -> np.ndarray:
    """Convert the oracle's predictions to the model's shape and order.

    Args:
        trained: The trained model.
        truth: The oracle's predictions, ``(rows,)``.

    Returns:
        ``(rows,)`` or ``(rows, parts)``; NaN where there is none. For a clustering any number per group.
    """
    spec = trained.spec
    if spec.task == "clustering":
        return truth.rank("dense").cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if isinstance(truth.dtype, pl.Struct):
        return truth.struct.unnest().cast(pl.Float64).to_numpy()
    if not isinstance(truth.dtype, pl.List | pl.Array):
        return truth.cast(pl.Float64).to_numpy()
    names = list(spec.truth.expressions) if spec.truth else []
    wanted = _part_names(spec, trained.model.classes)
    width = len(names) or next((len(v) for v in truth.to_list() if v is not None), 1)
    rows = np.array([[np.nan] * width if v is None else v for v in truth.to_list()], dtype=float).reshape(-1, width)
    order = [names.index(name) for name in wanted if name in names]
    return rows[:, order] if order and len(order) == len(wanted) else rows


def _part_names(spec: ModelSpec, classes: Collection[Any]) -> list[str]:
    return [str(c) for c in classes] if spec.task == "multiclass" else list(spec.labelled.parts)


def _has_oracle(model: DeclaredModel, truth: Truth, lake: Lake) -> bool:
    """Whether the truth has data and belongs to the rows: no sample's truth describes ingested rows."""
    name = model.project.gold_name(truth.source)
    rows = model.project.gold_name(model.spine.source)
    return lake.exists(name) and not (origin(lake, name) == "sample" and origin(lake, rows) == "ingest")


def _own_window(label: Label, spine: FeatureTable) -> dict[str, timedelta | None]:
    """Return the window of the row's own day; events and labels without a horizon are found by their key."""
    if label.horizon is None or spine.row_span is None:
        return {"horizon": None, "steps": None}
    return {"offset": timedelta(0), "horizon": spine.row_span, "steps": None}


def _oracle_sql(truth: Truth) -> str:
    if truth.expression is not None:
        return truth.expression
    return f"[{', '.join(f'({e})::DOUBLE' for e in truth.expressions.values())}]"


def _single_row_sql(truth: Truth) -> str:
    """Return SQL for the value of the only row; several rows raise an error."""
    several = "error('several rows of the truth table share a key and a day: write an aggregate')"
    return f"CASE WHEN count(*) = 1 THEN any_value({_oracle_sql(truth)}) ELSE {several} END"


def _is_row_expression(truth: Truth, gold: GoldTable) -> bool:
    """Whether the expression reads a row; only an aggregate can stand beside another aggregate."""
    empty = pl.from_arrow(gold.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    with connect() as connection:
        connection.register("gold", plain_times(empty))
        try:
            connection.sql(f"SELECT ({_oracle_sql(truth)}), count(*) FROM gold")
        except duckdb.Error as error:
            return "GROUP BY" in str(error)
    return False
