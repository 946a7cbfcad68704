"""A model's folder: the estimator's own files, ``karat.json`` and ``spine.parquet``, inside MLflow's layout."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import polars as pl
from mlflow.models import ModelSignature

from karat.registry.estimators import Estimator
from karat.registry.metadata import ModelMetadata
from karat.registry.model_files import JUDGED, METADATA, SPINE
from karat.registry.records import Servable

_REQUIRED = ("numpy", "polars", "pandas", "scikit-learn", "skops", "xgboost", "lightgbm")
logging.getLogger("mlflow").setLevel(logging.WARNING)


def write_folder(
    folder: Path,
    *,
    model: Servable,
    judged: Servable | None = None,
    metadata: ModelMetadata,
    spine: pl.DataFrame,
    example: pd.DataFrame,
    signature: ModelSignature,
) -> None:
    """Write all files of a version into a new folder; MLflow loads the model once to check the example."""
    own = folder.parent / "karat"
    own.mkdir(parents=True)
    model.save(own)
    if judged is not None:
        judged.save(own / JUDGED)
    spine.write_parquet(own / SPINE)
    described = replace(metadata, format="estimator" if isinstance(model, Estimator) else "kind")
    (own / METADATA).write_text(json.dumps(described.to_json(), indent=1, default=str))
    mlflow.pyfunc.save_model(
        folder,
        loader_module="karat.registry.loader",
        data_path=str(own),
        signature=signature,
        input_example=example,
        pip_requirements=list(_requirements()),
        metadata={"karat": {"task": model.task, "kind": metadata.kind, "features": model.feature_names}},
    )


def _requirements() -> Iterator[str]:
    """The pinned libraries that are installed: those of an optional extra may be missing."""
    for name in _REQUIRED:
        with suppress(PackageNotFoundError):
            yield f"{name}=={version(name)}"
