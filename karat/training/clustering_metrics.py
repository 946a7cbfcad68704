"""Metrics of a clustering as functions of sums over rows, so that a bootstrap can resample them."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
from scipy import sparse
from sklearn import metrics as sk

from karat.training.bootstrap import ResampledMetric
from karat.training.evaluation import silhouette_rows


def resampled_clustering_metric(
    metric: str, groups: pl.Series, clusters: np.ndarray, space: np.ndarray | None
) -> ResampledMetric | None:
    """Return a clustering's metric as a function of sums.

    ``adjusted_rand`` sums the rows in each cell of known group by cluster. ``silhouette`` is the mean of the rows' own
    values; the clusters stay as they are.

    Args:
        metric: "adjusted_rand" or "silhouette".
        groups: Known groups, null where unknown, ``(rows,)``.
        clusters: The model's clusters, ``(rows,)``.
        space: Coordinates in which the clustering measures distances, ``(rows, dimensions)``.

    Returns:
        The metric, or None if ``evaluate`` has no such metric on these rows.
    """
    if metric == "silhouette":
        return None if space is None else _silhouette_metric(space, clusters)
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
        sparse.csr_array((np.ones(len(rows)), (rows, cells)), shape=shape), partial(_adjusted_rand, width=width)
    )


def _adjusted_rand(sums: np.ndarray, *, width: int) -> np.ndarray:
    """Adjusted Rand index (Hubert and Arabie, Comparing partitions, 1985) from pairs of rows."""
    cells = sums.reshape(len(sums), -1, width)
    both = _pair_count(cells).sum(axis=(1, 2))
    one, other = _pair_count(cells.sum(axis=2)).sum(axis=1), _pair_count(cells.sum(axis=1)).sum(axis=1)
    with np.errstate(all="ignore"):
        chance = one * other / _pair_count(sums.sum(axis=1))
        rest = (one + other) / 2 - chance
        # Both put everything together, or everything apart: they agree.
        return np.asarray(np.where(rest == 0, 1.0, (both - chance) / rest))


def _pair_count(number: np.ndarray) -> np.ndarray:
    made: np.ndarray = number * (number - 1) / 2
    return made


def _silhouette_metric(space: np.ndarray, clusters: np.ndarray) -> ResampledMetric | None:
    rows = silhouette_rows(len(clusters))
    if not 1 < len(np.unique(clusters[rows])) < len(rows):
        return None
    columns = np.zeros((len(clusters), 2))
    columns[rows, 0] = sk.silhouette_samples(space[rows], clusters[rows])
    columns[rows, 1] = 1
    return ResampledMetric(sparse.csr_array(columns), _mean_silhouette)


def _mean_silhouette(sums: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])
