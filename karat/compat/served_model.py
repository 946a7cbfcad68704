"""A registered version, loaded: it predicts from a frame of its features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from karat.registry import LoadedModel
from karat.training_sets.frames import Frame, to_polars


@dataclass(frozen=True)
class ServedModel:
    """A loaded version: ``predict`` takes a frame of its features and gives classes, values or scores, as the
    estimator itself would; ``outputs`` gives all of them by name (``prediction``, ``probability``, ...)."""

    loaded: LoadedModel = field(repr=False)
    name: str
    version: int
    run_id: str
    features: tuple[str, ...]

    def predict(self, frame: Frame) -> np.ndarray:
        return self.outputs(frame)["prediction"]

    def outputs(self, frame: Frame) -> dict[str, np.ndarray]:
        model = self.loaded.model
        return model.outputs(model.predict(to_polars(frame).select(self.features)))
