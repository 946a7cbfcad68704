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
        unknown: Rows written without a prediction: no feature table knows their keys, or the model refuses rows with so
            many missing features.
        degraded: Rows predicted from fewer features than the model declares.
        caught_up: Of a scope of days, the earlier days that had rows without a prediction and were scored as well.
    """

    table: TableName
    version: int
    rows: int
    changed: bool
    model_version: int
    unknown: int = 0
    degraded: int = 0
    caught_up: tuple[date, ...] = ()


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
    keys, days = _scope(context, name, versions[context.spine_name])
    loaded = context.registry.load(champion)
    added = predict(lake, loaded, keys, missing="null", versions=versions, library=context.functions)
    predicted = added["prediction"].is_not_null()
    if not predicted.any():
        raise _nothing_known(context)
    rows = keys.hstack(added)
    if spec.scope.write == "append":
        rows = rows.with_columns(pl.lit(work.key).alias(BATCH))
    commit = _write(context, rows, work, days)
    return ScoringResult(
        name,
        commit.version,
        rows.height,
        commit.changed,
        champion.version,
        unknown=int((~predicted).sum()),
        degraded=int((added["degraded"] & predicted).sum()),
        caught_up=tuple(days[spec.scope.last // DAY :]) if days and spec.scope.last else (),
    )


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


def _scope(context: ModelContext, name: TableName, version: int) -> tuple[pl.DataFrame, list[date] | None]:
    """The keys to be scored, and their days, the newest first.

    All rows of the spine table (days None), or those of its last days and of every day since the first scored one that
    has a row without a prediction, as after a pause between two runs.
    """
    spec, table, spine = context.spec, context.spine, context.spine_name
    columns = list(context.spine_columns)
    keys = context.lake.read(spine, version=version, columns=columns).select(columns)
    days = None
    if spec.scope.last is not None and table.time is not None and keys.height:
        day = pl.col(table.time).dt.date()
        last = keys.select(day.max()).item()
        newest = [last - i * DAY for i in range(spec.scope.last // DAY)]
        days = [*newest, *_unscored_days(context, name, keys, before=newest[-1])]
        keys = keys.filter(day.is_in(days))
    if keys.is_empty():
        raise FeatureLookupFailed(
            f"there is nothing to score: {spine} has no rows in the scope of {spec.name!r}",
            where=str(spine),
            remedy="compute the features, or widen scope.last",
        )
    return keys.sort(table.primary_key), days


def _unscored_days(context: ModelContext, name: TableName, keys: pl.DataFrame, *, before: date) -> list[date]:
    """Days between the first scored one and ``before`` that have a row without a prediction, the newest first."""
    time, lake = context.spine.time, context.lake
    if time is None or not lake.exists(name):
        return []
    key, day = list(context.spine.primary_key), pl.col(time).dt.date()
    scored = lake.scan(name).select(key).filter(day < before)
    first = scored.select(day.min()).collect().item()
    if first is None:
        return []
    earlier = keys.lazy().select(key).filter(day.is_between(first, before, closed="left"))
    found = earlier.join(scored, on=key, how="anti").select(day.unique()).collect().to_series()
    return sorted(found.to_list(), reverse=True)


def _as_wide(lake: Lake, name: TableName, rows: pl.DataFrame) -> pl.DataFrame:
    """Add null columns for what only other versions write: a further class, forecast step or risk level."""
    if not lake.exists(name):
        return rows
    known = lake.scan(name).collect_schema()
    return rows.with_columns(pl.lit(None, dtype=t).alias(c) for c, t in known.items() if c not in rows.columns)


def _write(context: ModelContext, rows: pl.DataFrame, work: Work, days: list[date] | None) -> Commit:
    """Write the rows; ``days`` are those that they replace, None for the whole table."""
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
    return lake.overwrite(name, rows, days=days, work=work)
