"""Validation rows for early stopping and the learning curve, drawn from the training rows."""

from __future__ import annotations

import numpy as np

#: With fewer validation rows the loss on them is noise, so no row is set aside and every round is trained.
FEWEST = 20


def validation_rows(y: np.ndarray, share: float, *, classes: int, seed: int) -> np.ndarray:
    """Draw random validation rows, stratified by class so that no class vanishes from the training rows.

    Args:
        y: Labels, ``(rows,)``; class codes if ``classes`` is given.
        share: Share of the rows to draw.
        classes: Number of classes; 0 for a regression.
        seed: Seed of the draw.

    Returns:
        ``(rows,)`` True for a validation row; all False if they would be fewer than ``FEWEST``.
    """
    aside = np.zeros(len(y), dtype=bool)
    random = np.random.default_rng(seed)
    for group in range(classes) if classes else (None,):
        rows = np.arange(len(y)) if group is None else np.flatnonzero(y == group)
        aside[random.permutation(rows)[: int(len(rows) * share)]] = True
    return aside if aside.sum() >= FEWEST else np.zeros(len(y), dtype=bool)


def latest_rows(rows: int, order: np.ndarray | None, share: float) -> np.ndarray | None:
    """Take the latest rows for validation. Rows of one time stay on one side.

    Args:
        rows: Number of rows.
        order: The time of each row, ``(rows,)``; None if the rows are in the order of time.
        share: Share of the rows to take.

    Returns:
        ``(rows,)`` True for a validation row; None if they would be fewer than ``FEWEST``, or all rows.
    """
    times = np.arange(rows) if order is None else order
    first = np.sort(times)[rows - int(rows * share)] if int(rows * share) else None
    aside = np.zeros(rows, dtype=bool) if first is None else times >= first
    return aside if FEWEST <= aside.sum() < rows else None
