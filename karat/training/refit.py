"""Refit of an evaluated model on all rows with a label: training, gap, calibration and test rows."""

from __future__ import annotations

import polars as pl

from karat.declare.models import UNSUPERVISED, ModelSpec
from karat.kinds import Model
from karat.training.fit import reweighed
from karat.training.preconditions import label_mask


def refit_on_all(spec: ModelSpec, model: Model, frame: pl.DataFrame, *, label: str | None, time: str | None) -> Model:
    """Fit an evaluated model again on every row; what was chosen on rows apart stays.

    Encoder, classes, thresholds, calibration and intervals are those of the evaluated model: the refitted one has no
    rows left to choose them on. Rows of a class that the evaluated model does not know are left out.

    Args:
        spec: The model's declaration.
        model: The evaluated model.
        frame: The training set, ``(rows, columns)``.
        label: The label's column; unsupervised models learn without it.
        time: Column that orders the rows.

    Returns:
        The refitted model.

    Raises:
        TrainingError: The library refuses the data.
    """
    if label is None or spec.task in UNSUPERVISED:
        rows, y = frame, None
    else:
        rows = frame.filter(label_mask(frame[label]))
        if model.classes:
            rows = rows.filter(pl.Series([value in model.classes for value in rows[label].to_list()]))
        y = rows[label]
    weight = reweighed(spec, rows, y)
    return model.refit(rows, y, parameters=spec.parameters, order=rows[time] if time else None, weight=weight)
