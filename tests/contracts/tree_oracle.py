"""Value function of path-dependent tree SHAP, over trees that are read from each library's own description."""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from typing import Any

import numpy as np

from karat.kinds import Kind

#: A row and the known features -> the worth of each output, ``(outputs,)``.
ValueFunction = Callable[[np.ndarray, Set[int]], np.ndarray]


def trees_of(kind: Kind) -> ValueFunction:
    """The value function of a fitted kind made of trees."""
    return {
        "RandomForest": _random_forest,
        "IsolationForest": _isolation_forest,
        "GradientBoosting": _gradient_boosting,
        "XGBoost": _xgboost,
        "LightGBM": _lightgbm,
    }[type(kind).__name__](kind)


def _mean(node: int, known: Set[int], walk: Callable[[int], Any]) -> Any:
    """Follow a split on a known feature; average one on an unknown feature by the training rows of its sides."""
    here = walk(node)
    if here[0] == "leaf":
        return here[1]
    _, feature, goes_left, (left, left_rows), (right, right_rows) = here
    if feature in known:
        return _mean(left if goes_left else right, known, walk)
    whole = left_rows + right_rows
    return (left_rows * _mean(left, known, walk) + right_rows * _mean(right, known, walk)) / whole


def _sklearn_tree(tree: Any, leaf: Callable[[int], Any], columns: Any = None) -> Callable[..., Any]:
    def worth(x: np.ndarray, known: Set[int]) -> Any:
        def walk(node: int) -> Any:
            left, right = int(tree.children_left[node]), int(tree.children_right[node])
            if left < 0:
                return "leaf", leaf(node)
            feature = int(tree.feature[node] if columns is None else columns[tree.feature[node]])
            value = np.float32(x[feature])
            goes = bool(tree.missing_go_to_left[node]) if np.isnan(value) else value <= tree.threshold[node]
            rows = tree.weighted_n_node_samples
            return "split", feature, goes, (left, rows[left]), (right, rows[right])

        return _mean(0, known, walk)

    return worth


def _random_forest(kind: Any) -> ValueFunction:
    estimators = kind._forest.estimators_

    def leaf(tree: Any) -> Callable[[int], np.ndarray]:
        if kind.task == "binary":
            return lambda node: tree.value[node, 0, 1:2]
        if kind.task == "multilabel":
            return lambda node: tree.value[node, :, 1]
        return lambda node: tree.value[node, 0]

    trees = [_sklearn_tree(e.tree_, leaf(e.tree_)) for e in estimators]
    return lambda x, known: np.mean([tree(x, known) for tree in trees], axis=0)


def _isolation_forest(kind: Any) -> ValueFunction:
    forest = kind._forest
    usual = _usual(forest.max_samples_)

    def leaf(tree: Any) -> Callable[[int], float]:
        return lambda node: _depth(tree, node) + _usual(tree.n_node_samples[node])

    trees = [
        _sklearn_tree(e.tree_, leaf(e.tree_), columns)
        for e, columns in zip(forest.estimators_, forest.estimators_features_, strict=True)
    ]

    def worth(x: np.ndarray, known: Set[int]) -> np.ndarray:
        inputs = kind._numbers(x[None])[0]
        return np.array([np.mean([tree(inputs, known) for tree in trees]) / usual])

    return worth


def _depth(tree: Any, node: int) -> int:
    """Edges from the root."""
    depth = 0
    while node:
        (node,) = np.flatnonzero((tree.children_left == node) | (tree.children_right == node)).tolist()
        depth += 1
    return depth


def _usual(rows: int) -> float:
    """Mean depth of a random tree, by Liu, Ting and Zhou."""
    if rows <= 2:
        return float(rows - 1)
    return 2 * (np.log(rows - 1.0) + np.euler_gamma) - 2 * (rows - 1.0) / rows


def _gradient_boosting(kind: Any) -> ValueFunction:
    estimator = kind._estimator
    order = kind._order.tolist() if kind._tables else list(range(estimator.n_features_in_))

    def worth_of(predictor: Any) -> Callable[..., float]:
        nodes, bitsets = predictor.nodes, predictor.raw_left_cat_bitsets

        def worth(x: np.ndarray, known: Set[int]) -> float:
            def walk(node: int) -> Any:
                here = nodes[node]
                if here["is_leaf"]:
                    return "leaf", here["value"]
                value = x[here["feature_idx"]]
                if np.isnan(value):
                    goes = bool(here["missing_go_to_left"])
                elif here["is_categorical"]:
                    goes = bool(bitsets[here["bitset_idx"], int(value) // 32] >> np.uint32(int(value) % 32) & 1)
                else:
                    goes = value <= here["num_threshold"]
                left, right = int(here["left"]), int(here["right"])
                sides = ((left, float(nodes[left]["count"])), (right, float(nodes[right]["count"])))
                return "split", order[here["feature_idx"]], goes, *sides

            return _mean(0, known, walk)

        return worth

    rounds = [[worth_of(p) for p in each] for each in estimator._predictors]

    def worth(x: np.ndarray, known: Set[int]) -> np.ndarray:
        inputs = kind._inputs(x[None])[0]
        sums = np.sum([[tree(inputs, known) for tree in each] for each in rounds], axis=0)
        found = sums + estimator._baseline_prediction.ravel()
        return np.append(0.0, found) if kind.task == "multiclass" and len(found) == 1 else found

    return worth


def _xgboost(kind: Any) -> ValueFunction:
    booster = kind._booster
    model = json.loads(booster.save_raw("json"))["learner"]
    trees = model["gradient_booster"]["model"]["trees"]
    groups = model["gradient_booster"]["model"]["tree_info"]
    # The sum of no tree: what the booster predicts as margin without its trees.
    start = json.loads(model["learner_model_param"]["base_score"])
    start = np.array(start if isinstance(start, list) else [start], dtype=float)
    if model["objective"]["name"] == "binary:logistic":
        start = np.log(start / (1 - start))

    def worth_of(tree: Any) -> Callable[..., float]:
        sets = {
            node: set(tree["categories"][first : first + size])
            for node, first, size in zip(
                tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
            )
        }

        def worth(x: np.ndarray, known: Set[int]) -> float:
            def walk(node: int) -> Any:
                left, right = tree["left_children"][node], tree["right_children"][node]
                if left < 0:
                    return "leaf", tree["split_conditions"][node]
                feature, value = tree["split_indices"][node], np.float32(x[tree["split_indices"][node]])
                if np.isnan(value):
                    goes = bool(tree["default_left"][node])
                elif tree["split_type"][node]:
                    goes = int(value) not in sets[node]  # a chosen category goes right
                else:
                    goes = value < np.float32(tree["split_conditions"][node])
                rows = tree["sum_hessian"]
                return "split", feature, goes, (left, rows[left]), (right, rows[right])

            return _mean(0, known, walk)

        return worth

    found = [(group, worth_of(tree)) for group, tree in zip(groups, trees, strict=True)]
    outputs = max(groups) + 1

    def worth(x: np.ndarray, known: Set[int]) -> np.ndarray:
        out = np.zeros(outputs) + start
        for group, tree in found:
            out[group] += tree(x, known)
        return out

    return worth


def _lightgbm(kind: Any) -> ValueFunction:
    def worth_of(root: dict[str, Any]) -> Callable[..., float]:
        def worth(x: np.ndarray, known: Set[int]) -> float:
            def walk(node: Any) -> Any:
                if "split_feature" not in node:
                    return "leaf", node["leaf_value"]
                value = x[node["split_feature"]]
                if node["decision_type"] == "==":
                    goes = not np.isnan(value) and str(int(value)) in str(node["threshold"]).split("||")
                elif np.isnan(value) and node["missing_type"] == "NaN":
                    goes = node["default_left"]
                else:
                    goes = (0.0 if np.isnan(value) else value) <= node["threshold"]
                sides = [
                    (side, float(side.get("internal_count", side.get("leaf_count", 0))))
                    for side in (node["left_child"], node["right_child"])
                ]
                return "split", node["split_feature"], goes, *sides

            return _mean(root, known, walk)

        return worth

    per_booster = []
    for booster in kind._boosters:
        dump = booster.dump_model()
        trees = [worth_of(info["tree_structure"]) for info in dump["tree_info"]]
        per_booster.append((dump["num_tree_per_iteration"], trees))

    def worth(x: np.ndarray, known: Set[int]) -> np.ndarray:
        return np.concatenate(
            [[sum(tree(x, known) for tree in trees[k::count]) for k in range(count)] for count, trees in per_booster]
        )

    return worth
