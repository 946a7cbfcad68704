"""Checks on trees that come from a file: scikit-learn follows their node numbers without looking at bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from karat.errors import UntrustedModel


def check_nodes(left: np.ndarray, right: np.ndarray, leaf: np.ndarray, feature: np.ndarray, features: int) -> None:
    """Raises UntrustedModel unless every inner node leads on to later nodes and asks for a feature that exists.

    Children come after their parent in every tree that scikit-learn grows, so that no walk goes in circles.
    """
    inner = np.flatnonzero(~leaf)
    count = len(leaf)
    sound = count > 0 and all(((c[inner] > inner) & (c[inner] < count)).all() for c in (left, right))
    if not sound or not ((feature[inner] >= 0) & (feature[inner] < features)).all():
        raise UntrustedModel(
            "a tree in the model's file leads out of its nodes or features",
            remedy="do not load it; find out who wrote it, and train the model again",
        )


def check_forest(trees: Iterable[Any], features: int, outputs: int, values: int) -> None:
    """``trees``: ``sklearn.tree._tree.Tree`` objects, each with ``values`` values of each of ``outputs`` a node."""
    for tree in trees:
        leaf = tree.children_left == -1
        if tree.n_features != features or tree.value.shape != (tree.node_count, outputs, values):
            raise UntrustedModel("a tree in the model's file has other features or outputs than the model")
        check_nodes(tree.children_left, tree.children_right, leaf, tree.feature, features)
