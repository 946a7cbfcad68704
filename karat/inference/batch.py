"""Batch scoring from keys alone; the features are looked up by the same join as for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from karat.clock import utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import (
    FeatureLookupFailed,
    FeaturesMissing,
    KaratError,
    SchemaMismatch,
    SignatureError,
    WrongCall,
    did_you_mean,
)
from karat.features import MISSING
from karat.inference.feature_request import FeatureNeeds, needs_of
from karat.inference.risk import risk_of
from karat.inference.value_rules import ValueRules
from karat.lake import Lake
from karat.names import ModelRef, TableName
from karat.registry import LoadedModel, Registry
from karat.training_sets.feature_join import JoinedFeatures, join_features
from karat.training_sets.frames import Frame, append_columns, to_polars
from karat.training_sets.functions import FunctionLibrary, check_inputs, compute_functions
from karat.training_sets.lookups import PinnedLookup

_RESULT_TYPES: dict[str, type[pl.DataType]] = {
    "double": pl.Float64,
    "float": pl.Float64,
    "int": pl.Int64,
    "long": pl.Int64,
    "boolean": pl.Boolean,
    "string": pl.String,
}
Missing = Literal["raise", "null"]


@dataclass(frozen=True)
class ModelInputs:
    """What a model predicts from, row for row.

    Attributes:
        values: The features, ``(rows, features)`` in the model's order.
        unknown: Rows that no feature table knows.
        degraded: Rows of which more features are missing than the model declares.
    """

    values: pl.DataFrame
    unknown: pl.Series
    degraded: pl.Series


def score_batch(
    lake: Lake,
    registry: Registry,
    model_uri: str,
    df: Frame,
    *,
    result_type: str | None = None,
    catalog: str | None = None,
    missing: Missing = "raise",
    library: FunctionLibrary | None = None,
    projects: ProjectCatalog | None = None,
) -> Frame:
    """Score a frame of keys with a registered model.

    Args:
        lake: The offline store.
        registry: The model registry.
        model_uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        df: The lookup keys, and what feature functions read. A column with a feature's name overrides the lookup.
        result_type: Casts the prediction: "double", "long", "boolean", "string".
        catalog: Where a bare model name is.
        missing: "raise" or "null", for rows that no feature table knows, and for rows with more missing features than
            the model accepts (``missing_features`` with ``action: refuse``).
        library: Where feature functions are found; by default the project of the model's catalog.
        projects: Where the contract of values that the frame brings is found; by default the folder of projects.

    Returns:
        ``df`` plus ``prediction`` (and ``probability``, or one column per output; ``risk_level`` if the model has
        levels), ``degraded``, ``model_name``, ``model_version``, ``run_id`` and ``scored_at``, in the kind of frame
        that was given.

    Raises:
        ModelNotFound: No such model or version.
        NoChampion: The model has no champion.
        SignatureError: The frame lacks a column, or the prediction is no ``result_type``.
        FeatureLookupFailed: Names table and keys.
        FeaturesMissing: More features of a row are missing than the model accepts, and it is declared to refuse that.
        SchemaMismatch: The frame has a column that scoring adds.
        InvalidRequest: The frame brings a value that the gold contract forbids.
        ColumnMissing: Names the input and its function.
        FunctionNotFound: A feature function is not declared.
        FunctionChanged: Its source is not the one of training.
        FeatureFunctionFailed: It raised.
    """
    if result_type is not None and result_type not in _RESULT_TYPES:
        raise WrongCall(f"{result_type!r} is no result_type", remedy=did_you_mean(result_type, _RESULT_TYPES))
    if missing not in ("raise", "null"):
        raise WrongCall(f"missing={missing!r} is neither 'raise' nor 'null'", where="score_batch")
    frame = to_polars(df)
    loaded = registry.load(ModelRef.parse(model_uri, catalog=catalog))
    added = predict(lake, loaded, frame, missing=missing, library=library, projects=projects)
    if result_type is not None:
        added = added.with_columns(_cast(added["prediction"], result_type))
    return append_columns(df, added)


def predict(
    lake: Lake,
    loaded: LoadedModel,
    frame: pl.DataFrame,
    *,
    missing: Missing = "raise",
    versions: Mapping[TableName, int] | None = None,
    library: FunctionLibrary | None = None,
    projects: ProjectCatalog | None = None,
) -> pl.DataFrame:
    """Predict every row of ``frame``.

    Args:
        lake: The offline store.
        loaded: The model version.
        frame: The lookup keys, and what feature functions read.
        missing: "raise" or "null", for rows that get no prediction: no feature table knows them, or the model refuses
            them for their missing features.
        versions: Delta version per table; the newest if None.
        library: Where feature functions are found.
        projects: Where the contract of values that the frame brings is found.

    Returns:
        The columns that scoring adds, row for row.

    Raises:
        FeatureLookupFailed: Features can't be looked up, or a row is unknown and ``missing`` is "raise".
        FeaturesMissing: The model refuses a row, and ``missing`` is "raise".
        SignatureError: The frame lacks a column that the model reads.
    """
    inputs = inputs_of(lake, loaded, frame, missing=missing, versions=versions, library=library, projects=projects)
    model = loaded.model
    prediction = model.predict(inputs.values)
    outputs = pl.DataFrame(model.outputs(prediction, model.thresholds(inputs.values)))
    _check_added(outputs.columns, frame)
    if loaded.risk_levels:
        outputs = outputs.with_columns(pl.Series("risk_level", risk_of(loaded, prediction), dtype=pl.String))
    refused = inputs.unknown
    if loaded.metadata.missing_features.action == "refuse":
        refused |= inputs.degraded
    if refused.any():
        outputs = outputs.select(pl.when(~refused).then(pl.all()).name.keep())
    return outputs.with_columns(
        inputs.degraded.alias("degraded"),
        pl.lit(str(loaded.name)).alias("model_name"),
        pl.lit(loaded.version, dtype=pl.Int64).alias("model_version"),
        pl.lit(loaded.run_id).alias("run_id"),
        pl.lit(utc_now(), dtype=pl.Datetime("us", "UTC")).alias("scored_at"),
    )


def inputs_of(
    lake: Lake,
    loaded: LoadedModel,
    frame: pl.DataFrame,
    *,
    missing: Missing = "raise",
    versions: Mapping[TableName, int] | None = None,
    library: FunctionLibrary | None = None,
    projects: ProjectCatalog | None = None,
) -> ModelInputs:
    """Look up and compute the model's inputs for every row of ``frame``.

    Arguments and errors are those of ``predict``.
    """
    needs = needs_of(loaded, frame.columns)
    _check_columns(loaded, needs, frame)
    if needs.given:
        ValueRules(loaded.lookups, projects or ProjectCatalog()).check_frame(frame.select(needs.given))
    functions = [(library or FunctionLibrary()).bind(f) for f in needs.functions]
    filled = _filled(lake, needs.lookups, frame, versions)
    unknown = _unknown(filled, frame.height, needs.given)
    if unknown.any() and missing == "raise":
        raise _none_knows(loaded, frame, unknown)
    known = pl.DataFrame([*frame.select(needs.given), *filled.values])
    made = compute_functions(functions, frame.with_columns(filled.values)) if functions else []
    values = pl.DataFrame([*known, *made]).select(loaded.features)
    absent = _missing(values, filled.statuses)
    degraded = absent.sum_horizontal() > loaded.metadata.missing_features.most(len(loaded.features))
    if missing == "raise" and loaded.metadata.missing_features.action == "refuse" and degraded.any():
        raise _too_few_features(loaded, frame, absent, degraded)
    return ModelInputs(values, unknown, degraded.alias("degraded"))


def _missing(values: pl.DataFrame, statuses: pl.DataFrame) -> pl.DataFrame:
    """Whether each value is missing: by its status where it was looked up, else where it is null."""
    return pl.DataFrame(
        [
            statuses[name].is_in(list(MISSING)).alias(name) if name in statuses.columns else values[name].is_null()
            for name in values.columns
        ]
    )


def _too_few_features(
    loaded: LoadedModel, frame: pl.DataFrame, absent: pl.DataFrame, degraded: pl.Series
) -> FeaturesMissing:
    row = int(degraded.arg_true()[0])
    names = [name for name, is_absent in absent.row(row, named=True).items() if is_absent]
    return FeaturesMissing(
        f"{degraded.sum()} of {frame.height} rows lack more than {loaded.metadata.missing_features.share:.0%} of the "
        f"{len(loaded.features)} features; the first of them lacks {', '.join(names)}",
        where=f"{loaded.uri}, the first keys: {_shown_keys(loaded, frame, degraded)}",
        remedy="give these features as columns, or score with missing='null'; the model refuses such rows "
        "(missing_features in its YAML)",
    )


def _check_columns(loaded: LoadedModel, needs: FeatureNeeds, frame: pl.DataFrame) -> None:
    """Check the frame's columns before anything is read."""
    looked_up = [out for lookup in needs.lookups for out in lookup.outputs]
    known = {*looked_up, *(f.output for f in needs.functions)}
    shown = f"columns: {', '.join(frame.columns)}"
    for name in loaded.features:
        if name not in known and name not in frame.columns:
            raise SignatureError(
                f"the frame has no column {name!r}, which {loaded.uri} reads and no lookup brings",
                where=shown,
                remedy=did_you_mean(name, frame.columns),
            )
    check_inputs(needs.functions, [*frame.columns, *looked_up], shown)
    for lookup in needs.lookups:
        for column in lookup.spine_columns:
            if column not in frame.columns:
                raise FeatureLookupFailed(
                    f"the features of {lookup.table} cannot be looked up: the frame has no key column {column!r}",
                    where=shown,
                    remedy=did_you_mean(column, frame.columns) or f"give {', '.join(lookup.spine_columns)}",
                )
    levels = ["risk_level"] if loaded.risk_levels else []
    _check_added(("prediction", *levels, "degraded", "model_name", "model_version", "run_id", "scored_at"), frame)


def _check_added(names: Iterable[str], frame: pl.DataFrame) -> None:
    """Refuse to overwrite a column of the frame."""
    for name in names:
        if name in frame.columns:
            raise SchemaMismatch(
                f"the frame has a column {name!r} already, which scoring adds",
                where=f"columns: {', '.join(frame.columns)}",
                remedy="rename or drop it",
            )


def _filled(
    lake: Lake, lookups: Sequence[PinnedLookup], frame: pl.DataFrame, versions: Mapping[TableName, int] | None
) -> JoinedFeatures:
    """Join lookup by lookup, so that an error names its table."""
    values: list[pl.Series] = []
    statuses: list[pl.Series] = []
    for needed in lookups:
        lookup = replace(needed, version=(versions or {}).get(needed.table, needed.version))
        try:
            filled = join_features(lake, frame, [lookup], pinned=versions is not None)
        except KaratError as error:
            raise FeatureLookupFailed(
                f"the features of {lookup.table} could not be looked up: {error.what}",
                where=f"keys: {', '.join(f'{column} -> {key}' for column, key in lookup.keys.items())}",
                remedy=error.remedy or "compute the feature table",
            ) from error
        values += filled.values.get_columns()
        statuses += filled.statuses.get_columns()
    return JoinedFeatures(pl.DataFrame(values), pl.DataFrame(statuses), pl.DataFrame())


def _unknown(filled: JoinedFeatures, height: int, given: Sequence[str]) -> pl.Series:
    """Rows that no table knows and that bring no feature of their own."""
    if given or not filled.statuses.width:
        return pl.Series(values=[False] * height, dtype=pl.Boolean)
    return filled.statuses.select(pl.all_horizontal(pl.all().cast(pl.String) == "NOT_FOUND")).to_series()


def _none_knows(loaded: LoadedModel, frame: pl.DataFrame, unknown: pl.Series) -> FeatureLookupFailed:
    return FeatureLookupFailed(
        f"{unknown.sum()} of {frame.height} rows have no features in {', '.join(str(p.table) for p in loaded.lookups)}",
        where=f"the first keys: {_shown_keys(loaded, frame, unknown)}",
        remedy="check the keys, compute the features of these rows, or score with missing='null'",
    )


def _shown_keys(loaded: LoadedModel, frame: pl.DataFrame, chosen: pl.Series) -> str:
    """The lookup keys of the first chosen rows, as text."""
    keys = list(dict.fromkeys(column for lookup in loaded.lookups for column in lookup.spine_columns))
    shown = frame.filter(chosen).select(c for c in keys if c in frame.columns).head(3)
    return "; ".join(", ".join(f"{k}={v}" for k, v in row.items()) for row in shown.rows(named=True))


def _cast(prediction: pl.Series, result_type: str) -> pl.Series:
    try:
        return prediction.cast(_RESULT_TYPES[result_type])
    except pl.exceptions.PolarsError as error:
        raise SignatureError(
            f"the prediction is {prediction.dtype}, which is no {result_type}: {prediction.drop_nulls()[0]!r}",
            where="score_batch(result_type=...)",
            remedy="ask for 'string', or leave result_type out",
        ) from error
