"""Risk level of a prediction, for models that declare ``risk_levels``."""

from __future__ import annotations

import numpy as np

from karat.registry import LoadedModel


def risk_of(loaded: LoadedModel, prediction: np.ndarray) -> list[str | None]:
    """Give the risk level of each row, by its most likely label if there are several.

    Args:
        loaded: The model version with its levels (name -> lower bound, rising from 0).
        prediction: Probabilities, ``(rows,)`` or ``(rows, labels)``.

    Returns:
        One level per row; None without levels, and for a NaN prediction.
    """
    levels = loaded.risk_levels
    if not levels:
        return [None] * len(prediction)
    chances = prediction.max(axis=1) if prediction.ndim > 1 else prediction
    names: list[str | None] = [None, *levels]
    return [names[i] for i in np.searchsorted(list(levels.values()), chances, side="right") * ~np.isnan(chances)]
