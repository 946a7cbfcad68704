"""Transforms of a number label: a model learns the transformed label and predicts in the label's own unit."""

from __future__ import annotations

import numpy as np

from karat.errors import UnusableLabel

#: The declared names. ``log1p`` is log(1 + y), ``log`` the natural logarithm.
TRANSFORMS = ("log1p", "log")
#: The greatest exponent whose exponential is finite: a model that extrapolates must not predict infinity.
_MAX_EXPONENT = 700.0


def transform_label(name: str, y: np.ndarray) -> np.ndarray:
    """Transform labels before a fit.

    Args:
        name: One of ``TRANSFORMS``.
        y: Labels, ``(rows,)`` or ``(rows, parts)``.

    Raises:
        UnusableLabel: A label has no logarithm.
    """
    least = least_label(name)
    outside = int((y <= least).sum())
    if outside:
        raise UnusableLabel(
            f"the label can't be transformed by {name}: {outside} of {y.size} values are {least:g} or less, such as "
            f"{float(y.min()):g}",
            where="label.transform",
            remedy="leave label.transform out, keep such rows out by label.where, or shift the label's expression"
            + (" (log1p takes 0)" if name == "log" else ""),
        )
    return np.asarray(np.log1p(y) if name == "log1p" else np.log(y))


def least_label(name: str) -> float:
    """Return the greatest number that has no logarithm under a transform."""
    return -1.0 if name == "log1p" else 0.0


def restore_label(name: str, prediction: np.ndarray) -> np.ndarray:
    """Return predictions of the transformed label in the label's own unit."""
    bounded = np.minimum(prediction, _MAX_EXPONENT)
    return np.asarray(np.expm1(bounded) if name == "log1p" else np.exp(bounded))
