"""K-means (scikit-learn) on scaled columns with one-hot texts.

Clusters are numbered by size, 0 the largest, so that a number keeps its meaning from fit to fit.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans as Estimator
from sklearn.exceptions import ConvergenceWarning

from karat.errors import UntrustedModel
from karat.kinds import _arrays
from karat.kinds._channels import Channels
from karat.kinds._contributions import Contributions
from karat.kinds._kind import Kind, Report, State

#: The unit of the contributions to a cluster.
UNIT = "squared distance"
_METHOD = (
    "Shapley values of how much nearer the row is to its center than to the next nearest, in squared distances of "
    "scaled features; the base is a row with every number at its mean and no text"
)


class KMeans(Kind):
    """K-means clustering; its prediction is the nearest center."""

    tasks = frozenset({"clustering"})
    defaults = {
        "n_clusters": 8,
        "init": "k-means++",
        "n_init": 10,
        "max_iter": 300,
        "tol": 1e-4,
        "algorithm": "lloyd",
        "n_jobs": 1,
    }

    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
    ) -> None:
        self._channels = Channels.fit(X, categorical, tell_missing=False)
        Z = self._channels.apply(X)
        given = {k: v for k, v in self.parameters.items() if k != "n_jobs"}
        with warnings.catch_warnings():
            # Fewer different rows than clusters: some stay empty, and no row is given to them.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = Estimator(**given, random_state=self.seed).fit(Z)
        sizes = np.bincount(found.labels_, minlength=len(found.cluster_centers_))
        self._centers = found.cluster_centers_[np.argsort(-sizes, kind="stable")]
        self._importance = _explained(Z, self._nearest(Z), self._channels.owners, X.shape[1])

    def space(self, X: np.ndarray) -> np.ndarray:
        """The scaled channels, ``(rows, channels)``."""
        return self._channels.apply(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        return self._nearest(self.space(X)).astype(np.float64)

    def _nearest(self, Z: np.ndarray) -> np.ndarray:
        made: np.ndarray = np.argmin(self._distances(Z), axis=1)
        return made

    def explained_output(self, X: np.ndarray) -> np.ndarray:
        """How much nearer a row is to its center than to the next one, in squared distances, ``(rows, 1)``."""
        distances = self._distances(self.space(X))
        if distances.shape[1] == 1:
            return np.zeros((len(X), 1))
        nearest = np.sort(distances, axis=1)
        made: np.ndarray = nearest[:, 1:2] - nearest[:, :1]
        return made

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Shapley values of the function that separates a row's cluster from the next; see ``Kind.contributions``.

        The difference of the squared distances to two centers is linear in the channels.
        """
        Z = self.space(X)
        order = np.argsort(self._distances(Z), axis=1, kind="stable")
        own, other = self._centers[order[:, 0]], self._centers[order[:, min(1, order.shape[1] - 1)]]
        channels = 2 * Z * (own - other)
        values = np.zeros((len(X), 1, X.shape[1]))
        for channel, owner in enumerate(self._channels.owners.tolist()):
            values[:, 0, owner] += channels[:, channel]
        base = (other**2 - own**2).sum(axis=1)
        return Contributions(values, base[:, None], _METHOD, UNIT)

    def _distances(self, Z: np.ndarray) -> np.ndarray:
        """Squared distances to each center, ``(rows, clusters)``."""
        # One center at a time: the sum runs along each row alone, so that a row's never depends on the others.
        return np.column_stack([((Z - center) ** 2).sum(axis=1) for center in self._centers])

    def importance(self) -> np.ndarray:
        """Shares of the variance between the clusters."""
        return self._importance

    def _save_estimator(self, folder: Path) -> None:
        arrays = self._channels.arrays() | {"centers": self._centers, "importance": self._importance}
        _arrays.save(arrays, folder)

    def _load_estimator(self, folder: Path, state: State) -> None:
        arrays = _arrays.load(folder)
        if not {"centers", "importance"} <= set(arrays):
            raise UntrustedModel("the model's file holds no cluster centers", where=str(folder))
        self._centers, self._importance = arrays.pop("centers"), arrays.pop("importance")
        features = self._importance.shape
        _arrays.check_shapes(arrays, dict.fromkeys(("mean", "scale", "told", "codes"), features), folder)
        self._channels = Channels.of(arrays)
        if self._centers.ndim != 2 or self._centers.shape[1] != self._channels.width or not len(self._centers):
            raise UntrustedModel("the cluster centers in the model's file have other columns", where=str(folder))


def _explained(Z: np.ndarray, clusters: np.ndarray, owners: np.ndarray, features: int) -> np.ndarray:
    """Share of the variance between the clusters that each column explains, ``(features,)``."""
    between = np.zeros(Z.shape[1])
    for cluster in np.unique(clusters):
        rows = Z[clusters == cluster]
        between += len(rows) * (rows.mean(0) - Z.mean(0)) ** 2
    shares = np.bincount(owners, weights=between, minlength=features)
    return shares / shares.sum() if shares.sum() else shares
