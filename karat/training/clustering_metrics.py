"""A clustering's metrics as sums over its rows, so that they can be resampled as every other metric is."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
from scipy import sparse
from sklearn import metrics as sk

from karat.training.bootstrap import ResampledMetric
from karat.training.evaluation import silhouette_rows


def figure_of_clusters(
    metric: str, groups: pl.Series, clusters: np.ndarray, space: np.ndarray | None
) -> ResampledMetric | None:
    """``adjusted_rand`` against the ``groups`` that are known, from how many rows fall into each cell of group by
    cluster; ``silhouette`` as the mean of the rows' own, where the clusters stay as they are. None where ``evaluate``
    has no such metric."""
    if metric == "silhouette":
        return None if space is None else _silhouette(space, clusters)
    known = groups.is_not_null().to_numpy()
    if metric != "adjusted_rand" or not known.any():
        return None
    codes = groups.rank("dense").fill_null(0).to_numpy().astype(int)
    own = np.unique(clusters, return_inverse=True)[1]
    width = int(own.max()) + 1
    rows = np.flatnonzero(known)
    cells = (codes[rows] - 1) * width + own[rows]
    shape = (len(codes), int(codes.max()) * width)
    return ResampledMetric(
        sparse.csr_array((np.ones(len(rows)), (rows, cells)), shape=shape), partial(_rand, width=width)
    )


def _rand(sums: np.ndarray, *, width: int) -> np.ndarray:
    """Hubert and Arabie, Comparing partitions, 1985: pairs of rows that both sides put together or apart."""
    cells = sums.reshape(len(sums), -1, width)
    both = _pairs(cells).sum(axis=(1, 2))
    one, other = _pairs(cells.sum(axis=2)).sum(axis=1), _pairs(cells.sum(axis=1)).sum(axis=1)
    with np.errstate(all="ignore"):
        chance = one * other / _pairs(sums.sum(axis=1))
        rest = (one + other) / 2 - chance
        # Nothing is left to be wrong about where both put everything together, or everything apart.
        return np.asarray(np.where(rest == 0, 1.0, (both - chance) / rest))


def _pairs(number: np.ndarray) -> np.ndarray:
    made: np.ndarray = number * (number - 1) / 2
    return made


def _silhouette(space: np.ndarray, clusters: np.ndarray) -> ResampledMetric | None:
    rows = silhouette_rows(len(clusters))
    if not 1 < len(np.unique(clusters[rows])) < len(rows):
        return None
    columns = np.zeros((len(clusters), 2))
    columns[rows, 0] = sk.silhouette_samples(space[rows], clusters[rows])
    columns[rows, 1] = 1
    return ResampledMetric(sparse.csr_array(columns), _mean)


def _mean(sums: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])
