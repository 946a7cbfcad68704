"""Mitigation of bias: weights that make group and label independent, and thresholds for the groups of a column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from karat.declare.fairness import FAIRNESS_RATES, Fairness
from karat.errors import TrainingError
from karat.kinds import Encoder, GroupThresholds, Model
from karat.training.fairness import MIN_GROUP_ROWS
from karat.training_sets.protected_columns import groups_of


def reweighing(groups: pl.DataFrame, y: pl.Series) -> np.ndarray:
    """Return weights of rows under which the groups and the label are independent.

    A row of group g and label y weighs P(g) P(y) / P(g, y).
    Source: Kamiran and Calders, Data preprocessing techniques for classification without discrimination, 2012.

    Args:
        groups: The columns that define a group together, ``(rows, columns)``.
        y: The label, ``(rows,)``.

    Returns:
        The weights, of mean 1, ``(rows,)``.
    """
    rows = pl.DataFrame({"group": groups.select(pl.struct(pl.all()).rank("dense")).to_series(), "label": y})
    count = pl.len().cast(pl.Float64)
    weight = count.over("group") * count.over("label") / (count.over("group", "label") * len(y))
    return rows.select(weight.alias("weight")).to_series().to_numpy()


def reweighed(
    fairness: Fairness | None, protected: tuple[str, ...], rows: pl.DataFrame, y: pl.Series | None
) -> np.ndarray | None:
    """Return the weights of reweighing, ``(rows,)``; None for a model that declares none.

    Args:
        fairness: What the model declares of its fairness.
        protected: Its protected columns.
        rows: The rows, with their protected columns.
        y: Their labels.

    Raises:
        TrainingError: The rows have no protected columns.
    """
    if fairness is None or fairness.mitigation != "reweigh" or y is None:
        return None
    columns = fairness.mitigated_columns(protected)
    groups = groups_of(rows, columns)
    if groups is None:
        raise TrainingError(
            f"the rows lack the protected columns {', '.join(columns)}",
            where="fairness.mitigation: reweigh",
            remedy="train the declared model on its training set, which looks them up",
        )
    return reweighing(groups, y)


def group_thresholds(
    model: Model, column: str, metric: str, *, X: pl.DataFrame, positive: np.ndarray, score: np.ndarray
) -> GroupThresholds:
    """Choose a threshold for each group, so that its rates are near those of the model as a whole.

    A group's threshold minimises the greatest difference between its rates (those that ``metric`` compares) and the
    rates of all rows at the model's own threshold: the deterministic form of Hardt, Price and Srebro, Equality of
    Opportunity in Supervised Learning, 2016. A group with too few rows keeps the model's own threshold.

    Args:
        model: The fitted model, with its own threshold.
        column: The feature that names the group.
        metric: The fairness metric.
        X: Features of rows that the scores were not learned from, ``(rows, features)``.
        positive: Whether each label is positive, ``(rows,)``.
        score: Probabilities, ``(rows,)``.

    Returns:
        The thresholds.

    Raises:
        TrainingError: The model does not read the column as one value a row.
    """
    place = next((c for c in model.encoder.columns if c.name == column), None)
    if place is None or place.type_name.endswith("]"):
        raise TrainingError(
            f"thresholds by group need {column!r} as a feature of the model with one value a row",
            where="fairness.mitigated",
            remedy="take it out of the lookup's 'exclude', or write mitigation: reweigh",
        )
    codes = Encoder((place,)).encode(X)[:, 0]
    whole = _rates(metric, positive, score, np.array([model.threshold]))
    found: list[tuple[float | None, float]] = []
    for code in [*np.unique(codes[~np.isnan(codes)]).tolist(), None]:
        member = np.isnan(codes) if code is None else codes == code
        least = positive[member].sum() if metric != "demographic_parity" else member.sum()
        if least < MIN_GROUP_ROWS or (metric == "equalized_odds" and (~positive[member]).sum() < MIN_GROUP_ROWS):
            continue
        found.append((code, _nearest_threshold(metric, positive[member], score[member], whole)))
    return GroupThresholds(column, [code for code, _ in found], [threshold for _, threshold in found])


def _nearest_threshold(metric: str, positive: np.ndarray, score: np.ndarray, whole: Mapping[str, np.ndarray]) -> float:
    """The threshold at which the group's rates are nearest to ``whole``: halfway between two of its scores."""
    scores = np.unique(score)
    choices = np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2, [np.nextafter(scores[-1], 2)]])
    rates = _rates(metric, positive, score, choices)
    off = np.max([np.abs(rates[name] - whole[name]) for name in rates], axis=0)
    return float(choices[np.argmin(off)])


def _rates(metric: str, positive: np.ndarray, score: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """The rates that the metric compares, at each threshold."""
    populations = {
        "selection_rate": score,
        "true_positive_rate": score[positive],
        "false_positive_rate": score[~positive],
    }
    found = {}
    for name in FAIRNESS_RATES[metric]:
        population = np.sort(populations[name])
        selected = len(population) - np.searchsorted(population, thresholds, side="left")
        found[name] = selected / max(len(population), 1)
    return found
