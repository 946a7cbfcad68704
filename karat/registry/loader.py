"""Loader module that MLflow calls to load a Karat model as a pyfunc, in any MLflow client with karat installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from karat.registry.model_files import read_folder
from karat.registry.records import Servable


class PyFunc:
    """The model behind MLflow's ``predict``: a frame of features in, the named outputs out."""

    def __init__(self, model: Servable) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict as MLflow's pyfunc does: inputs by name, ``(rows, features)``, to output columns."""
        rows = pl.from_pandas(model_input)
        outputs = self.model.outputs(self.model.predict(rows), self.model.thresholds(rows))
        return pd.DataFrame(outputs, index=model_input.index)


def _load_pyfunc(path: str) -> PyFunc:
    model, _ = read_folder(Path(path))
    return PyFunc(model)
