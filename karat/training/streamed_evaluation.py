"""Metrics of a model on all test rows of a training set in files, streamed: memory holds labels and predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from karat.declare.models import UNSUPERVISED
from karat.training.baseline import baseline_prediction
from karat.training.evaluation import evaluate
from karat.training.fitted_evaluation import FittedModel, TrainingResult
from karat.training_sets.files import TrainingSetFiles
from karat.training_sets.row_sample import SampledTrainingSet


def evaluate_whole(trained: TrainingResult, training_set: SampledTrainingSet) -> TrainingResult:
    """Replace the metrics of the sampled test rows, and those of the baseline, by those of all test rows.

    A clustering and an anomaly model keep the metrics of the sample: they have a silhouette, or synthetic anomalies.

    Args:
        trained: The model and its evaluation on the sample.
        training_set: The sample and the whole.

    Returns:
        The evaluation, with what was done on a sample among its warnings.
    """
    streamed = trained.placement is not None and trained.placement.streamed
    noted = replace(trained, warnings=[*trained.warnings, *training_set.notes(streamed=streamed)])
    spec, label, whole = trained.spec, training_set.label, training_set.whole
    if not training_set.sampled or spec.task in UNSUPERVISED or label is None or whole is None:
        return noted
    model = trained.model
    read = [spec.baseline.feature] if spec.baseline.strategy == "feature" and spec.baseline.feature else []
    labels, prediction, thresholds, kept = _predicted(model, whole.files, label, read)
    metrics = evaluate(spec.task, labels, prediction, threshold=thresholds, classes=model.classes or None)
    learned = whole.files.scan("train").select(label).collect().to_series()
    baseline = baseline_prediction(
        spec, learned, kept, labels, classes=model.classes, threshold=model.threshold, prediction=prediction
    )
    return replace(
        noted,
        metrics=metrics,
        baseline=baseline.metrics,
        rows={**trained.rows, "test": len(labels)},
    )


def _predicted(
    model: FittedModel, files: TrainingSetFiles, label: str, read: list[str]
) -> tuple[pl.Series, np.ndarray, float | np.ndarray, pl.DataFrame]:
    """Labels, predictions and thresholds of all test rows, and the columns ``read`` of them."""
    columns = list(dict.fromkeys([*model.feature_names, *read, label]))
    labels, predictions, thresholds, kept = [], [], [], []
    for batch in files.batches(part="test", columns=columns):
        rows = pl.DataFrame(pl.from_arrow(batch))
        known = rows.filter(pl.col(label).is_not_null())
        labels.append(known[label])
        predictions.append(model.predict(known))
        thresholds.append(np.broadcast_to(model.thresholds(known), known.height))
        kept.append(known.select(read or [label]))
    lines = np.concatenate(thresholds)
    threshold = float(lines[0]) if len(lines) and (lines == lines[0]).all() else lines
    return pl.concat(labels), np.concatenate(predictions), threshold, pl.concat(kept)
