"""The decision threshold of a binary model: chosen by a declared rule from training rows, and judged on test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec, ThresholdRule
from karat.kinds import Calibrator, Model

FOLDS = 4
#: A model that finds a smaller share of the positive test rows at its threshold gets a warning.
FEW_FOUND = 0.05


class Decider(Protocol):
    """A model with a threshold."""

    task: str
    threshold: float


def choose_threshold(
    spec: ModelSpec,
    rule: ThresholdRule,
    X: pl.DataFrame,
    y: pl.Series | None,
    order: pl.Series | None,
    *,
    weight: np.ndarray | None = None,
    calibrator: Calibrator | None = None,
) -> tuple[float, str]:
    """Choose a binary model's threshold from its training rows alone.

    Args:
        spec: The model's declaration.
        rule: What the threshold is to optimise.
        X: Features of the training rows, ``(rows, features)``.
        y: Their labels, ``(rows,)``.
        order: Their times; None without time.
        weight: How much each row counts in a fit, ``(rows,)``; all the same if None.
        calibrator: The model's calibration: the threshold is one of calibrated probabilities.

    Returns:
        The threshold, and a line that says how it was chosen.
    """
    assert y is not None
    positive = (y == y.unique().sort()[-1]).to_numpy()
    score = out_of_fold_scores(spec, X, y, order, weight)
    if np.isnan(score).any():
        return 0.5, "the threshold stayed at 0.5: a fold of the training rows has a single class"
    chosen = best_threshold(positive, score if calibrator is None else calibrator.apply(score), rule)
    aim = "the best f1" if rule.costs is None else "the least cost"
    return (
        chosen,
        f"the threshold {chosen:.4g} was chosen for {aim} on out-of-fold predictions of {len(score)} training rows",
    )


def out_of_fold_scores(
    spec: ModelSpec, X: pl.DataFrame, y: pl.Series, order: pl.Series | None, weight: np.ndarray | None = None
) -> np.ndarray:
    """Predict each block of training rows by a model of the other blocks; NaN where those have a single class.

    Args:
        spec: The model's declaration.
        X: Features of the training rows, ``(rows, features)``.
        y: Their labels, ``(rows,)``.
        order: Their times; None without time.
        weight: How much each row counts in a fit, ``(rows,)``; all the same if None.

    Returns:
        The predictions, ``(rows,)``.
    """
    score = np.full(X.height, np.nan)
    for fold in _folds(X.height, order, spec.seed):
        rest = np.setdiff1d(np.arange(X.height), fold)
        if y[rest].n_unique() < 2:
            continue
        model = Model(spec.kind, spec.task, spec.parameters, seed=spec.seed, class_weight=spec.class_weight)
        kept = None if weight is None else weight[rest]
        model.fit(X[rest], y[rest], order=None if order is None else order[rest], weight=kept)
        score[fold] = model.predict(X[fold])
    return score


def best_threshold(positive: np.ndarray, score: np.ndarray, rule: ThresholdRule) -> float:
    """Return the threshold that does best by ``rule``: halfway between two scores; the greatest of equals.

    Args:
        positive: Whether each row is of the positive class, ``(rows,)``.
        score: Its probability, ``(rows,)``.
        rule: What to optimise.
    """
    ranked = np.argsort(-score, kind="stable")
    scores, hits = score[ranked], np.cumsum(positive[ranked])
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # rows of one score are decided alike
    true, told = hits[ends], ends + 1
    missed = positive.sum() - true
    if rule.costs is not None:
        value = -(rule.costs.false_positive * (told - true) + rule.costs.false_negative * missed)
        if -rule.costs.false_negative * positive.sum() > value.max():  # to find nothing costs least
            return float(np.nextafter(max(1.0, float(scores[0])), 2))
    else:
        value = 2 * true / (told + positive.sum())
    best = int(np.argmax(value))
    below = scores[ends[best + 1]] if best + 1 < len(ends) else 0.0
    half = scores.dtype.type((scores[ends[best]] + below) / 2)
    return float(half if half > below else scores[ends[best]])  # nothing may lie between two neighbours


def threshold_warnings(model: Decider, metrics: Mapping[str, float]) -> list[str]:
    """Warn of a threshold at which a model finds hardly any positive row although it ranks them."""
    recall = metrics.get("recall")
    if model.task != "binary" or recall is None or recall >= FEW_FOUND:
        return []
    return [
        f"at the threshold {model.threshold:.3g} the model finds {recall:.2%} of the positive test rows: declare "
        "threshold: {maximize: f1}, or costs, in the model's file"
    ]


def _folds(rows: int, order: pl.Series | None, seed: int) -> list[np.ndarray]:
    """Blocks of consecutive rows in time, or of seeded ones without time."""
    place = np.random.default_rng(seed).permutation(rows) if order is None else order.arg_sort().to_numpy()
    return [np.sort(block) for block in np.array_split(place, FOLDS)]
