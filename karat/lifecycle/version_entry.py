"""The registry entry of a trained model: tags, metadata, card, metrics and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from karat.lifecycle.card_page import card_page
from karat.lifecycle.model_card import card_summary, model_card
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.records import TrainingRun
from karat.registry.entry import TrialEntry, VersionEntry
from karat.registry.metadata import ModelMetadata
from karat.registry.records import Servable
from karat.registry.signature import sign
from karat.registry.tags import VersionTags
from karat.training.cross_validation import fold_statistics
from karat.training.evaluation import primary_metric
from karat.training.fairness import FairnessRecord
from karat.training.split import SPLIT
from karat.training_sets.leakage_report import leak_messages
from karat.training_sets.pins import TrainingPins
from karat.training_sets.reproduce import store_pins
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet

_EXAMPLE_ROWS = 5


def version_entry(context: ModelContext, run: TrainingRun, *, definition: str, commit: str) -> VersionEntry:
    """Collect what the registry logs of a trained model, and store the spine of its training set.

    Args:
        context: The declared model with its lake.
        run: The fitted and evaluated model.
        definition: Hash by which the version is found again.
        commit: Commit of the code.
    """
    spec, training_set, trained, gain = context.spec, run.training_set, run.result, run.gain
    experiment = spec.experiment or "/".join(filter(None, (context.project.catalog, spec.domain, spec.name)))
    described = {
        "model_type": spec.kind,
        "experiment_name": experiment,
        **({"target_column": spec.target} if spec.target else {}),
        **spec.tags,
    }
    head = training_set.data.head(_EXAMPLE_ROWS)
    return VersionEntry(
        name=context.name,
        experiment=experiment,
        model=trained.refitted or trained.model,
        judged_model=trained.model if trained.refitted else None,
        signature=sign(trained.model.feature_types, predicted_outputs(trained.model, head)),
        example=example_frame(trained.model, head),
        spine=training_set.spine.with_row_index(ROW_NUMBER).with_columns(run.split.alias(SPLIT)),
        metadata=_metadata(context, run, definition=definition, commit=commit),
        own_tags=_tags(context, run, definition=definition, commit=commit),
        tags=described,
        description=card_summary(spec, trained, gain),
        card=model_card(context, run),
        page=card_page,
        log=run.log,
        source=f"karat run {context.project.name} --models {spec.name}",
        parameters={**trained.parameters, "kind": spec.kind, "seed": spec.seed, "threshold": trained.model.threshold},
        metrics=trained.metrics,
        baseline=trained.baseline,
        train_metrics=trained.train_metrics,
        judged=_gain_metrics(run),
        curve=trained.curve,
        draw=lambda folder: [*_draw(run, folder), training_set.draw_report(folder, title=spec.name)],
        trials=_trials(run),
        about=spec.description,
        records={
            "feature_importance.json": trained.importance,
            **({"environment.json": run.environment.to_dict()} if run.environment else {}),
        },
    )


def _tags(context: ModelContext, run: TrainingRun, *, definition: str, commit: str) -> VersionTags:
    project, spec, trained = context.project, context.spec, run.result
    why = run.gain.shortfall if run.gain else ()
    return VersionTags(
        project=project.name,
        domain=spec.domain,
        environment=project.environment,
        kind=spec.kind,
        task=spec.task,
        owner=spec.owner or project.spec.owner,
        origin=run.provenance.origin,
        origins=run.provenance.origins,
        digest=run.training_set.digest,
        definition=definition,
        commit=commit,
        baseline=trained.baseline_name,
        metric=primary_metric(spec, trained.metrics),
        rows=trained.rows,
        definitions=run.provenance.definitions,
        pins={lookup.table.table: lookup.version for lookup in run.training_set.lookups},
        why="; ".join(why) or None,
        fairness=FairnessRecord.of(run.fairness, spec.protected).gaps if run.fairness else None,
    )


def _metadata(context: ModelContext, run: TrainingRun, *, definition: str, commit: str) -> ModelMetadata:
    project, spec, trained = context.project, context.spec, run.result
    pins = store_pins(context.lake, context.name, run.training_set)
    return model_metadata(
        run.training_set,
        trained.model,
        pins,
        kind=spec.kind,
        project=project.name,
        catalog=project.catalog,
        environment=project.environment,
        model=spec.name,
        definition=definition,
        declaration=spec.model_dump(mode="json"),
        label_definition=spec.label.model_dump(mode="json") if spec.label else None,
        metrics=trained.metrics,
        baseline=trained.baseline,
        baseline_name=trained.baseline_name,
        train_metrics=trained.train_metrics,
        judgement=run.gain,
        importance=trained.importance,
        rows=trained.rows,
        commit=commit,
        origin=run.provenance.origin,
        origins=run.provenance.origins,
        search=run.search.to_dict() if run.search else None,
        warnings=[*leak_messages(run.training_set.report), *trained.warnings],
    )


def model_metadata(training_set: TrainingSet, fitted: Servable, pins: TrainingPins, **more: Any) -> ModelMetadata:
    """Describe the inputs of any registered model, and the pins that reproduce its training set.

    Args:
        training_set: The training set that the model was fitted on.
        fitted: The fitted model.
        pins: Pins of the training set, its spine stored.
        more: Further fields of ``ModelMetadata``.
    """
    return ModelMetadata(
        task=fitted.task,
        features=tuple(name for name in training_set.features if name in fitted.feature_types),
        feature_types=fitted.feature_types,
        lookups=training_set.lookups,
        functions=training_set.functions,
        label=training_set.label,
        classes=fitted.classes,
        threshold=fitted.threshold,
        pins=pins,
        digest=training_set.digest,
        report=training_set.report.to_dicts(),
        **more,
    )


def _draw(run: TrainingRun, folder: Path) -> list[Path]:
    # matplotlib, which scoring and serving do without
    from karat.training.contribution_plot import save_contribution_plots
    from karat.training.fairness_plot import save_fairness_plot
    from karat.training.plots import save_plots
    from karat.training.search_plot import save_search_plot

    found, sample = run.search.result if run.search else None, run.result.contributions
    return [
        *save_plots(run.result, folder),
        *(save_contribution_plots(sample, folder, title=run.result.spec.name) if sample else []),
        *([save_search_plot(found, folder)] if found else []),
        *([save_fairness_plot(run.fairness, folder, title=run.result.spec.name)] if run.fairness else []),
    ]


def _trials(run: TrainingRun) -> list[TrialEntry]:
    """The trials of the search that was made for this version."""
    found = run.search.result if run.search else None
    if found is None:
        return []
    return [
        TrialEntry(
            name=f"trial {trial.number}",
            parameters=trial.parameters,
            metrics={"seconds": trial.seconds} | ({} if trial.value is None else {found.metric: trial.value}),
            curve=trial.losses,
            failed=trial.state == "failed",
            tags={"state": trial.state} | ({"error": trial.error} if trial.error else {}),
        )
        for trial in found.trials
    ]


def _gain_metrics(run: TrainingRun) -> dict[str, float]:
    """The gain report as metrics, those of the reference models on the same rows, and the cross-validation's."""
    references = {
        f"{name}_{metric}": value
        for name, reference in run.result.reference_models.items()
        for metric, value in reference.metrics.items()
    }
    folds = {
        f"{metric}_cv_{name}": value
        for metric, both in fold_statistics(run.result.folds).items()
        for name, value in zip(("mean", "std"), both, strict=True)
    }
    reports = (run.gain, run.fairness, run.result.calibration, run.result.intervals, run.seeds, run.environment)
    found = {name: value for report in reports if report for name, value in report.as_metrics().items()}
    return references | folds | found | {f"custom_{name}": value for name, value in run.custom.items()}


def predicted_outputs(model: Servable, frame: pl.DataFrame) -> dict[str, Any]:
    """Return what the model answers for these rows, by output column."""
    return model.outputs(model.predict(frame), model.thresholds(frame))


def example_frame(model: Servable, frame: pl.DataFrame) -> pd.DataFrame:
    """Return up to five rows of inputs: numbers as float64, sequences as lists."""
    columns = [
        _sequence(n) if t.endswith("]") else pl.col(n).cast(pl.Float64) if t in ("int64", "bool") else pl.col(n)
        for n, t in model.feature_types.items()
    ]
    return frame.head(_EXAMPLE_ROWS).select(columns).to_pandas()


def _sequence(name: str) -> pl.Expr:
    """A list of numbers without nulls: MLflow's schema knows none."""
    return pl.col(name).cast(pl.List(pl.Float64)).list.eval(pl.element().fill_null(float("nan")))
