"""Prediction tables: the champion scores a declared scope, written in one idempotent commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from karat.clock import DAY
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import ModelSpec
from karat.errors import FeatureLookupFailed, NoChampion, StaleFeatures
from karat.features import is_fresh
from karat.fingerprint import fingerprint
from karat.inference.batch import predict
from karat.lake import Commit, Lake, Work
from karat.lifecycle import ModelContext, void_reason
from karat.names import TableName
from karat.registry import ModelVersion

KIND = "predictions"
#: Of a table that is appended to: the batch to which a row belongs, part of its key.
BATCH = "batch_id"


@dataclass(frozen=True)
class ScoringResult:
    """Result of scoring a declared scope.

    Attributes:
        table: The table of predictions.
        version: Its Delta version.
        rows: How many rows of the scope it holds.
        changed: Whether this call wrote it.
        model_version: The champion's version.
        unknown: Rows written without a prediction: no feature table knows their keys.
    """

    table: TableName
    version: int
    rows: int
    changed: bool
    model_version: int
    unknown: int = 0


def score_model(context: ModelContext) -> ScoringResult:
    """The champion's predictions for the declared scope, into ``catalog.predictions.MODEL``, in one commit.

    The same champion on the same versions of the feature tables is not scored twice. The spine may have rows that none
    of the tables that are looked up knows: their prediction is null.
    Raises StaleFeatures, NoChampion, FeatureLookupFailed (where that is all of them); nothing is written then.
    """
    spec, lake = context.spec, context.lake
    _check_fresh(context)
    champion = _champion(context)
    versions = {name: lake.version(name) for name in _tables(context)}
    work = _work(context, champion, versions)
    name = context.project.prediction_name(spec.name)
    if (done := _done(lake, name, spec, work)) is not None:
        return ScoringResult(name, done.version, done.rows, False, champion.version)
    keys = _scope(context, versions[context.spine_name])
    loaded = context.registry.load(champion)
    added = predict(lake, loaded, keys, missing="null", versions=versions, library=context.functions)
    unknown = added["prediction"].null_count()
    if unknown == keys.height:
        raise _nothing_known(context)
    rows = keys.hstack(added)
    if spec.scope.write == "append":
        rows = rows.with_columns(pl.lit(work.key).alias(BATCH))
    commit = _write(context, rows, work)
    return ScoringResult(name, commit.version, rows.height, commit.changed, champion.version, unknown)


def _nothing_known(model: DeclaredModel) -> FeatureLookupFailed:
    project, spec, spine = model.project, model.spec, model.spine_name
    looked_up = ", ".join(dict.fromkeys(str(project.table_name(lookup.table)) for lookup in spec.lookups))
    return FeatureLookupFailed(
        f"none of the rows of {spine} in the scope of {spec.name!r} has features in {looked_up}",
        where=str(spine),
        remedy="compute the features of these keys, or name another spine",
    )


def _tables(model: DeclaredModel) -> list[TableName]:
    project, spec = model.project, model.spec
    return [project.table_name(t) for t in dict.fromkeys((spec.spine_table, *(lk.table for lk in spec.lookups)))]


def _check_fresh(context: ModelContext) -> None:
    for name in _tables(context):
        found = is_fresh(context.project, name.table, context.lake)
        if not found.fresh:
            raise StaleFeatures(
                f"the features of {name.table!r} are not up to date: {found.reason}",
                where=str(name),
                remedy=f"compute them first: prefect deployment run 'feature-pipeline/{context.project.name}'",
            )


def _champion(context: ModelContext) -> ModelVersion:
    champion = context.registry.champion(context.name)
    void = void_reason(context, champion) if champion else ""
    if champion is None or void:
        raise NoChampion(
            f"{context.name} has no champion" + (f" that counts: {void}" if void else ""),
            where=context.registry.tracking_uri,
            remedy=f"train and promote one: karat run {context.project.name} --models {context.spec.name}",
        )
    return champion


def _work(model: DeclaredModel, champion: ModelVersion, versions: dict[TableName, int]) -> Work:
    detail = {
        "model": str(champion.name),
        "model_version": champion.version,
        "run_id": champion.run_id,
        "tables": {str(n): v for n, v in versions.items()},
        "scope": model.spec.scope.model_dump(mode="json"),
        "spine": str(model.spine_name),
    }
    key = fingerprint(detail)
    return Work(KIND, key, detail)


def _done(lake: Lake, name: TableName, spec: ModelSpec, work: Work) -> Commit | None:
    if not lake.exists(name):
        return None
    if spec.scope.write == "replace" or BATCH not in lake.info(name).schema.names:
        return lake.commit_of(name, work)
    # Other batches may have been appended since: this one's rows say that it was.
    rows = lake.scan(name).filter(pl.col(BATCH) == work.key).select(pl.len()).collect().item()
    return Commit(name, lake.version(name), False, rows) if rows else None


def _scope(context: ModelContext, version: int) -> pl.DataFrame:
    """The keys to be scored: all rows of the spine table, or those of its last days."""
    spec, table, spine = context.spec, context.spine, context.spine_name
    columns = list(context.spine_columns)
    keys = context.lake.read(spine, version=version, columns=columns).select(columns)
    if spec.scope.last is not None and table.time is not None:
        day = pl.col(table.time).dt.date()
        keys = keys.filter(day > day.max() - spec.scope.last)
    if keys.is_empty():
        raise FeatureLookupFailed(
            f"there is nothing to score: {spine} has no rows in the scope of {spec.name!r}",
            where=str(spine),
            remedy="compute the features, or widen scope.last",
        )
    return keys.sort(table.primary_key)


def _as_wide(lake: Lake, name: TableName, rows: pl.DataFrame) -> pl.DataFrame:
    """Add null columns for what only other versions write: a further class, forecast step or risk level."""
    if not lake.exists(name):
        return rows
    known = lake.scan(name).collect_schema()
    return rows.with_columns(pl.lit(None, dtype=t).alias(c) for c, t in known.items() if c not in rows.columns)


def _write(context: ModelContext, rows: pl.DataFrame, work: Work) -> Commit:
    project, spec, lake, table = context.project, context.spec, context.lake, context.spine
    name = project.prediction_name(spec.name)
    append = spec.scope.write == "append"
    rows = _as_wide(lake, name, rows)
    lake.create(
        name,
        rows.to_arrow().schema,
        primary_key=[*table.primary_key, *([BATCH] if append else [])],
        timeseries=table.time,
        lag=timedelta(0),
        owner=spec.owner or project.spec.owner,
        description=f"Predictions: {spec.description}",
        properties={"karat.model": str(context.name)},
    )
    if append:
        return lake.merge(name, rows, work=work)
    if spec.scope.last is None or table.time is None:
        return lake.overwrite(name, rows, work=work)
    last = rows[table.time].dt.date().max()
    assert isinstance(last, date)
    days = [last - i * DAY for i in range(spec.scope.last // DAY)]
    return lake.overwrite(name, rows, days=days, work=work)
