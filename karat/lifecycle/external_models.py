"""Models fitted outside Karat: under a declared name, or logged with a training set of their own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from karat.errors import SignatureError, WrongCall, did_you_mean
from karat.kinds import Encoder, Model
from karat.lake import Lake
from karat.lifecycle.candidate import offer
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.provenance import provenance
from karat.lifecycle.records import TrainingRun
from karat.lifecycle.version_entry import example_frame, model_metadata, predicted_outputs, version_entry
from karat.names import ModelName
from karat.registry.entry import VersionEntry
from karat.registry.estimators import Estimator
from karat.registry.records import ModelVersion, Servable
from karat.registry.signature import ModelSignature, check_given, sign
from karat.registry.store import Registry
from karat.registry.tags import VersionTags
from karat.training.custom_metrics import custom_metrics
from karat.training.fairness import measure_fairness
from karat.training.fitted_evaluation import evaluate_fitted
from karat.training.oracle import with_oracle
from karat.training.significance import gain_significance
from karat.training.split import split_rows
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.frames import Frame, to_polars
from karat.training_sets.labels import label_spine
from karat.training_sets.protected_columns import with_protected
from karat.training_sets.reproduce import store_pins
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet

_FLAVORS = ("sklearn", "xgboost", "pyfunc", "karat")
_EXAMPLE_ROWS = 5


def register_fitted(
    context: ModelContext,
    estimator: Any,
    *,
    reported: Mapping[str, float] | None = None,
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Register a fitted estimator under a declared name, as the challenger.

    The version gets the declaration's lookups, pins and label, and Karat evaluates it on the declaration's test rows.
    The estimator may read only some of the declared features: those that it remembers being fitted on.

    Args:
        context: The declared model with its lake and registry.
        estimator: A fitted scikit-learn or XGBoost estimator.
        reported: Metrics as the caller measured them; kept as tags ``reported.NAME``, and they decide nothing.
        parameters: Parameters to log; those of ``get_params`` by default.
        tags: Further tags.

    Raises:
        SignatureError: the estimator reads other features, or is for another task.
        UntrustedModel: the estimator cannot be saved without pickle.
        KaratError: what labels, lookups and evaluation raise; nothing has been logged then.
    """
    spec, lake = context.spec, context.lake
    spine = label_spine(context, lake)
    every = declared_training_set(context, lake, spine)
    chosen = _features(estimator, every.features, spec.name)
    without = [name for name in every.features if name not in chosen]
    training_set = declared_training_set(context, lake, spine, without=without) if without else every
    model = Estimator(estimator, Encoder.fit(training_set.data.select(training_set.features)))
    if model.task != spec.task:
        raise SignatureError(
            f"the estimator is for {model.task}, and the model {spec.name!r} is declared for {spec.task}",
            where=f"project {context.project.name!r}",
            remedy="register it under another name, or fit an estimator of that task",
        )
    split = split_rows(training_set.data, spec, time=context.spine.time, entity=context.spine.entity)
    result = evaluate_fitted(
        spec,
        model,
        with_protected(context, lake, with_oracle(context, lake, training_set.data)),
        features=training_set.features,
        label=spec.target,
        split=split,
    )
    gain = gain_significance(result, entity=context.spine.entity, time=context.spine.time)
    # Karat may train a model of its own on this definition and these data; it must not find this one instead.
    definition = f"given:{uuid.uuid4().hex}"
    fairness = measure_fairness(result, entity=context.spine.entity, time=context.spine.time)
    custom, warnings = custom_metrics(context.project.metrics, result)
    result = replace(result, warnings=[*result.warnings, *warnings])
    run = TrainingRun(training_set, split, result, gain, provenance(context, lake), fairness=fairness, custom=custom)
    entry = version_entry(context, run, definition=definition, commit="")
    kind, metrics = type(estimator).__name__, dict(reported or {})
    entry = replace(
        entry,
        tags={**(tags or {}), **{f"reported.{name}": f"{value:g}" for name, value in metrics.items()}, **entry.tags},
        own_tags=replace(entry.own_tags, kind=kind, user_model=True),
        metadata=replace(entry.metadata, kind=kind, reported=metrics),
        parameters=dict(parameters or _parameters(estimator)),
    )
    return offer(context.registry, context.registry.log(entry))


def log_external_model(
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
    """Register a fitted model with the lookups and pins of the training set that it was fitted on.

    Args:
        registry: Receives the version.
        model: A fitted scikit-learn or XGBoost estimator, or a ``karat.kinds.Model``.
        artifact_path: Name of the model among the run's artifacts.
        lake: Receives the spine of the training set.
        training_set: What the model was fitted on.
        name: Registered name.
        flavor: MLflow flavor, accepted for compatibility.
        signature: A signature to check against the training set.
        input_example: Rows from which the signature's outputs are inferred; the training set's first by default.
        metrics: Metrics to log.
        parameters: Parameters to log; those of the model by default.
        tags: Further tags.

    Raises:
        WrongCall: another flavor.
        UntrustedModel: the model cannot be saved without pickle.
        SignatureError: a signature without both sides, or features other than the training set's.
    """
    _check_flavor(flavor)
    servable = _servable(model, training_set)
    rows = _example_rows(training_set, input_example, servable)
    outputs = predicted_outputs(servable, rows)
    if signature is not None:
        check_given(signature, training_set.features)
    kind = servable.kind_name if isinstance(servable, Model) else type(model).__name__
    own_tags = VersionTags(
        kind=kind,
        task=servable.task,
        digest=training_set.digest,
        pins={str(lookup.table): lookup.version for lookup in training_set.lookups},
        user_model=True,
    )
    pins = store_pins(lake, name, training_set)
    return registry.log(
        VersionEntry(
            name=name,
            experiment=f"{name.catalog}/{name.short}",
            model=servable,
            signature=sign(servable.feature_types, outputs),
            example=example_frame(servable, rows),
            spine=training_set.spine.with_row_index(ROW_NUMBER),
            metadata=model_metadata(training_set, servable, pins, kind=kind, catalog=name.catalog, model=name.short),
            own_tags=own_tags,
            tags=tags or {},
            artifact=artifact_path,
            parameters=parameters or _parameters(model),
            metrics=metrics or {},
            draw=lambda folder: [training_set.draw_report(folder, title=name.short)],
        )
    )


def _features(estimator: Any, declared: tuple[str, ...], model: str) -> list[str]:
    """The declared features that the estimator was fitted on; all of them if it remembers none."""
    names = getattr(estimator, "feature_names_in_", None)
    chosen = list(declared if names is None else names)
    for name in chosen:
        if name not in declared:
            raise SignatureError(
                f"the estimator was fitted on {name!r}, which the lookups of {model!r} do not bring",
                where=f"declared: {', '.join(declared)}",
                remedy=did_you_mean(name, declared),
            )
    return chosen


def _check_flavor(flavor: ModuleType | str | None) -> None:
    if flavor is None:
        return
    name = (flavor if isinstance(flavor, str) else flavor.__name__).rpartition(".")[2]
    if name not in _FLAVORS:
        raise WrongCall(
            f"the flavor {name!r} is not known", where="log_model(flavor=...)", remedy=f"one of {', '.join(_FLAVORS)}"
        )


def _servable(model: Any, training_set: TrainingSet) -> Servable:
    """The model behind the interface that serving reads; a model of Karat's own must fit the training set."""
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
        return training_set.data.head(_EXAMPLE_ROWS)
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
    return rows.head(_EXAMPLE_ROWS)


def _parameters(model: Any) -> dict[str, Any]:
    if isinstance(model, Model):
        return dict(model.parameters)
    return dict(model.get_params()) if hasattr(model, "get_params") else {}
