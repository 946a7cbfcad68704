"""The level of risk that a prediction belongs to, where its model was declared with ``risk_levels``."""

from __future__ import annotations

import numpy as np

from karat.registry import LoadedModel


def risk_of(loaded: LoadedModel, prediction: np.ndarray) -> list[str | None]:
    """The level of each row, of its likeliest label where there are several; levels begin at 0. None for a model
    without levels, and for a prediction that is not a number."""
    levels = loaded.risk_levels
    if not levels:
        return [None] * len(prediction)
    chances = prediction.max(axis=1) if prediction.ndim > 1 else prediction
    names: list[str | None] = [None, *levels]
    return [names[i] for i in np.searchsorted(list(levels.values()), chances, side="right") * ~np.isnan(chances)]
