"""A metric on a thousand resamples of the test rows at once: every metric is a function of sums over rows.

A resample only changes how often each group of rows counts, so the sums of all resamples are one matrix product,
(resamples, groups) by (groups, sums). The metrics equal scikit-learn's on the rows themselves; a ranking with more than
``BINS`` different places is cut into as many, which moves roc_auc and average_precision by less than 0.001.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

BINS = 4096
#: More groups than this are drawn in so many bundles, put together at random, which leaves the spread as it is.
BUNDLES = 10_000
_CHUNK = 4_000_000


@dataclass(frozen=True)
class ResampledMetric:
    """``columns`` (rows, k) are summed over the rows; ``finish`` makes of sums (resamples, k) the metric (resamples,),
    NaN where a resample does not allow it."""

    columns: sparse.csr_array
    finish: Callable[[np.ndarray], np.ndarray]

    def of_all(self) -> float:
        """The metric of every row once."""
        return float(self.finish(np.asarray(self.columns.sum(axis=0), dtype=float).reshape(1, -1))[0])


def resample(figures: Sequence[ResampledMetric], groups: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """(resamples, figures): each figure on ``resamples`` draws of whole groups with replacement, the same draws for
    all. ``groups`` (rows,) numbers each row's group, 0 to C - 1."""
    random = np.random.default_rng(seed)
    number = int(groups.max()) + 1
    if number > BUNDLES:
        groups, number = (random.permutation(number) % BUNDLES)[groups], BUNDLES
    rows = np.arange(len(groups))
    member = sparse.csr_array((np.ones(len(groups)), (groups, rows)), shape=(number, len(groups)))
    sums = (member @ sparse.hstack([f.columns for f in figures], format="csr")).T.tocsr()
    places = np.cumsum([0, *(f.columns.shape[1] for f in figures)])
    size = max(1, min(resamples, _CHUNK // max(number, sums.shape[0])))
    found = []
    for start in range(0, resamples, size):
        drawn = (sums @ _counts(random, number, min(size, resamples - start))).T
        parts = [f.finish(drawn[:, a:b]) for f, a, b in zip(figures, places, places[1:], strict=False)]
        found.append(np.stack(parts, axis=1))
    return np.concatenate(found)


def _counts(random: np.random.Generator, number: int, times: int) -> np.ndarray:
    """(number, times): how often each group was drawn in ``number`` draws with replacement."""
    drawn = random.integers(0, number, (times, number), dtype=np.int32)
    each = [np.bincount(row, minlength=number) for row in drawn]
    return np.stack(each, axis=1).astype(float)


def figure(
    task: str, metric: str, y: np.ndarray, prediction: np.ndarray, *, threshold: float, classes: Sequence[Any] = ()
) -> ResampledMetric | None:
    """``metric`` as ``evaluate`` gives it for these rows; None where it is no function of sums.

    ``y`` and ``prediction`` are as ``evaluate`` has them: (n,) or (n, parts); ``classes`` are those of the model."""
    if task in ("regression", "forecast"):
        return _of_numbers(metric, y.astype(float).reshape(len(y), -1), prediction.reshape(len(y), -1))
    if task == "multiclass":
        return _of_classes(metric, y, prediction, list(classes) or list(range(prediction.shape[1])))
    if task not in ("binary", "anomaly", "multilabel"):
        return None
    positive = y == classes[1] if task == "binary" and classes else y.astype(float) == 1
    positive, score = positive.reshape(len(y), -1), prediction.reshape(len(y), -1)
    each = [_of_chances(metric, p, s, threshold) for p, s in zip(positive.T, score.T, strict=True)]
    return _mean([f for f in each if f is not None])


def _mean(figures: Sequence[ResampledMetric]) -> ResampledMetric | None:
    """The mean of several; in a resample of those that it allows."""
    if len(figures) < 2:
        return figures[0] if figures else None
    places = np.cumsum([0, *(f.columns.shape[1] for f in figures)])

    def finish(sums: np.ndarray) -> np.ndarray:
        each = [f.finish(sums[:, a:b]) for f, a, b in zip(figures, places, places[1:], strict=False)]
        with np.errstate(all="ignore"):
            known = np.isfinite(each)
            return np.asarray(np.where(known, each, 0).sum(axis=0) / known.sum(axis=0))

    return ResampledMetric(sparse.hstack([f.columns for f in figures], format="csr"), finish)


def _sums(*columns: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(np.column_stack([c.astype(float) for c in columns]))


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def _of_numbers(metric: str, y: np.ndarray, prediction: np.ndarray) -> ResampledMetric | None:
    off, steps = prediction - y, np.full(len(y), y.shape[1])
    if metric == "mae":
        return ResampledMetric(_sums(np.abs(off).sum(axis=1), steps), _ratio)
    if metric == "rmse":
        return ResampledMetric(_sums((off**2).sum(axis=1), steps), lambda sums: np.sqrt(_ratio(sums)))
    if metric == "mape":
        told = y != 0
        share = np.divide(np.abs(off), np.abs(y), out=np.zeros_like(y), where=told)
        return ResampledMetric(_sums(share.sum(axis=1), told.sum(axis=1)), _ratio)
    if metric == "r2":
        middle = y.mean(axis=0)  # sums of squares lose their digits far from 0
        columns = _sums((off**2).sum(axis=1), np.ones(len(y)), *(y - middle).T, *((y - middle) ** 2).T)
        return ResampledMetric(columns, partial(_explained, parts=y.shape[1]))
    return None


def _explained(sums: np.ndarray, *, parts: int) -> np.ndarray:
    wrong, number = sums[:, 0], sums[:, 1:2]
    once, squared = sums[:, 2 : 2 + parts], sums[:, 2 + parts :]
    with np.errstate(all="ignore"):
        return np.asarray(1 - wrong / (squared - once**2 / number).sum(axis=1))


def _of_chances(metric: str, positive: np.ndarray, score: np.ndarray, threshold: float) -> ResampledMetric | None:
    if metric in ("roc_auc", "average_precision"):
        if positive.all() or not positive.any():
            return None
        return _ranked(positive, score, _area if metric == "roc_auc" else _precision)
    if metric == "log_loss":
        return ResampledMetric(_sums(_surprise(np.where(positive, score, 1 - score)), np.ones(len(score))), _ratio)
    decided = score >= threshold
    if metric == "accuracy":
        return ResampledMetric(_sums(decided == positive, np.ones(len(score))), _ratio)
    return _decided(metric, positive, decided)


def _surprise(chance: np.ndarray) -> np.ndarray:
    """Minus the logarithm, of no less than the type's own precision, as scikit-learn has it."""
    least = np.finfo(chance.dtype).eps
    made: np.ndarray = -np.log(np.clip(chance, least, 1 - least).astype(float))
    return made


def _decided(metric: str, positive: np.ndarray, decided: np.ndarray) -> ResampledMetric | None:
    whole = {"precision": (decided, 1), "recall": (positive, 1), "f1": (decided.astype(int) + positive, 2)}
    if metric not in whole:
        return None
    beneath, twice = whole[metric]
    both = twice * (positive & decided).astype(float)
    # 0 where there is nothing to divide by, as in evaluate.
    return ResampledMetric(_sums(both, beneath), lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))


def _ranked(positive: np.ndarray, score: np.ndarray, finish: Callable[[np.ndarray], np.ndarray]) -> ResampledMetric:
    """Sums by place in the order of the scores, from the greatest down: first the positives', then the negatives'."""
    places = _places(positive, score)
    number = int(places.max()) + 1
    columns = np.where(positive, places, number + places)
    rows = np.arange(len(score))
    return ResampledMetric(
        sparse.csr_array((np.ones(len(score)), (rows, columns)), shape=(len(score), 2 * number)), finish
    )


def _places(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(rows,) numbers that rise as the score falls; negatives with no positive between them share one, which changes
    neither metric."""
    _, inverse = np.unique(-score, return_inverse=True)
    held = np.bincount(inverse, weights=positive) > 0
    place = np.cumsum(held | np.concatenate([[True], held[:-1]])) - 1
    number = int(place[-1]) + 1
    if number > BINS:
        place = place * BINS // number
    return np.asarray(place[inverse])


def _halves(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = sums.shape[1] // 2
    return sums[:, :middle], sums[:, middle:]


def _area(sums: np.ndarray) -> np.ndarray:
    positive, negative = _halves(sums)
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1) + negative / 2
    with np.errstate(all="ignore"):
        return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))


def _precision(sums: np.ndarray) -> np.ndarray:
    positive, negative = _halves(sums)
    found = np.cumsum(positive, axis=1)
    seen = found + np.cumsum(negative, axis=1)
    with np.errstate(all="ignore"):
        precise = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        return np.asarray((positive * precise).sum(axis=1) / positive.sum(axis=1))


def _of_classes(metric: str, y: np.ndarray, chances: np.ndarray, classes: list[Any]) -> ResampledMetric | None:
    unseen = [c for c in dict.fromkeys(y.tolist()) if c not in classes]
    shares = np.hstack([chances, np.zeros((len(chances), len(unseen)))]) / chances.sum(axis=1, keepdims=True)
    place = {c: i for i, c in enumerate([*classes, *unseen])}
    codes = np.array([place[v] for v in y.tolist()])
    decided, present = shares.argmax(axis=1), sorted(set(codes.tolist()))
    if metric == "log_loss":
        return ResampledMetric(_sums(_surprise(shares[np.arange(len(codes)), codes]), np.ones(len(codes))), _ratio)
    if metric == "accuracy":
        return ResampledMetric(_sums(decided == codes, np.ones(len(codes))), _ratio)
    if metric == "roc_auc" and len(present) < len(place):
        return None
    if metric == "roc_auc":
        return _mean([_ranked(codes == c, shares[:, c], _area) for c in present])
    each = [_decided(metric, codes == c, decided == c) for c in present]
    return _mean([f for f in each if f is not None])
