"""Dataset inputs of a run in MLflow: the training set, and every table that it looked up, with its version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from karat.registry.metadata import ModelMetadata
from karat.registry.model_files import DATA, SPINE

#: MLflow's limit on the text of a schema.
_SCHEMA_LIMIT = 65_000
#: The start of a type's name, of Polars or of Karat -> MLflow's type.
_TYPES = {
    "int": DataType.long,
    "uint": DataType.long,
    "float": DataType.double,
    "bool": DataType.boolean,
    "date": DataType.datetime,
    "timestamp": DataType.datetime,
}


def dataset_inputs(name: str, location: str, metadata: ModelMetadata) -> list[DatasetInput]:
    """Return what the run has learned from.

    ``mlflow.data.get_source`` opens them: the training set's keys, label and split as a Parquet file of the logged
    model, and each Delta table at the version that was read.

    Args:
        name: The model.
        location: Address of the logged model's files, the keys among them.
        metadata: Pins and digest.
    """
    pins = metadata.pins
    columns = {**pins["spine"]["schema"], **metadata.feature_types}
    spine = Dataset(
        name=f"{name} training set",
        digest=metadata.digest[:36],
        source_type="local",
        source=json.dumps({"uri": f"{location}/{DATA}/{SPINE}"}),
        schema=_schema(columns),
        profile=json.dumps({"num_rows": pins["spine"]["rows"], "num_elements": pins["spine"]["rows"] * len(columns)}),
    )
    inputs = [DatasetInput(spine, [InputTag("mlflow.data.context", "training")])]
    for record in pins["lookups"]:
        # Written by hand: MLflow's own DeltaDatasetSource drops the version where it is 0.
        table = Dataset(
            name=record["table"],
            digest=f"version {record['version']}",
            source_type="delta_table",
            source=json.dumps({"delta_table_name": record["table"], "delta_table_version": record["version"]}),
            schema=_schema(record["schema"]),
        )
        inputs.append(DatasetInput(table, [InputTag("mlflow.data.context", "features")]))
    return inputs


def _schema(columns: Mapping[str, str]) -> str | None:
    """The columns as MLflow's page shows them; None if there are too many for it."""
    specs = [ColSpec(_type(dtype), name, required=False) for name, dtype in columns.items()]
    text = json.dumps({"mlflow_colspec": Schema(list(specs)).to_dict()})
    return text if len(text) <= _SCHEMA_LIMIT else None


def _type(dtype: str) -> DataType | Array:
    if dtype.endswith("]") or dtype.lower().startswith(("array", "list")):
        return Array(DataType.double)
    start = re.match(r"[a-z]*", dtype.lower())
    return _TYPES.get(start.group() if start else "", DataType.string)
