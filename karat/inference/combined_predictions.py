"""Batch tables: the prediction tables of several models joined by key, written in one idempotent commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

import polars as pl

from karat.declare.batch_tables import BatchTable, stamps_of
from karat.declare.feature_tables import FeatureTable
from karat.declare.project import Project
from karat.errors import SchemaMismatch
from karat.fingerprint import fingerprint
from karat.lake import Lake, Work
from karat.names import TableName

KIND = "side_by_side"


@dataclass(frozen=True)
class CombinedPredictions:
    """Result of combining predictions.

    Attributes:
        table: The batch table.
        version: Its Delta version; None if nothing could be combined.
        rows: How many rows it has.
        changed: Whether this call wrote it.
        waits: Models without predictions yet; nothing is written until they have some.
    """

    table: TableName
    version: int | None
    rows: int
    changed: bool
    waits: tuple[str, ...] = ()


def combine_predictions(project: Project, name: str, lake: Lake) -> CombinedPredictions:
    """The batch table ``name`` as its models' prediction tables stand now, in one commit.

    The same predictions are not combined twice. Where a day's predictions have changed since the last commit, that day
    is replaced and the others stay; the whole table where the declaration or its columns have changed, or its rows have
    no time. A key that one model has not scored has nulls for it. Features are those that the predictions were made
    from.
    """
    declared, table = project.spec.batch_tables[name], project.prediction_name(name)
    waits = tuple(m for m in declared.models if not lake.exists(project.prediction_name(m)))
    if waits:
        return CombinedPredictions(table, None, 0, False, waits)
    spine = project.tables[project.models[declared.models[0]].spine_table]
    versions = {model: lake.version(project.prediction_name(model)) for model in declared.models}
    work = _work(project, declared, lake, spine, versions)
    if lake.exists(table) and (done := lake.commit_of(table, work)) is not None:
        return CombinedPredictions(table, done.version, lake.count(table), False)
    days = _changed(project, lake, table, spine, work)
    rows = _rows(project, declared, lake, spine, work=work, days=days)
    try:
        _define(project, declared, lake, table, spine=spine, rows=rows)
    except SchemaMismatch:
        # A column less, or of another type, or another key: no table of the lake becomes that. This one holds nothing
        # that the models' own tables do not have, so it is begun anew; killed from here on, it is made by the next run.
        days, rows = None, _rows(project, declared, lake, spine, work=work, days=None)
        lake.drop(table)
        _define(project, declared, lake, table, spine=spine, rows=rows)
    commit = lake.overwrite(table, rows, days=days, work=work)
    return CombinedPredictions(table, commit.version, rows.height, commit.changed)


def _work(project: Project, declared: BatchTable, lake: Lake, spine: FeatureTable, versions: dict[str, int]) -> Work:
    detail = {
        "declared": declared.model_dump(mode="json"),
        "columns": _columns(project, declared, spine),
        "predictions": versions,
        "features": _features_version(project, declared, lake),
    }
    key = fingerprint(detail)
    return Work(KIND, key, detail)


def _features_version(project: Project, declared: BatchTable, lake: Lake) -> int | None:
    """The newest version of the feature table that one of the predictions was made from."""
    if declared.features is None:
        return None
    name = project.table_name(declared.features)
    works = (lake.last_work(project.prediction_name(m), "predictions") for m in declared.models)
    read = [w.detail["tables"].get(str(name)) for w in works if w is not None]
    return max((v for v in read if v is not None), default=lake.version(name))


def _changed(project: Project, lake: Lake, table: TableName, spine: FeatureTable, work: Work) -> list[date] | None:
    """The days whose predictions changed since the last commit.

    None means all days: the declaration or the features changed.
    """
    last = lake.last_work(table, KIND) if lake.exists(table) else None
    if spine.time is None or last is None:
        return None
    if any(last.detail.get(part) != work.detail[part] for part in ("declared", "columns")):
        return None
    days: set[date] = set()
    for model, version in work.detail["predictions"].items():
        since = last.detail["predictions"][model]
        if version < since:  # the table was made anew
            return None
        days |= set(lake.changed_days(project.prediction_name(model), spine.time, since, version))
    return sorted(days)


def _rows(
    project: Project, declared: BatchTable, lake: Lake, spine: FeatureTable, *, work: Work, days: list[date] | None
) -> pl.DataFrame:
    key = list(spine.primary_key)
    parts = []
    for model, version in work.detail["predictions"].items():
        rows = _of_days(lake.scan(project.prediction_name(model), version=version), spine, days)
        parts.append(rows.select(*key, *_answers(declared, model)))
    joined = reduce(lambda a, b: a.join(b, on=key, how="full", coalesce=True), parts)
    stamped = joined.with_columns(
        *(_mean(members).alias(name) for name, members in declared.averages.items()),
        pl.max_horizontal(_moment(m) for m in declared.models).alias(declared.timestamp),
    )
    if declared.features is not None:
        beside = _beside(project, declared)
        features = lake.scan(project.table_name(declared.features), version=work.detail["features"])
        chosen = _of_days(features, spine, days).select(*key, *beside)
        stamped = stamped.join(chosen, on=key, how="left")
    return stamped.select(_columns(project, declared, spine)).sort(key).collect()


def _columns(project: Project, declared: BatchTable, spine: FeatureTable) -> list[str]:
    return [*spine.primary_key, *_beside(project, declared), *declared.own_columns]


def _beside(project: Project, declared: BatchTable) -> list[str]:
    """The features shown beside the predictions."""
    return [] if declared.features is None else [f.name for f in project.tables[declared.features].stored]


def _of_days(rows: pl.LazyFrame, spine: FeatureTable, days: list[date] | None) -> pl.LazyFrame:
    if days is None or spine.time is None:
        return rows
    return rows.filter(pl.col(spine.time).cast(pl.Date).is_in(days))


def _answers(declared: BatchTable, model: str) -> list[pl.Expr]:
    """The model's columns under their names in the batch table, and what says where they are from."""
    version, run = stamps_of(model)
    return [
        *(pl.col(source).alias(name) for name, (of, source) in declared.sources.items() if of == model),
        pl.col("model_version").alias(version),
        pl.col("run_id").alias(run),
        pl.col("scored_at").alias(_moment(model)),
    ]


def _moment(model: str) -> str:
    """The working column with the time of a model's predictions.

    It avoids MODEL_scored_at, which a declaration may use itself.
    """
    return f"karat_asked_{model}"


def _mean(columns: tuple[str, ...]) -> pl.Expr:
    """The mean of all columns; null if one is missing, since a mean of fewer is not comparable."""
    whole = pl.all_horizontal(pl.col(c).is_not_null() for c in columns)
    return pl.when(whole).then(pl.mean_horizontal(columns))


def _define(
    project: Project, declared: BatchTable, lake: Lake, table: TableName, *, spine: FeatureTable, rows: pl.DataFrame
) -> None:
    lake.create(
        table,
        rows.to_arrow().schema,
        primary_key=spine.primary_key,
        timeseries=spine.time,
        lag=timedelta(0),
        owner=project.spec.owner,
        description=declared.description,
        properties={"karat.models": ", ".join(declared.models)},
    )
