"""Refit of an evaluated model on all rows with a label: training, gap, calibration and test rows."""

from __future__ import annotations

import polars as pl

from karat.declare.models import UNSUPERVISED, ModelSpec
from karat.kinds import Model
from karat.training.bias_mitigation import reweighed
from karat.training.fit_distributor import Distributor, known_labels
from karat.training.fit_placement import FitPlacement


def refit_on_all(
    spec: ModelSpec,
    model: Model,
    frame: pl.DataFrame,
    *,
    label: str | None,
    time: str | None,
    distributor: Distributor | None = None,
    placement: FitPlacement | None = None,
) -> Model:
    """Fit an evaluated model again on every row; what was chosen on rows apart stays.

    Encoder, classes, thresholds, calibration and intervals are those of the evaluated model: the refitted one has no
    rows left to choose them on. Rows of a class that the evaluated model does not know are left out.

    Args:
        spec: The model's declaration.
        model: The evaluated model.
        frame: The training set, ``(rows, columns)``.
        label: The label's column; unsupervised models learn without it.
        time: Column that orders the rows.
        distributor: Fits models by several workers.
        placement: Where the evaluated model was fitted; its workers fit it again.

    Returns:
        The refitted model.

    Raises:
        TrainingError: The library refuses the data.
    """
    if label is None or spec.task in UNSUPERVISED:
        rows, y = frame, None
    else:
        rows = frame.filter(known_labels(model, frame[label]))
        y = rows[label]
    order = rows[time] if time else None
    weight = reweighed(spec.fairness, spec.protected, rows, y)
    if distributor is not None and placement is not None and placement.plan is not None:
        return distributor.refit(spec, model, (rows, y), placement.plan, order=order, weight=weight)
    return model.refit(rows, y, parameters=spec.parameters, order=order, weight=weight)
