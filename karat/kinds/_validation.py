"""Rows set aside from the training rows, for stopping early and for the learning curve."""

from __future__ import annotations

import numpy as np

#: With fewer rows than this set aside, the loss on them says nothing, and every round is trained.
FEWEST = 20


def validation_rows(y: np.ndarray, share: float, *, classes: int, seed: int) -> np.ndarray:
    """(n,) True for the rows set aside: ``share`` of each class, so that none vanishes from what is learned from;
    none at all where they would be fewer than ``FEWEST``."""
    aside = np.zeros(len(y), dtype=bool)
    random = np.random.default_rng(seed)
    for group in range(classes) if classes else (None,):
        rows = np.arange(len(y)) if group is None else np.flatnonzero(y == group)
        aside[random.permutation(rows)[: int(len(rows) * share)]] = True
    return aside if aside.sum() >= FEWEST else np.zeros(len(y), dtype=bool)


def latest_rows(rows: int, order: np.ndarray | None, share: float) -> np.ndarray | None:
    """(n,) True for the latest ``share`` of the rows by ``order`` (None: as they stand); rows of one time fall on one
    side. None where they would be fewer than ``FEWEST``, or all."""
    times = np.arange(rows) if order is None else order
    first = np.sort(times)[rows - int(rows * share)] if int(rows * share) else None
    aside = np.zeros(rows, dtype=bool) if first is None else times >= first
    return aside if FEWEST <= aside.sum() < rows else None
