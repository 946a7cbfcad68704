"""Shapley values of any predictor, in which an unknown feature counts as missing.

The value of a set of known features is the prediction of the row with every other feature missing. For a kind without
an algorithm of its own; rows with few given values are exact, others are sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

#: Up to so many given features every subset is predicted.
EXACT_FEATURES = 8
#: Pairs of a random order of the features and its reverse, for rows with more.
PAIRS = 16
METHOD = (
    f"Shapley values in which an unknown feature counts as missing: exact up to {EXACT_FEATURES} given features, else "
    f"from {2 * PAIRS} orders of the features; the base is the prediction of a row without any value"
)


def baseline_shapley(
    predict: Callable[[np.ndarray], np.ndarray], X: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Explain each row.

    Args:
        predict: ``(rows, ...)`` -> ``(rows, outputs)``.
        X: Features, ``(rows, features)`` or ``(rows, steps, features)``; a sequence is known as a whole or not at all.
        seed: Seed of the orders.

    Returns:
        The contributions ``(rows, outputs, features)``, and the prediction of a row without any value, ``(rows,
        outputs)``. They add up to the prediction whatever the number of orders.
    """
    base = predict(np.full((1, *X.shape[1:]), np.nan))
    values = np.zeros((len(X), base.shape[1], X.shape[-1]))
    for row, x in enumerate(X):
        given = np.flatnonzero(~np.isnan(x).reshape(-1, X.shape[-1]).all(axis=0))

        def of_masks(masks: np.ndarray, x: np.ndarray = x, given: np.ndarray = given) -> np.ndarray:
            known = np.zeros((len(masks), x.shape[-1]), dtype=bool)
            known[:, given] = masks
            return predict(np.where(known.reshape(len(masks), *([1] * (x.ndim - 1)), -1), x, np.nan))

        explain = _exact if len(given) <= EXACT_FEATURES else _sampled
        values[row][:, given] = explain(of_masks, len(given), seed)
    return values, np.repeat(base, len(X), axis=0)


def _exact(of_masks: Callable[[np.ndarray], np.ndarray], count: int, seed: int) -> np.ndarray:
    """Sum over all subsets, ``(outputs, count)``."""
    masks = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    worth = of_masks(masks)
    out = np.zeros((worth.shape[1], count))
    for player in range(count):
        without = np.flatnonzero(~masks[:, player])
        weights = np.array([1.0 / (count * comb(count - 1, size)) for size in masks[without].sum(axis=1).tolist()])
        out[:, player] = weights @ (worth[without | (1 << player)] - worth[without])
    return out


def _sampled(of_masks: Callable[[np.ndarray], np.ndarray], count: int, seed: int) -> np.ndarray:
    """Mean over random orders and their reverses, ``(outputs, count)``."""
    random = np.random.default_rng(seed)
    forward = [random.permutation(count) for _ in range(PAIRS)]
    orders = [order for pair in forward for order in (pair, pair[::-1])]
    places = np.array([np.argsort(order) for order in orders])  # (orders, features)
    masks = places[:, None, :] < np.arange(count + 1)[None, :, None]  # (orders, known, features)
    worth = of_masks(masks.reshape(-1, count)).reshape(len(orders), count + 1, -1)
    gains = np.diff(worth, axis=1)  # (orders, position, outputs)
    out: np.ndarray = np.mean([gains[i, places[i]] for i in range(len(orders))], axis=0).T
    return out
