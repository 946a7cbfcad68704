"""Sums and maxima over the workers of a fit."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Reduction(Protocol):
    """Combines an array of each worker; every worker gets the result."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the workers, of the shape of ``values``."""
        ...

    def max(self, values: np.ndarray) -> np.ndarray:
        """Return the maximum over the workers, of the shape of ``values``."""
        ...


class OneWorker:
    """The reduction of a fit in one process."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the values as they are."""
        return values

    def max(self, values: np.ndarray) -> np.ndarray:
        """Return the values as they are."""
        return values
