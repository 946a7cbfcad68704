"""Metrics of a project's own, computed by one function on the test rows of each of its models."""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.declare.project import Metrics
from karat.training.fitted_evaluation import TrainingResult


def custom_metrics(function: Metrics | None, trained: TrainingResult) -> tuple[dict[str, float], list[str]]:
    """Compute the project's own metrics of a model.

    The function gets the model's name and a frame of the test rows: their keys, features and label, and what a batch
    would answer for them (``prediction``, ``probability`` and so on; ``actual`` is the label). Whatever is wrong with
    it is a warning: the model is trained all the same.

    Args:
        function: The function ``metrics`` of the project's ``metrics.py``; None without.
        trained: The trained model.

    Returns:
        The finite metrics by name, and warnings.
    """
    if function is None or trained.planted:
        return {}, []
    model, name = trained.model, trained.spec.name
    answers = model.outputs(trained.test_predictions, trained.test_thresholds)
    named = [pl.Series(column, values) for column, values in answers.items()]
    rows = trained.test_rows.with_columns(*named, trained.test_labels.alias("actual"))
    try:
        found = {str(key): float(value) for key, value in function(name, rows).items()}
    except Exception as error:  # whatever a user's function raises
        told = str(error).splitlines()[0] if str(error) else ""
        return {}, [f"the project's metrics of {name!r} failed: {type(error).__name__}: {told}"]
    lost = [key for key, value in found.items() if not np.isfinite(value)]
    warnings = [f"the project's metrics {', '.join(lost)} of {name!r} are not finite and left out"] if lost else []
    return {key: value for key, value in found.items() if key not in lost}, warnings
