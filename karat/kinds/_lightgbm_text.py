"""A LightGBM model's text: bounds checks, because LightGBM follows its node numbers unchecked, and its trees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from karat.errors import UntrustedModel
from karat.kinds._tree_shap import Tree
from karat.kinds._trees import check_nodes


def check_text(text: str, outputs: int) -> None:
    """Check a model's text before LightGBM reads it.

    Args:
        text: The model as LightGBM writes it.
        outputs: Trees per round that the model must have.

    Raises:
        UntrustedModel: A tree points outside its nodes, features or categories, or a round has other outputs.
        ValueError: The text is no LightGBM model.
        KeyError: A field is missing.
    """
    head, *trees = text.partition("end of trees")[0].split("\nTree=")
    if not head.startswith("tree\n"):
        raise ValueError("it does not begin like a LightGBM model")
    told = _fields(head)
    features = int(told["max_feature_idx"]) + 1
    if int(told["num_tree_per_iteration"]) != outputs or len(trees) % outputs or not trees:
        raise UntrustedModel(f"the model's file has {told['num_tree_per_iteration']} outputs, the model {outputs}")
    for tree in trees:
        _check_tree(_fields(tree), features)


def read_trees(text: str) -> list[Tree]:
    """Read the trees of a checked text, round by round. No parameter of the kind takes zeros for missing values."""
    found = []
    for block in text.partition("end of trees")[0].split("\nTree=")[1:]:
        fields = _fields(block)
        leaves = int(fields["num_leaves"])
        leaf_value = np.array(fields["leaf_value"].split(), dtype=float)
        if leaves == 1:
            found.append(Tree.constant(leaf_value[0]))
            continue
        inner = leaves - 1
        left, right, feature, decision, counts, leaf_counts = (
            np.array(fields[name].split(), dtype=np.int64)
            for name in ("left_child", "right_child", "split_feature", "decision_type", "internal_count", "leaf_count")
        )
        threshold = np.array(fields["threshold"].split(), dtype=float)
        by_category, rest = decision & 1 == 1, np.zeros(leaves, dtype=np.int64)
        # Where the training rows had no missing value, one counts as 0.
        missing_left = np.where((decision >> 2) & 3 == 2, decision & 2 == 2, threshold >= 0) & ~by_category
        found.append(
            Tree(
                feature=np.append(feature, rest),
                threshold=np.append(threshold, rest),
                left=np.append(np.where(left < 0, inner + ~left, left), rest - 1),
                right=np.append(np.where(right < 0, inner + ~right, right), rest - 1),
                missing_left=np.append(missing_left, rest > 0),
                cover=np.append(counts, leaf_counts).astype(float),
                value=np.append(np.zeros(inner), leaf_value)[:, None],
                category=np.append(np.where(by_category, threshold, -1).astype(np.int64), rest - 1),
                bitsets=_bitsets(fields),
            )
        )
    return found


def _bitsets(fields: dict[str, str]) -> np.ndarray | None:
    """The categories that go left of each split by category, ``(splits, 8)``: those up to 255."""
    if not int(fields["num_cat"]):
        return None
    bounds, words = (np.array(fields[name].split(), dtype=np.int64) for name in ("cat_boundaries", "cat_threshold"))
    made = np.zeros((len(bounds) - 1, 8), dtype=np.uint32)
    for row, (start, end) in enumerate(pairwise(bounds.tolist())):
        taken = words[start:end][:8]
        made[row, : len(taken)] = taken
    return made


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _check_tree(fields: dict[str, str], features: int) -> None:
    leaves, categorical = int(fields["num_leaves"]), int(fields["num_cat"])
    if leaves < 1 or len(fields["leaf_value"].split()) != leaves:
        raise UntrustedModel("a tree in the model's file has another number of leaves than it declares")
    if leaves == 1:
        return
    inner = leaves - 1
    left, right, feature, decision = (
        _numbers(fields, name, inner) for name in ("left_child", "right_child", "split_feature", "decision_type")
    )
    for child in (left, right):
        if (child < -leaves).any():
            raise UntrustedModel("a tree in the model's file points outside its leaves")
    # Its leaves are negative numbers: as nodes of their own after the inner ones they can be checked alike.
    nodes = [np.append(np.where(c < 0, inner + ~c, c), np.zeros(leaves, dtype=int)) for c in (left, right)]
    leaf = np.arange(inner + leaves) >= inner
    check_nodes(nodes[0], nodes[1], leaf, np.append(feature, np.zeros(leaves, dtype=int)), features)
    _check_categories(fields, decision, categorical)


def _check_categories(fields: dict[str, str], decision: np.ndarray, count: int) -> None:
    splits = (decision & 1) == 1
    if not splits.any():
        return
    asked = np.array(fields["threshold"].split(), dtype=float)[splits].astype(int)
    bounds = _numbers(fields, "cat_boundaries", count + 1)
    words = len(fields["cat_threshold"].split())
    if (
        (asked < 0).any()
        or (asked >= count).any()
        or (np.diff(bounds) < 0).any()
        or bounds[0] < 0
        or bounds[-1] > words
    ):
        raise UntrustedModel("a tree in the model's file tests categories that do not exist")


def _numbers(fields: dict[str, str], name: str, count: int) -> np.ndarray:
    found = np.array(fields[name].split(), dtype=np.int64)
    if len(found) != count:
        raise UntrustedModel(f"a tree in the model's file has {len(found)} values of {name}, not {count}")
    return found
