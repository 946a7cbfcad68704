"""From a declaration to a registered version: label, training set, split, fit, evaluation, log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from karat.declare.functions import DeclaredFunction
from karat.declare.models import UNSUPERVISED, ModelSpec
from karat.declare.project import Project
from karat.executors import Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Lake
from karat.lifecycle.model_card import card_summary, model_card
from karat.lifecycle.provenance import definitions, origins, overall
from karat.lifecycle.records import Candidate
from karat.names import CHALLENGER
from karat.registry.entry import VersionEntry
from karat.registry.records import ModelVersion, Servable
from karat.registry.signature import sign
from karat.registry.store import Registry
from karat.training.data_warnings import missing_day_warnings
from karat.training.evaluation import evaluate, primary_metric
from karat.training.gain_report import GainReport
from karat.training.oracle import ORACLE_COLUMN, check_oracle_classes, oracle_predictions
from karat.training.significance import gain_significance
from karat.training.split import split_rows
from karat.training.train import TrainingResult, train
from karat.training_sets.functions import FunctionLibrary, declared_functions
from karat.training_sets.labels import label_spine
from karat.training_sets.leakage import leak_messages
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.reproduce import store_pins
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet, create_training_set

#: The column of the stored spine that says which rows were for training and which for the test.
SPLIT = "karat_split"
#: Fields of a declaration that leave the trained model as it is.
_NOT_LEARNED = {"name", "domain", "description", "owner", "online", "scope", "gates", "protected", "risk_levels"}
_NOT_LEARNED |= {"explain", "tags", "experiment", "limits", "notes", "search"}
_STEPS = 5


def definition_of(spec: ModelSpec, functions: Mapping[str, DeclaredFunction] | None = None) -> str:
    """BLAKE2 over everything in the declaration that decides what is learned and how it is judged; ``functions`` are
    the project's, of which those count that the model uses."""
    meaning = spec.model_dump(mode="json", exclude=_NOT_LEARNED)
    used = meaning.pop("functions")
    if used:
        hashes = {use.function: (functions or {})[use.function].source_hash for use in spec.functions}
        meaning |= {"functions": used, "function_hashes": hashes}
    return fingerprint(meaning)


def make_candidate(
    project: Project,
    spec: ModelSpec,
    lake: Lake,
    registry: Registry,
    *,
    progress: Progress = silent,
    commit: str = "",
    force: bool = False,
) -> Candidate:
    """A version of the declared model on the data of now, with the alias challenger.

    The same declaration on the same training set is not trained again (unless ``force``): the version that is there is
    given back. ``commit`` names the code. Raises what labels, lookups and training raise, before anything is logged.
    """
    name = project.model_name(spec.name)
    progress(0, _STEPS, "label")
    spine = label_spine(project, spec, lake)
    progress(1, _STEPS, "training set")
    training_set = training_set_of(project, spec, lake, spine)
    definition = definition_of(spec, project.functions)
    found = None if force else registry.find(name, definition, training_set.digest)
    if found is not None:
        registry.settle(found)
        return Candidate(offered(registry, found), False, found.metrics, found.baseline)
    progress(2, _STEPS, "training")
    split, trained = _trained(project, spec, training_set, with_truth(project, spec, lake, training_set))
    trained = replace(trained, warnings=[*trained.warnings, *missing_day_warnings(project, spec, lake)])
    judged = judged_by_entity(project, spec, trained)
    progress(3, _STEPS, "registration")
    entry = entry_of(
        project,
        spec,
        lake,
        training_set,
        split=split,
        trained=trained,
        judged=judged,
        definition=definition,
        commit=commit,
    )
    version = registry.log(entry)
    if not force:
        version = _first(registry, version)
    version = offered(registry, version)
    progress(_STEPS, _STEPS, "done")
    why = judged.shortfall if judged else ()
    warnings = (*leak_messages(training_set.report), *trained.warnings, *why)
    return Candidate(version, True, trained.metrics, trained.baseline, warnings)


def training_set_of(
    project: Project, spec: ModelSpec, lake: Lake, spine: pl.DataFrame, *, without: Sequence[str] = ()
) -> TrainingSet:
    """The declared training set; ``without`` are features that are left out of it."""
    sources = [project.table_name(spec.spine_table)]
    sources += [project.gold_name(spec.label.source)] if spec.label else []
    return create_training_set(
        lake,
        spine,
        [*declared_lookups(project, spec), *declared_functions(spec)],
        spec.target,
        exclude_columns=[*project.spine_columns(spec), *without],
        catalog=project.catalog,
        sources={str(name): lake.version(name) for name in sources if lake.exists(name)},
        library=FunctionLibrary(given=project.functions.values()),
    )


def with_truth(project: Project, spec: ModelSpec, lake: Lake, training_set: TrainingSet) -> pl.DataFrame:
    """The training set's rows, beside them what the planted truth would answer, where there is one."""
    truth = oracle_predictions(project, spec, lake, training_set.data)
    if truth is not None and spec.target is not None:
        check_oracle_classes(spec, training_set.data[spec.target])
    return training_set.data if truth is None else training_set.data.with_columns(truth.alias(ORACLE_COLUMN))


def judged_by_entity(project: Project, spec: ModelSpec, trained: TrainingResult) -> GainReport | None:
    """How sure the gain is, where the rows of one entity count as one observation."""
    table = project.tables[spec.spine_table]
    return gain_significance(trained, entity=table.entity, time=table.time)


def _trained(
    project: Project, spec: ModelSpec, training_set: TrainingSet, rows: pl.DataFrame
) -> tuple[pl.Series, TrainingResult]:
    table = project.tables[spec.spine_table]
    split = split_rows(training_set.data, spec, time=table.time, entity=table.entity)
    unsupervised = spec.task in UNSUPERVISED
    judged = spec.target is not None and training_set.data[spec.target].null_count() < training_set.data.height
    trained = train(
        spec,
        rows,
        features=training_set.features,
        label=None if unsupervised else spec.target,
        split=split,
        evaluation_label=spec.target if unsupervised and judged else None,
        time=table.time,
    )
    return split, trained


def _first(registry: Registry, version: ModelVersion) -> ModelVersion:
    """Of two processes that made the same version at the same time the earlier one's stays: before either began, there
    was none."""
    twin = registry.twin(version)
    if twin is None:
        return version
    registry.delete(version)
    return twin


def offered(registry: Registry, version: ModelVersion) -> ModelVersion:
    """A version that no promotion has judged yet is the challenger."""
    if not version.aliases and "karat.decision" not in version.tags:
        return registry.set_alias(version, CHALLENGER, "the newest version")
    return version


def entry_of(
    project: Project,
    spec: ModelSpec,
    lake: Lake,
    training_set: TrainingSet,
    *,
    split: pl.Series,
    trained: TrainingResult,
    judged: GainReport | None,
    definition: str,
    commit: str,
) -> VersionEntry:
    found = origins(project, spec, lake)
    why = list(judged.shortfall) if judged else []
    experiment = spec.experiment or "/".join(filter(None, (project.catalog, spec.domain, spec.name)))
    tags = {
        # As document 001 names them.
        "model_type": spec.kind,
        "experiment_name": experiment,
        **({"target_column": spec.target} if spec.target else {}),
        **spec.tags,
        "karat.project": project.name,
        "karat.domain": spec.domain,
        "karat.environment": project.environment,
        "karat.kind": spec.kind,
        "karat.task": spec.task,
        "karat.owner": spec.owner or project.spec.owner,
        "karat.origin": overall(found),
        "karat.origins": json.dumps(found),
        "karat.digest": training_set.digest,
        "karat.definition": definition,
        "karat.commit": commit,
        "karat.baseline": trained.baseline_name,
        "karat.metric": primary_metric(spec, trained.metrics),
        "karat.rows": json.dumps(trained.rows),
        "karat.definitions": json.dumps(definitions(project, spec)),
        "karat.pins": json.dumps({p.table.table: p.version for p in training_set.lookups}),
        **({"karat.why": "; ".join(why)} if why else {}),
    }
    pins = store_pins(lake, project.model_name(spec.name), training_set)
    metadata = describe(training_set, trained.model, pins) | {
        "kind": spec.kind,
        "project": project.name,
        "catalog": project.catalog,
        "environment": project.environment,
        "model": spec.name,
        "definition": definition,
        "declaration": spec.model_dump(mode="json"),
        "label_definition": spec.label.model_dump(mode="json") if spec.label else None,
        "metrics": trained.metrics,
        "baseline": trained.baseline,
        "baseline_name": trained.baseline_name,
        "train_metrics": trained.train_metrics,
        "judgement": asdict(judged) if judged else None,
        "importance": trained.importance,
        "rows": trained.rows,
        "commit": commit,
        "origin": overall(found),
        "origins": found,
        "warnings": [*leak_messages(training_set.report), *trained.warnings],
    }
    return VersionEntry(
        name=project.model_name(spec.name),
        experiment=experiment,
        model=trained.model,
        signature=sign(trained.model.feature_types, outputs_of(trained.model, training_set.data.head(5))),
        example=example_of(trained.model, training_set.data),
        spine=training_set.spine.with_row_index(ROW_NUMBER).with_columns(split.alias(SPLIT)),
        metadata=metadata,
        tags=tags,
        description=card_summary(spec, trained, judged),
        card=model_card(project, spec, training_set, trained, judged, split=split, origins=found),
        parameters={**trained.parameters, "kind": spec.kind, "seed": spec.seed, "threshold": trained.model.threshold},
        metrics=trained.metrics,
        baseline=trained.baseline,
        train_metrics=trained.train_metrics,
        judged=_judged_metrics(trained, judged),
        curve=trained.curve,
        draw=lambda folder: [*_draw(trained, folder), training_set.draw_report(folder, title=spec.name)],
    )


def _draw(trained: TrainingResult, folder: Path) -> list[Path]:
    from karat.training.plots import save_plots  # matplotlib, which scoring and serving do without

    return save_plots(trained, folder)


def _judged_metrics(trained: TrainingResult, judged: GainReport | None) -> dict[str, float]:
    """The judgement's figures, and what persistence and a linear model score on the same rows."""
    rivals = {f"{name}_{m}": v for name, rival in trained.reference_models.items() for m, v in rival.metrics.items()}
    return rivals | (judged.as_metrics() if judged else {})


def describe(training_set: TrainingSet, model: Servable, pins: Mapping[str, Any]) -> dict[str, Any]:
    """What every registered model's ``karat.json`` holds: how its inputs are looked up, in which order, and the
    ``pins`` by which its training set comes back."""
    return {
        "version": 1,
        "task": model.task,
        "features": list(training_set.features),
        "feature_types": model.feature_types,
        "lookups": [lookup.as_json() for lookup in training_set.lookups],
        "functions": [function.as_json() for function in training_set.functions],
        "label": training_set.label,
        "classes": model.classes,
        "threshold": model.threshold,
        "pins": pins,
        "digest": training_set.digest,
        "report": training_set.report.to_dicts(),
    }


def outputs_of(model: Servable, frame: pl.DataFrame) -> dict[str, Any]:
    return model.outputs(model.predict(frame))


def example_of(model: Servable, frame: pl.DataFrame) -> pd.DataFrame:
    """Up to five rows of features, numbers as float64, sequences as lists of them."""
    columns = [
        _steps(n) if t.endswith("]") else pl.col(n).cast(pl.Float64) if t in ("int64", "bool") else pl.col(n)
        for n, t in model.feature_types.items()
    ]
    return frame.head(5).select(columns).to_pandas()


def _steps(name: str) -> pl.Expr:
    """MLflow knows no list with nulls in it."""
    return pl.col(name).cast(pl.List(pl.Float64)).list.eval(pl.element().fill_null(float("nan")))


__all__ = ["SPLIT", "definition_of", "describe", "evaluate", "example_of", "make_candidate", "outputs_of"]
