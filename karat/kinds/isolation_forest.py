"""Isolation forest (scikit-learn) for anomaly detection.

The score is that of Liu, Ting and Zhou, Isolation Forest, ICDM 2008: near 1 is anomalous, under 0.5 is normal. A text
enters as the share of training rows that have it, because rare values are what the detector looks for.
"""

# ruff: noqa: SLF001 (scikit-learn offers no public way to its scores without its checks, which take longer than the rest)
from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest as Forest

from karat.kinds import _skops
from karat.kinds._contributions import ISOLATION, PATH_DEPENDENT, Contributions
from karat.kinds._kind import UNITS, Kind, Report, State
from karat.kinds._tree_shap import Tree, TreeEnsemble
from karat.kinds._trees import check_forest


class IsolationForest(Kind):
    """Isolation forest on 32-bit values, as scikit-learn's trees compare them."""

    tasks = frozenset({"anomaly"})
    defaults = {
        "n_estimators": 100,
        "max_samples": "auto",
        "contamination": "auto",  # a share sets the threshold: this share of the training rows is anomalous
        "max_features": 1.0,
        "bootstrap": False,
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
        self._shares = {j: _shares(X[:, j]) for j in np.flatnonzero(categorical).tolist()}
        self._forest = Forest(**self.parameters, random_state=self.seed)
        self._forest.fit(self._numbers(X))
        self._prepare()
        if self.parameters["contamination"] != "auto":
            self.threshold = -float(self._forest.offset_)

    def _numbers(self, X: np.ndarray) -> np.ndarray:
        """Replace codes by their shares, in 32 bits."""
        if self._shares:
            X = X.copy()
        for j, shares in self._shares.items():
            codes = X[:, j]
            known = (codes >= 0) & (codes < len(shares) - 1)
            X[:, j] = shares[np.where(known, codes, len(shares) - 1).astype(np.intp)]
        return X.astype(np.float32)

    def _prepare(self) -> None:
        forest = self._forest
        self.__dict__.pop("_ensemble", None)
        # The depth that a row adds by ending in a leaf: the leaf's own, and what its training rows would still need.
        self._depths = [
            (e.tree_, None if len(columns) == forest.n_features_in_ else columns, path + average - 1.0)
            for e, columns, path, average in zip(
                forest.estimators_,
                forest.estimators_features_,
                forest._decision_path_lengths,
                forest._average_path_length_per_tree,
                strict=True,
            )
        ]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        # What the forest's own score_samples does, less 3 ms of checks and thread pools for each call.
        X = self._numbers(X)
        total = np.zeros(len(X))
        for tree, columns, depths in self._depths:
            total += depths[tree.apply(X if columns is None else X[:, columns])]
        usual = self._usual_depth()
        return np.ones(len(X)) if usual == 0 else 2 ** -(total / usual)

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Tree SHAP values of the mean depth, and the link to the score; see ``Kind.contributions``."""
        values = self._ensemble.contributions(self._numbers(X))
        base = np.repeat(self._ensemble.base[None], len(X), axis=0)
        return Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], ISOLATION).of_outputs(outputs)

    @cached_property
    def _ensemble(self) -> TreeEnsemble:
        """The trees with what each leaf adds to the exponent of the score."""
        usual = self._usual_depth()
        return TreeEnsemble(
            [
                Tree.from_sklearn(tree, (depths / usual if usual else np.zeros(len(depths)))[:, None], columns)
                for tree, columns, depths in self._depths
            ]
        )

    def _usual_depth(self) -> float:
        """The sum over the trees of the depth of an ordinary row."""
        return float(len(self._depths) * _average_path(self._forest._max_samples))

    def _state(self) -> State:
        return {"shares": [[j, s.tolist()] for j, s in self._shares.items()]}

    def _save_estimator(self, folder: Path) -> None:
        _skops.save(self._forest, folder)

    def _load_estimator(self, folder: Path, state: State) -> None:
        self._shares = {j: np.array(s) for j, s in state["shares"]}
        self._forest = _skops.load(folder, Forest, ("sklearn.tree._tree.Tree",))
        self._prepare()
        for tree, columns, _ in self._depths:
            check_forest([tree], self._forest.n_features_in_ if columns is None else len(columns), 1, 1)


def _shares(codes: np.ndarray) -> np.ndarray:
    """Share of the rows by code; the last entry is the share of missing and unseen texts."""
    known = codes[~np.isnan(codes)].astype(np.intp)
    counts = np.bincount(known) if len(known) else np.zeros(0)
    return np.append(counts, len(codes) - len(known)) / max(len(codes), 1)


def _average_path(n: int) -> float:
    """Mean depth of ``n`` rows in a random binary tree (Liu, Ting and Zhou, 2008, equation 1)."""
    if n <= 1:
        return 0.0
    return 1.0 if n == 2 else 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
