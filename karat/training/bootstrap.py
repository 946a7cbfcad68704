"""Bootstrap of a metric over a thousand resamples at once: every metric is a function of sums over rows.

A resample only changes how often each cluster of rows counts. The sums of all resamples are therefore one matrix
product, ``(resamples, clusters) @ (clusters, sums)``. The metrics equal scikit-learn's on the rows themselves. A
ranking
with more than ``BINS`` distinct places is cut into as many, which moves roc_auc and average_precision by less than
0.001.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

BINS = 4096
#: More clusters than this are merged at random into as many bundles, which leaves the variance as it is.
BUNDLES = 10_000
_CHUNK = 4_000_000


@dataclass(frozen=True)
class ResampledMetric:
    """A metric as a function of column sums over rows.

    Attributes:
        columns: What is summed, ``(rows, k)``.
        finish: Maps sums ``(resamples, k)`` to the metric ``(resamples,)``; NaN where a resample does not allow it.
    """

    columns: sparse.csr_array
    finish: Callable[[np.ndarray], np.ndarray]

    def value(self) -> float:
        """Return the metric on every row once."""
        return float(self.finish(np.asarray(self.columns.sum(axis=0), dtype=float).reshape(1, -1))[0])


def resample(metrics: Sequence[ResampledMetric], clusters: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Compute each metric on resamples of whole clusters, drawn with replacement; all metrics share the draws.

    Args:
        metrics: The metrics.
        clusters: Each row's cluster, 0 to C - 1, ``(rows,)``.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Metric values, ``(resamples, metrics)``.
    """
    random = np.random.default_rng(seed)
    number = int(clusters.max()) + 1
    if number > BUNDLES:
        clusters, number = (random.permutation(number) % BUNDLES)[clusters], BUNDLES
    rows = np.arange(len(clusters))
    member = sparse.csr_array((np.ones(len(clusters)), (clusters, rows)), shape=(number, len(clusters)))
    sums = (member @ sparse.hstack([m.columns for m in metrics], format="csr")).T.tocsr()
    places = np.cumsum([0, *(m.columns.shape[1] for m in metrics)])
    size = max(1, min(resamples, _CHUNK // max(number, sums.shape[0])))
    values = []
    for start in range(0, resamples, size):
        drawn = (sums @ _draw_counts(random, number, min(size, resamples - start))).T
        parts = [m.finish(drawn[:, a:b]) for m, a, b in zip(metrics, places, places[1:], strict=False)]
        values.append(np.stack(parts, axis=1))
    return np.concatenate(values)


def _draw_counts(random: np.random.Generator, number: int, times: int) -> np.ndarray:
    """Return how often each cluster was drawn in ``number`` draws with replacement, ``(number, times)``."""
    drawn = random.integers(0, number, (times, number), dtype=np.int32)
    each = [np.bincount(row, minlength=number) for row in drawn]
    return np.stack(each, axis=1).astype(float)


def resampled_metric(
    task: str,
    metric: str,
    y: np.ndarray,
    prediction: np.ndarray,
    *,
    threshold: float | np.ndarray,
    classes: Sequence[Any] = (),
) -> ResampledMetric | None:
    """Return ``metric`` as ``evaluate`` computes it on these rows, as a function of sums.

    Args:
        task: The model's task.
        metric: The metric's name.
        y: Labels, ``(rows,)`` or ``(rows, parts)``.
        prediction: Predictions, ``(rows,)`` or ``(rows, parts)``.
        threshold: The model's threshold, or that of each row, ``(rows,)``.
        classes: The model's classes.

    Returns:
        The metric, or None if it is no function of sums.
    """
    if task in ("regression", "forecast"):
        return _regression_metric(metric, y.astype(float).reshape(len(y), -1), prediction.reshape(len(y), -1))
    if task == "multiclass":
        return _multiclass_metric(metric, y, prediction, list(classes) or list(range(prediction.shape[1])))
    if task not in ("binary", "anomaly", "multilabel"):
        return None
    positive = y == classes[1] if task == "binary" and classes else y.astype(float) == 1
    positive, score = positive.reshape(len(y), -1), prediction.reshape(len(y), -1)
    each = [_binary_metric(metric, p, s, threshold) for p, s in zip(positive.T, score.T, strict=True)]
    return _mean_metric([f for f in each if f is not None])


def _mean_metric(metrics: Sequence[ResampledMetric]) -> ResampledMetric | None:
    """Return the mean of several metrics; in a resample the mean of those that it allows."""
    if len(metrics) < 2:
        return metrics[0] if metrics else None
    places = np.cumsum([0, *(f.columns.shape[1] for f in metrics)])

    def finish(sums: np.ndarray) -> np.ndarray:
        each = [f.finish(sums[:, a:b]) for f, a, b in zip(metrics, places, places[1:], strict=False)]
        with np.errstate(all="ignore"):
            known = np.isfinite(each)
            return np.asarray(np.where(known, each, 0).sum(axis=0) / known.sum(axis=0))

    return ResampledMetric(sparse.hstack([f.columns for f in metrics], format="csr"), finish)


def _sum_columns(*columns: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(np.column_stack([c.astype(float) for c in columns]))


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def _regression_metric(metric: str, y: np.ndarray, prediction: np.ndarray) -> ResampledMetric | None:
    off, steps = prediction - y, np.full(len(y), y.shape[1])
    if metric == "mae":
        return ResampledMetric(_sum_columns(np.abs(off).sum(axis=1), steps), _ratio)
    if metric == "rmse":
        return ResampledMetric(_sum_columns((off**2).sum(axis=1), steps), lambda sums: np.sqrt(_ratio(sums)))
    if metric == "mape":
        told = y != 0
        share = np.divide(np.abs(off), np.abs(y), out=np.zeros_like(y), where=told)
        return ResampledMetric(_sum_columns(share.sum(axis=1), told.sum(axis=1)), _ratio)
    if metric == "r2":
        middle = y.mean(axis=0)  # sums of squares lose their digits far from 0
        columns = _sum_columns((off**2).sum(axis=1), np.ones(len(y)), *(y - middle).T, *((y - middle) ** 2).T)
        return ResampledMetric(columns, partial(_explained_variance, parts=y.shape[1]))
    return None


def _explained_variance(sums: np.ndarray, *, parts: int) -> np.ndarray:
    wrong, number = sums[:, 0], sums[:, 1:2]
    once, squared = sums[:, 2 : 2 + parts], sums[:, 2 + parts :]
    with np.errstate(all="ignore"):
        return np.asarray(1 - wrong / (squared - once**2 / number).sum(axis=1))


def _binary_metric(
    metric: str, positive: np.ndarray, score: np.ndarray, threshold: float | np.ndarray
) -> ResampledMetric | None:
    if metric in ("roc_auc", "average_precision"):
        if positive.all() or not positive.any():
            return None
        return _ranking_metric(positive, score, _roc_auc if metric == "roc_auc" else _average_precision)
    if metric == "log_loss":
        return ResampledMetric(
            _sum_columns(_log_loss(np.where(positive, score, 1 - score)), np.ones(len(score))), _ratio
        )
    decided = score >= threshold
    if metric == "accuracy":
        return ResampledMetric(_sum_columns(decided == positive, np.ones(len(score))), _ratio)
    return _threshold_metric(metric, positive, decided)


def _log_loss(chance: np.ndarray) -> np.ndarray:
    """Return minus the logarithm, clipped at the type's own precision as in scikit-learn."""
    least = np.finfo(chance.dtype).eps
    made: np.ndarray = -np.log(np.clip(chance, least, 1 - least).astype(float))
    return made


def _threshold_metric(metric: str, positive: np.ndarray, decided: np.ndarray) -> ResampledMetric | None:
    whole = {"precision": (decided, 1), "recall": (positive, 1), "f1": (decided.astype(int) + positive, 2)}
    if metric not in whole:
        return None
    beneath, twice = whole[metric]
    both = twice * (positive & decided).astype(float)
    # 0 for an empty denominator, as in evaluate.
    return ResampledMetric(_sum_columns(both, beneath), lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))


def _ranking_metric(
    positive: np.ndarray, score: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]
) -> ResampledMetric:
    """Sum rows by place in the order of the scores, greatest first: positives, then negatives."""
    places = _rank_bins(positive, score)
    number = int(places.max()) + 1
    columns = np.where(positive, places, number + places)
    rows = np.arange(len(score))
    return ResampledMetric(
        sparse.csr_array((np.ones(len(score)), (rows, columns)), shape=(len(score), 2 * number)), finish
    )


def _rank_bins(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return places ``(rows,)`` that rise as the score falls.

    Negatives with no positive between them share a place, which changes neither metric.
    """
    _, inverse = np.unique(-score, return_inverse=True)
    held = np.bincount(inverse, weights=positive) > 0
    place = np.cumsum(held | np.concatenate([[True], held[:-1]])) - 1
    number = int(place[-1]) + 1
    if number > BINS:
        place = place * BINS // number
    return np.asarray(place[inverse])


def _split_classes(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = sums.shape[1] // 2
    return sums[:, :middle], sums[:, middle:]


def _roc_auc(sums: np.ndarray) -> np.ndarray:
    positive, negative = _split_classes(sums)
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1) + negative / 2
    with np.errstate(all="ignore"):
        return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))


def _average_precision(sums: np.ndarray) -> np.ndarray:
    positive, negative = _split_classes(sums)
    found = np.cumsum(positive, axis=1)
    seen = found + np.cumsum(negative, axis=1)
    with np.errstate(all="ignore"):
        precise = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        return np.asarray((positive * precise).sum(axis=1) / positive.sum(axis=1))


def _multiclass_metric(metric: str, y: np.ndarray, chances: np.ndarray, classes: list[Any]) -> ResampledMetric | None:
    unseen = [c for c in dict.fromkeys(y.tolist()) if c not in classes]
    shares = np.hstack([chances, np.zeros((len(chances), len(unseen)))]) / chances.sum(axis=1, keepdims=True)
    place = {c: i for i, c in enumerate([*classes, *unseen])}
    codes = np.array([place[v] for v in y.tolist()])
    decided, present = shares.argmax(axis=1), sorted(set(codes.tolist()))
    if metric == "log_loss":
        return ResampledMetric(
            _sum_columns(_log_loss(shares[np.arange(len(codes)), codes]), np.ones(len(codes))), _ratio
        )
    if metric == "accuracy":
        return ResampledMetric(_sum_columns(decided == codes, np.ones(len(codes))), _ratio)
    if metric == "roc_auc" and len(present) < len(place):
        return None
    if metric == "roc_auc":
        return _mean_metric([_ranking_metric(codes == c, shares[:, c], _roc_auc) for c in present])
    each = [_threshold_metric(metric, codes == c, decided == c) for c in present]
    return _mean_metric([f for f in each if f is not None])
