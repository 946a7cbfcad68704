"""Gauss-Legendre quadrature on the interval from 0 to 1."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` nodes between 0 and 1 and their weights; exact for polynomials up to the degree 2 count - 1."""
    points, weights = np.polynomial.legendre.leggauss(count)
    nodes, shares = (points + 1.0) / 2.0, weights / 2.0
    nodes.flags.writeable = shares.flags.writeable = False
    return nodes, shares
