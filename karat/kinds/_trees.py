"""Bounds checks on trees from a file: scikit-learn follows node numbers without checking them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from karat.errors import UntrustedModel


def check_nodes(left: np.ndarray, right: np.ndarray, leaf: np.ndarray, feature: np.ndarray, features: int) -> None:
    """Check the nodes of one tree. Children must come after their parent, so that no walk goes in circles.

    Args:
        left: Left child of each node, ``(nodes,)``.
        right: Right child of each node, ``(nodes,)``.
        leaf: Whether each node is a leaf, ``(nodes,)``.
        feature: The feature that each node tests, ``(nodes,)``.
        features: Number of features of the model.

    Raises:
        UntrustedModel: A node points outside the tree, backwards, or to a feature that does not exist.
    """
    inner = np.flatnonzero(~leaf)
    count = len(leaf)
    sound = count > 0 and all(((c[inner] > inner) & (c[inner] < count)).all() for c in (left, right))
    if not sound or not ((feature[inner] >= 0) & (feature[inner] < features)).all():
        raise UntrustedModel(
            "a tree in the model's file points outside its nodes or features",
            remedy="do not load it; find out who wrote it, and train the model again",
        )


def check_forest(trees: Iterable[Any], features: int, outputs: int, values: int) -> None:
    """Check the trees of a scikit-learn forest.

    Args:
        trees: ``sklearn.tree._tree.Tree`` objects.
        features: Number of features of the model.
        outputs: Outputs per node.
        values: Values per output.

    Raises:
        UntrustedModel: A tree has another shape than the model, or points outside its nodes.
    """
    for tree in trees:
        leaf = tree.children_left == -1
        if tree.n_features != features or tree.value.shape != (tree.node_count, outputs, values):
            raise UntrustedModel("a tree in the model's file has other features or outputs than the model")
        check_nodes(tree.children_left, tree.children_right, leaf, tree.feature, features)
