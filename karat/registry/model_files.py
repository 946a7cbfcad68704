"""A model's own files: their names, and how they are read without MLflow."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from karat.errors import UntrustedModel
from karat.kinds import Model
from karat.registry.metadata import ModelMetadata
from karat.registry.records import Servable

if TYPE_CHECKING:
    from karat.registry.estimators import Estimator

#: Where a model's own files lie inside of the folder that MLflow keeps.
DATA = "data/karat"
METADATA, SPINE = "karat.json", "spine.parquet"
#: Folder of the model that was judged, if the version was fitted again on all rows afterwards.
JUDGED = "judged"


def read_folder(own: Path, *, judged: bool = False) -> tuple[Servable, ModelMetadata]:
    """Return the model and its metadata.

    Args:
        own: The folder.
        judged: Whether to read the model whose metrics are known, which has not learned from the test rows.

    Raises:
        UntrustedModel: the folder is not one of Karat's.
    """
    try:
        metadata = ModelMetadata.from_json(json.loads((own / METADATA).read_text()))
        form = _format(metadata.format)
    except (OSError, ValueError, KeyError) as error:
        raise UntrustedModel(
            f"this is no model of Karat's: {error!r}",
            where=str(own),
            remedy="load models that Karat has registered; others may run code when they are loaded",
        ) from error
    return form.load(own / JUDGED if judged and (own / JUDGED).is_dir() else own), metadata


def _format(name: str | None) -> type[Model] | type[Estimator]:
    """What loads a model of this format. Raises KeyError."""
    if name == "estimator":  # scikit-learn and skops: seconds, which other models don't need
        estimator: type[Estimator] = import_module("karat.registry.estimators").Estimator
        return estimator
    return {"kind": Model}[name or ""]
