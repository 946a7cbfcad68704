"""Path-dependent tree SHAP of any decision trees (Lundberg and others, From local explanations to global, 2020).

The value of a set of known features is the tree's mean over the training rows of each branch: a split on a known
feature is followed, one on an unknown feature is averaged by the training rows that went either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from karat.extras import optional_imports
from karat.kinds._quadrature import gauss_legendre

#: No share of rows is exactly 0 or 1: the algorithm divides by both.
_LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class Tree:
    """One tree, its children after their parents; the fields are those of ``_tree_shap_kernel.Trees``.

    ``cover`` is the weight of the training rows at each node, ``(nodes,)``.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    cover: np.ndarray
    value: np.ndarray
    category: np.ndarray | None = None
    bitsets: np.ndarray | None = None

    @classmethod
    def constant(cls, value: float) -> Tree:
        """A tree of one leaf."""
        none, nowhere = np.zeros(1, dtype=np.int64), np.full(1, -1)
        return cls(none, np.zeros(1), nowhere, nowhere, none > 0, np.ones(1), np.full((1, 1), value))

    @classmethod
    def from_sklearn(cls, tree: Any, value: np.ndarray, columns: np.ndarray | None = None) -> Tree:
        """A tree of scikit-learn.

        Args:
            tree: A ``sklearn.tree._tree.Tree``.
            value: What each node adds to each output, ``(nodes, outputs)``.
            columns: The features that the tree reads; None for all.
        """
        feature = np.maximum(tree.feature, 0)
        return cls(
            feature if columns is None else np.asarray(columns)[feature],
            tree.threshold,
            tree.children_left,
            tree.children_right,
            tree.missing_go_to_left.astype(bool),
            tree.weighted_n_node_samples,
            value,
        )


class TreeEnsemble:
    """Trees whose values are added up, ready to be explained.

    Attributes:
        base: The mean prediction over the training rows, ``(outputs,)``: the value if no feature is known.
    """

    def __init__(self, trees: Sequence[Tree], base: np.ndarray | None = None) -> None:
        """Join the trees' nodes.

        Args:
            trees: One tree or more, with the same outputs.
            base: The mean prediction, if the library states it; by default the sum of the trees' means.

        Raises:
            MissingExtra: Numba is not installed.
        """
        with optional_imports():
            from karat.kinds import _tree_shap_kernel as kernel

        starts = np.cumsum([0, *(len(t.left) for t in trees)])
        self._roots = starts[:-1].astype(np.int64)
        left, right = (_joined([getattr(t, side) for t in trees], starts) for side in ("left", "right"))
        ratio = np.concatenate([_ratio(t) for t in trees])
        value = np.concatenate([t.value for t in trees]).astype(np.float64)
        sets = [np.zeros((0, 8), np.uint32) if t.bitsets is None else t.bitsets for t in trees]
        category = [np.full(len(t.left), -1) if t.category is None else t.category for t in trees]
        self._trees = kernel.Trees(
            np.concatenate([t.feature for t in trees]).astype(np.int64),
            np.concatenate([t.threshold for t in trees]).astype(np.float64),
            left,
            right,
            np.concatenate([t.missing_left for t in trees]).astype(np.bool_),
            _joined(category, np.cumsum([0, *(len(s) for s in sets)])),
            np.concatenate(sets).astype(np.uint32),
            ratio,
            value,
        )
        mean, self._depth = _mean_and_depth(self._trees, self._roots)
        self.base = mean if base is None else base
        # A path has at most so many features; the integrand's degree is one less, and n nodes are exact to 2 n - 1.
        widest = min(self._depth, len(np.unique(self._trees.feature[left >= 0])))
        self._quadrature = gauss_legendre(max(1, -(-widest // 2)))
        self._explain = kernel.tree_shap

    def contributions(self, X: np.ndarray) -> np.ndarray:
        """SHAP values in the unit of the trees' sum, ``(rows, outputs, features)``.

        Args:
            X: What the trees read, ``(rows, features)``; NaN is missing.
        """
        made: np.ndarray = self._explain(
            np.ascontiguousarray(X, dtype=np.float64), self._roots, self._trees, self._depth, *self._quadrature
        )
        return made


def explain_outputs(
    ensembles: Sequence[TreeEnsemble], X: np.ndarray, outputs: list[int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Explain models of one ensemble per output.

    Args:
        ensembles: The ensemble of each output.
        X: What the trees read, ``(rows, features)``.
        outputs: The outputs to explain; None for all.

    Returns:
        SHAP values ``(rows, outputs, features)`` and means ``(rows, outputs)``.
    """
    asked = list(ensembles) if outputs is None else [ensembles[k] for k in outputs]
    values = np.concatenate([each.contributions(X) for each in asked], axis=1)
    base = np.concatenate([each.base for each in asked])
    return values, np.repeat(base[None], len(X), axis=0)


def _joined(parts: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Join numbers that count from the start of their tree; negative ones become -1."""
    moved = [np.where(part < 0, -1, part.astype(np.int64) + start) for part, start in zip(parts, starts, strict=False)]
    return np.concatenate(moved)


def _ratio(tree: Tree) -> np.ndarray:
    inner = tree.left >= 0
    left, right = (tree.cover[np.where(inner, side, 0)] for side in (tree.left, tree.right))
    total = np.where(left + right > 0, left + right, 1.0)
    return np.where(inner, np.clip(left / total, _LEAST_SHARE, 1.0 - _LEAST_SHARE), 0.5)


def _mean_and_depth(trees: Any, roots: np.ndarray) -> tuple[np.ndarray, int]:
    """The sum of the trees' means, ``(outputs,)``, and the depth of the deepest."""
    level, share, depth = roots, np.ones(len(roots)), 0
    mean = np.zeros(trees.value.shape[1])
    while True:
        leaf = trees.left[level] < 0
        mean += share[leaf] @ trees.value[level[leaf]]
        level, share = level[~leaf], share[~leaf]
        if not len(level):
            return mean, depth
        left = trees.ratio[level]
        level = np.concatenate([trees.left[level], trees.right[level]])
        share, depth = np.concatenate([share * left, share * (1.0 - left)]), depth + 1
