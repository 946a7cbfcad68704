"""Feature selection on training rows: features are kept whose loss a model notices on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER
from karat.kinds import Model
from karat.training.evaluation import evaluate
from karat.training.preconditions import LabelledRows

#: How often each feature is shuffled, and the standard errors that its loss must lie above 0.
REPEATS, STANDARD_ERRORS = 5, 2.0


@dataclass(frozen=True)
class FeatureSelection:
    """The features that were kept.

    Attributes:
        kept: Their names, in order.
        dropped: The others.
        validation_rows: Number of rows that decided.
        whole: The primary metric on them with all features.
        chosen: The same with the kept ones.
    """

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    validation_rows: int
    whole: float
    chosen: float

    def __str__(self) -> str:
        left_out = f", without {', '.join(self.dropped)}" if self.dropped else ""
        return (
            f"{len(self.kept)} of {len(self.kept) + len(self.dropped)} features were kept{left_out}: {self.chosen:.4g} "
            f"against {self.whole:.4g} with all, on {self.validation_rows} validation rows of the training rows"
        )


def select_features(
    fit: Callable[[Sequence[str]], Model], rows: LabelledRows, metric: str, *, seed: int
) -> FeatureSelection:
    """Choose features by permutation importance (Breiman, Random Forests, 2001) on validation rows.

    A feature is kept if shuffling it costs more of the metric than two standard errors of the repeats. If the model
    with the kept features is worse on the validation rows than with all, by more than a shuffle varies, all are kept.

    Args:
        fit: Fits a model that reads these features on rows other than the validation rows.
        rows: Features and label of the validation rows.
        metric: The primary metric.
        seed: Seed of the shuffles.

    Returns:
        The selection.
    """
    X, y = rows
    names = X.columns
    random = np.random.default_rng(seed)
    model = fit(names)
    whole = _score(model, X, y, metric)
    kept, spread = [], 0.0
    for name in names:
        shuffled = [X.with_columns(X[name].gather(random.permutation(X.height))) for _ in range(REPEATS)]
        losses = [whole - _score(model, frame, y, metric) for frame in shuffled]
        spread = max(spread, float(np.std(losses, ddof=1)))
        if np.mean(losses) > STANDARD_ERRORS * float(np.std(losses, ddof=1)) / np.sqrt(REPEATS):
            kept.append(name)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    every = FeatureSelection(tuple(names), (), X.height, sign * whole, sign * whole)
    if not kept or len(kept) == len(names):
        return every
    chosen = _score(fit(kept), X.select(kept), y, metric)
    if not chosen >= whole - spread:
        return every
    dropped = tuple(name for name in names if name not in kept)
    return FeatureSelection(tuple(kept), dropped, X.height, sign * whole, sign * chosen)


def _score(model: Model, X: pl.DataFrame, y: pl.Series | None, metric: str) -> float:
    """The metric, signed so that more is better; the least number where these rows do not allow it."""
    found = evaluate(
        model.task,
        y,
        model.predict(X),
        threshold=model.thresholds(X),
        classes=model.classes or None,
        only=metric,
    ).get(metric, -np.inf if HIGHER_IS_BETTER[metric] else np.inf)
    return found if HIGHER_IS_BETTER[metric] else -found
