"""``log_model`` of a user's own fitted model: the training set's pins and lookups go into it."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from karat.errors import SignatureError, WrongCall
from karat.kinds import Encoder, Model
from karat.lake import Lake
from karat.lifecycle.candidate import describe, example_of, outputs_of
from karat.names import ModelName
from karat.registry.entry import VersionEntry
from karat.registry.estimators import Estimator
from karat.registry.records import ModelVersion, Servable
from karat.registry.signature import ModelSignature, check_given, sign
from karat.registry.store import Registry
from karat.training_sets.frames import Frame, to_polars
from karat.training_sets.reproduce import store_pins
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet

_FLAVORS = ("sklearn", "xgboost", "pyfunc", "karat")


def log_user_model(
    registry: Registry,
    model: Any,
    artifact_path: str,
    *,
    lake: Lake,
    training_set: TrainingSet,
    name: ModelName,
    flavor: ModuleType | str | None = None,
    signature: ModelSignature | None = None,
    input_example: Frame | None = None,
    metrics: dict[str, float] | None = None,
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> ModelVersion:
    """Registers a fitted scikit-learn or XGBoost estimator, or a ``karat.kinds.Model``; its spine goes into ``lake``.

    Raises WrongCall for another flavor, UntrustedModel for what cannot be saved without pickle, SignatureError for a
    signature without both sides or for features other than the training set's; before anything is logged.
    """
    _check_flavor(flavor)
    servable = _servable(model, training_set)
    rows = _example_rows(training_set, input_example, servable)
    outputs = outputs_of(servable, rows)
    if signature is not None:
        check_given(signature, training_set.features)
    kind = servable.kind_name if isinstance(servable, Model) else type(model).__name__
    own = {
        "karat.kind": kind,
        "karat.task": servable.task,
        "karat.digest": training_set.digest,
        "karat.pins": json.dumps({str(p.table): p.version for p in training_set.lookups}),
        "karat.user_model": "true",
    }
    signed = sign(servable.feature_types, outputs)
    metadata = describe(training_set, servable, store_pins(lake, name, training_set))
    return registry.log(
        VersionEntry(
            name=name,
            experiment=f"{name.catalog}/{name.name}",
            model=servable,
            signature=signed,
            example=example_of(servable, rows),
            spine=training_set.spine.with_row_index(ROW_NUMBER),
            metadata=metadata | {"kind": kind, "catalog": name.catalog, "model": name.name},
            tags={**(tags or {}), **own},
            artifact=artifact_path,
            parameters=parameters or _parameters(model),
            metrics=metrics or {},
            draw=lambda folder: [training_set.draw_report(folder, title=name.name)],
        )
    )


def _check_flavor(flavor: ModuleType | str | None) -> None:
    if flavor is None:
        return
    name = (flavor if isinstance(flavor, str) else flavor.__name__).rpartition(".")[2]
    if name not in _FLAVORS:
        raise WrongCall(
            f"the flavor {name!r} is not known", where="log_model(flavor=...)", remedy=f"one of {', '.join(_FLAVORS)}"
        )


def _servable(model: Any, training_set: TrainingSet) -> Servable:
    if not isinstance(model, Model):
        return Estimator(model, Encoder.fit(training_set.data.select(training_set.features)))
    if model.feature_names != list(training_set.features):
        raise SignatureError(
            "the model was fitted on other features than the training set has, or in another order",
            where=f"model: {', '.join(model.feature_names)}; training set: {', '.join(training_set.features)}",
            remedy="fit on training_set.load_df() without the label; put what is no feature in exclude_columns",
        )
    return model


def _example_rows(training_set: TrainingSet, given: Frame | None, model: Servable) -> pl.DataFrame:
    if given is None:
        return training_set.data.head(5)
    if isinstance(given, np.ndarray):
        given = pl.DataFrame(given, schema=model.feature_names, orient="row")
    rows = to_polars(given)
    missing = [name for name in model.feature_names if name not in rows.columns]
    if missing or rows.is_empty():
        raise SignatureError(
            f"the input example has no {', '.join(missing) if missing else 'rows'}",
            where="log_model(input_example=...)",
            remedy="give some rows of training_set.load_df() without the label, or leave it out",
        )
    return rows.head(5)


def _parameters(model: Any) -> dict[str, Any]:
    if isinstance(model, Model):
        return dict(model.parameters)
    return dict(model.get_params()) if hasattr(model, "get_params") else {}
