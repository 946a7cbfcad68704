"""A loaded version that predicts from a frame of its features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from karat.boundary import public_verbs
from karat.errors import SignatureError, did_you_mean
from karat.registry import LoadedModel
from karat.training_sets.frames import Frame, to_polars


@public_verbs
@dataclass(frozen=True)
class ServedModel:
    """A loaded version with its name, run and features."""

    loaded: LoadedModel = field(repr=False)
    name: str
    version: int
    run_id: str
    features: tuple[str, ...]

    def predict(self, frame: Frame) -> np.ndarray:
        """Return classes, values or scores as the estimator would, ``(rows,)``.

        Args:
            frame: The features, one row per prediction.

        Returns:
            The predictions, ``(rows,)``.
        """
        return self.outputs(frame)["prediction"]

    def outputs(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return all outputs by name (``prediction``, ``probability``, ...), each ``(rows,)``.

        Args:
            frame: The features, one row per prediction.

        Returns:
            Output name -> values, ``(rows,)``.
        """
        model, rows = self.loaded.model, to_polars(frame)
        if missing := [name for name in self.features if name not in rows.columns]:
            raise SignatureError(
                f"the rows have no feature {missing[0]!r}",
                where=f"{self.name}, version {self.version}",
                remedy=did_you_mean(missing[0], rows.columns),
            )
        chosen = rows.select(self.features)
        return model.outputs(model.predict(chosen), model.thresholds(chosen))
