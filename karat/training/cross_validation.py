"""Cross-validation: metrics of a declared model on every fold of its rows, beside those of its one test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec
from karat.kinds import Model
from karat.training.evaluation import evaluate
from karat.training.fit import fit_declared
from karat.training.preconditions import prepare_rows


def cross_validate(
    spec: ModelSpec,
    frame: pl.DataFrame,
    splits: Sequence[pl.Series],
    *,
    unfitted: Callable[[], Model],
    features: Sequence[str],
    label: str,
    time: str | None = None,
    entity: Sequence[str] = (),
) -> list[dict[str, float]]:
    """Fit the declared kind once for each fold and measure it on the fold's test rows.

    A declared threshold rule chooses each fold's threshold from the fold's own training rows, and a mitigation of bias
    works on them.

    Args:
        spec: The model's declaration.
        frame: The training set, ``(rows, columns)``.
        splits: For each fold "train", "gap" or "test" for each row, ``(rows,)``.
        unfitted: Makes the declared estimator.
        features: Columns that the model reads, in order.
        label: Column that the model learns.
        time: Column that orders the rows.
        entity: Columns of the entity.

    Returns:
        The metrics of each fold.

    Raises:
        TrainingError: A fold's rows cannot be trained or tested on.
    """
    few = spec.model_copy(update={"minimum_rows": 1})  # the number of all rows is checked by the one test
    found = []
    for split in splits:
        rows = prepare_rows(few, frame, features, label, split)
        model = unfitted()
        fit_declared(spec, model, rows, time=time, entity=entity)
        X, y = rows.test
        decided_at = model.thresholds(X)
        metrics = evaluate(spec.task, y, model.predict(X), threshold=decided_at, classes=model.classes or None)
        found.append(metrics)
    return found


def fold_statistics(folds: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation over the folds of each metric that every fold has."""
    shared = [name for name in folds[0] if all(name in fold for fold in folds)] if folds else []
    values = {name: [fold[name] for fold in folds] for name in shared}
    return {name: (float(np.mean(v)), float(np.std(v, ddof=1))) for name, v in values.items()}
