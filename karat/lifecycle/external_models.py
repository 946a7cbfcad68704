"""A model that was fitted elsewhere, registered under a declared name: judged as if Karat had trained it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from karat.declare.models import ModelSpec
from karat.declare.project import Project
from karat.errors import SignatureError, did_you_mean
from karat.kinds import Encoder
from karat.lake import Lake
from karat.lifecycle.candidate import entry_of, judged_by_entity, offered, training_set_of, with_truth
from karat.registry.estimators import Estimator
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training.split import split_rows
from karat.training.train import evaluate_fitted
from karat.training_sets.labels import label_spine


def register_fitted(
    project: Project,
    spec: ModelSpec,
    lake: Lake,
    registry: Registry,
    estimator: Any,
    *,
    reported: Mapping[str, float] | None = None,
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """A version of the declared model with the lookups, pins and label of its declaration, as the challenger.

    Its metrics and its baseline are of the declaration's own test rows; those that the caller has ``reported`` are
    kept as tags (``reported.NAME``) and decide nothing. The estimator may read some of the declared features alone:
    those that it was fitted on, where it remembers them.
    Raises SignatureError, UntrustedModel, and what labels, lookups and judging raise, before anything is logged.
    """
    spine = label_spine(project, spec, lake)
    every = training_set_of(project, spec, lake, spine)
    chosen = _features(estimator, every.features, spec)
    without = [name for name in every.features if name not in chosen]
    training_set = training_set_of(project, spec, lake, spine, without=without) if without else every
    model = Estimator(estimator, Encoder.fit(training_set.data.select(training_set.features)))
    if model.task != spec.task:
        raise SignatureError(
            f"the estimator is for {model.task}, and the model {spec.name!r} is declared for {spec.task}",
            where=f"project {project.name!r}",
            remedy="register it under another name, or fit an estimator of that task",
        )
    table = project.tables[spec.spine_table]
    split = split_rows(training_set.data, spec, time=table.time, entity=table.entity)
    judged = evaluate_fitted(
        spec,
        model,
        with_truth(project, spec, lake, training_set),
        features=training_set.features,
        label=spec.target,
        split=split,
    )
    sure = judged_by_entity(project, spec, judged)
    # Of this definition and these data Karat may train a model of its own: it must not find this one instead.
    definition = f"given:{uuid.uuid4().hex}"
    entry = entry_of(
        project, spec, lake, training_set, split=split, trained=judged, judged=sure, definition=definition, commit=""
    )
    own = {"karat.kind": type(estimator).__name__, "karat.user_model": "true"}
    said = {f"reported.{name}": f"{value:g}" for name, value in (reported or {}).items()}
    entry = replace(
        entry,
        tags={**(tags or {}), **said, **entry.tags, **own},
        metadata=entry.metadata | {"kind": type(estimator).__name__, "reported": dict(reported or {})},
        parameters=dict(parameters or _parameters(estimator)),
    )
    return offered(registry, registry.log(entry))


def _features(estimator: Any, declared: tuple[str, ...], spec: ModelSpec) -> list[str]:
    names = getattr(estimator, "feature_names_in_", None)
    chosen = list(declared if names is None else names)
    for name in chosen:
        if name not in declared:
            raise SignatureError(
                f"the estimator was fitted on {name!r}, which the lookups of {spec.name!r} do not bring",
                where=f"declared: {', '.join(declared)}",
                remedy=did_you_mean(name, declared),
            )
    return chosen


def _parameters(estimator: Any) -> dict[str, Any]:
    return dict(estimator.get_params()) if hasattr(estimator, "get_params") else {}
