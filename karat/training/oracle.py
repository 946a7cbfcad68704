"""What a sample's planted truth would have answered, for every row of a spine."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl

from karat.declare.base import DAY
from karat.declare.gold import GoldTable
from karat.declare.models import Label, ModelSpec
from karat.declare.project import Project
from karat.declare.truth import Truth
from karat.errors import DeclarationError, LabelNotFound, did_you_mean
from karat.features.connection import connect, plain_times
from karat.lake import Lake
from karat.quality import origin
from karat.training.train import TrainingResult
from karat.training_sets.labels import label_spine

#: The column of the answer.
TRUTH = "karat_truth"


def oracle_predictions(project: Project, spec: ModelSpec, lake: Lake, spine: pl.DataFrame) -> pl.Series | None:
    """One answer a row of ``spine``, in its order: a number, or a list of them for a truth with ``expressions`` (a
    struct for a forecast's windows); null where the truth has none. None for a model without a truth, and where there
    is none because the rows are no sample's.

    An aggregate is evaluated as the label is, over the label's own window; a plain column is that of the row's own key
    and day, of an event that of its whole key. Raises LabelNotFound for an expression that does not bind.
    """
    truth = spec.truth
    if truth is None or spec.label is None or not _is_there(project, spec, truth, lake):
        return None
    plain = _is_plain(truth, project.gold[truth.source])
    label = spec.label.model_copy(
        update={
            "name": TRUTH,
            "source": truth.source,
            "expression": _alone(truth) if plain else _written(truth),
            "expressions": {},
            "where": truth.where,
            "default": None,
            "columns": truth.columns or spec.label.columns,
            **(_of_its_row(spec.label, by_event=project.tables[spec.spine_table].by_event) if plain else {}),
        }
    )
    # A truth with several answers is one list here, so that no task needs its own way.
    whole = spec.task == "forecast" and not plain and not truth.expressions
    asked = spec.model_copy(update={"label": label, "task": spec.task if whole else "regression"})
    try:
        found = label_spine(project, asked, lake)
    except LabelNotFound as error:
        raise LabelNotFound(
            error.what.replace("the label of", "the truth of", 1),
            where=error.where.replace("label.", "truth.", 1),
            remedy=error.remedy,
        ) from error
    keys = [c for c in found.columns if c != TRUTH]
    # An event that names no shop has a truth all the same: its own key finds it, and the shop is null on both sides.
    return spine.select(keys).join(found, on=keys, how="left", nulls_equal=True, maintain_order="left")[TRUTH]


def check_classes(spec: ModelSpec, labels: pl.Series) -> None:
    """Raises DeclarationError where a class of the labels has no answer in a truth with ``expressions``."""
    if spec.task != "multiclass" or spec.truth is None or not spec.truth.expressions:
        return
    for name in sorted(map(str, labels.drop_nulls().unique().to_list())):
        if name not in spec.truth.expressions:
            raise DeclarationError(
                f"the truth of {spec.name!r} has no expression for the class {name!r}",
                where=f"model {spec.name!r}, truth.expressions",
                remedy=did_you_mean(name, spec.truth.expressions),
            )


def answers_of(trained: TrainingResult, truth: pl.Series) -> np.ndarray:
    """The truth's answers as a model gives its own: (n,), or (n, parts) in the model's order; NaN where there is none.
    Of a clustering any number a group."""
    spec = trained.spec
    if spec.task == "clustering":
        return truth.rank("dense").cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if isinstance(truth.dtype, pl.Struct):
        return truth.struct.unnest().cast(pl.Float64).to_numpy()
    if not isinstance(truth.dtype, pl.List | pl.Array):
        return truth.cast(pl.Float64).to_numpy()
    names = list(spec.truth.expressions) if spec.truth else []
    wanted = _named_parts(spec, trained.model.classes)
    width = len(names) or next((len(v) for v in truth.to_list() if v is not None), 1)
    rows = np.array([[np.nan] * width if v is None else v for v in truth.to_list()], dtype=float).reshape(-1, width)
    order = [names.index(name) for name in wanted if name in names]
    return rows[:, order] if order and len(order) == len(wanted) else rows


def _named_parts(spec: ModelSpec, classes: Collection[Any]) -> list[str]:
    return [str(c) for c in classes] if spec.task == "multiclass" else list(spec.labelled.parts)


def _is_there(project: Project, spec: ModelSpec, truth: Truth, lake: Lake) -> bool:
    """A sample's truth says nothing about real rows that have replaced the sample."""
    name = project.gold_name(truth.source)
    rows = project.gold_name(project.tables[spec.spine_table].source)
    return lake.exists(name) and not (origin(lake, name) == "sample" and origin(lake, rows) == "ingest")


def _of_its_row(label: Label, *, by_event: bool) -> dict[str, timedelta | None]:
    """The window that holds the day of the row alone; the row of an event, or of a label without a horizon, is found
    by its key."""
    if label.horizon is None or by_event:
        return {"horizon": None, "steps": None}
    return {"offset": timedelta(0), "horizon": DAY, "steps": None}


def _written(truth: Truth) -> str:
    if truth.expression is not None:
        return truth.expression
    return f"[{', '.join(f'({e})::DOUBLE' for e in truth.expressions.values())}]"


def _alone(truth: Truth) -> str:
    """The value of the one row that there may be."""
    several = "error('several rows of the truth share a key and a day: write an aggregate')"
    return f"CASE WHEN count(*) = 1 THEN any_value({_written(truth)}) ELSE {several} END"


def _is_plain(truth: Truth, gold: GoldTable) -> bool:
    """Whether the expression is of a row, and not an aggregate: only an aggregate can stand beside another one."""
    empty = pl.from_arrow(gold.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    with connect() as connection:
        connection.register("gold", plain_times(empty))
        try:
            connection.sql(f"SELECT ({_written(truth)}), count(*) FROM gold")
        except duckdb.Error as error:
            return "GROUP BY" in str(error)
    return False
