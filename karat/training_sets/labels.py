"""Labels: an SQL expression over gold rows, for every row of the spine whose horizon is over."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

import duckdb
import polars as pl

from karat.declare.base import DAY, format_duration
from karat.declare.features import FeatureTable
from karat.declare.gold import GoldTable
from karat.declare.models import UNSUPERVISED, ModelSpec, step_name
from karat.declare.project import Project
from karat.errors import EmptyTrainingSet, KaratError, LabelNotFound, TableNotFound, UnusableLabel, did_you_mean
from karat.features.connection import connect, plain_times, quote
from karat.lake import Lake
from karat.quality import kept, origin
from karat.training_sets.label_steps import steps_of, whole


def label_spine(project: Project, spec: ModelSpec, lake: Lake) -> pl.DataFrame:
    """The keys of ``spec.spine_table`` and the label: every row of that table whose label is known, sorted by key.

    With a time, the row of day D aggregates the gold rows of the same entity in [D + offset, D + offset + horizon);
    days whose horizon is not over by the last day of gold are left out. A row of an event has the label of that event's
    own gold row, or with a horizon that of the window (t + offset, t + offset + horizon], and brings the columns too by
    which other tables are looked up. A row without gold rows takes the label's default; a row whose label is null is
    left out (an anomaly model and a clustering keep it: their label only serves evaluation). What is not a number
    (0 / 0) is null. A label of several parts is a struct of numbers, null where one of them is. Without a label there
    are the keys alone.
    Raises TableNotFound, LabelNotFound for an expression that does not bind, EmptyTrainingSet and UnusableLabel.
    """
    table = project.tables[spec.spine_table]
    if spec.label is not None:
        check_label(project, spec)
    columns = list(project.spine_columns(spec))
    keys = lake.read(project.table_name(table.name), columns=columns).select(columns).sort(table.primary_key)
    if keys.is_empty():
        raise EmptyTrainingSet(
            f"the feature table {table.name!r} has no rows",
            where=str(project.table_name(table.name)),
            remedy=f"compute the features: karat run {project.name}",
        )
    if spec.label is None:
        return keys
    gold = project.gold[spec.label.source]
    rows = _gold_rows(project, spec, gold, lake)
    if rows is None:  # the planted truth of a sample, which real data don't have
        return keys.with_columns(pl.lit(None, dtype=pl.Int64).alias(spec.labelled.name))
    if table.time is not None and _after_event(spec, table):
        return _kept(spec, _forecast(project, spec, table, gold, lake, keys=keys, rows=rows))
    if table.time is None or table.by_event:
        return _kept(spec, _static(spec, table, gold, keys, rows))
    end = _last_day(project, table, gold, lake, rows)
    whole_days = -(-spec.horizon_end // DAY)  # dates drop the hours that they are moved by
    mature = keys.filter(pl.col(table.time) <= end + DAY - whole_days * DAY)
    if mature.is_empty():
        raise _not_over(spec, table, keys, end)
    return _kept(spec, _timed(spec, table, gold, mature, rows))


def _not_over(spec: ModelSpec, table: FeatureTable, keys: pl.DataFrame, end: date) -> EmptyTrainingSet:
    times = keys[str(table.time)]
    return EmptyTrainingSet(
        f"no row of {table.name!r} has a label yet: its horizon of {format_duration(spec.horizon_end)} is not over",
        where=f"rows of {times.min()!s} to {times.max()!s}; gold ends on {end}",
        remedy="shorten label.horizon, or wait for more days of gold",
    )


def check_label(project: Project, spec: ModelSpec) -> None:
    """Binds the label's expression to the contract of its gold table, without data. Raises LabelNotFound."""
    gold = project.gold[spec.labelled.source]
    empty = pl.from_arrow(gold.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    entity = _joined_by(spec, project.tables[spec.spine_table])
    for column in entity:
        if column not in gold.columns:
            raise LabelNotFound(
                f"gold table {gold.name!r} has no column {column!r}, by which the label is joined",
                where=f"model {spec.name!r}, label.columns",
                remedy=did_you_mean(column, gold.columns),
            )
    if project.tables[spec.spine_table].time and gold.event_time is None:
        raise LabelNotFound(
            f"gold table {gold.name!r} declares no event_time, so no horizon can be counted",
            where=f"model {spec.name!r}, label.source",
            remedy="declare event_time in gold.py",
        )
    if spec.labelled.where:
        _bind(spec, gold, empty, f"SELECT ({spec.labelled.where}) FROM gold")
    query = _static_query(spec, gold, empty, entity)
    table = project.tables[spec.spine_table]
    if table.time and not table.by_event and "GROUP BY" not in query:
        raise LabelNotFound(
            f"the label of {spec.name!r} is of a single row, and there may be several of {gold.name!r} in its horizon",
            where=f"label.expression {spec.labelled.written!r}",
            remedy="write an aggregate, such as sum(...) or max(...)",
        )


def _bind(spec: ModelSpec, gold: GoldTable, empty: pl.DataFrame, query: str) -> None:
    with connect() as connection:
        connection.register("gold", plain_times(empty))
        try:
            connection.sql(query)
        except duckdb.Error as error:
            raise _unbound(spec, gold, error) from error


def _unbound(spec: ModelSpec, gold: GoldTable, error: Exception) -> KaratError:
    unknown = re.search(r'column "([^"]+)" not found', str(error))
    return LabelNotFound(
        f"the label of {spec.name!r} cannot be computed: {str(error).splitlines()[0]}",
        where=f"label.expression {spec.labelled.written!r} over gold table {gold.name!r}",
        remedy=did_you_mean(unknown[1], gold.columns) if unknown else "write it as DuckDB reads it",
    )


def _gold_rows(project: Project, spec: ModelSpec, gold: GoldTable, lake: Lake) -> pl.DataFrame | None:
    """The gold rows with those columns that the label names; None for a truth table that is not there."""
    name = project.gold_name(gold.name)
    if not lake.exists(name):
        if gold.truth and spec.task in UNSUPERVISED:
            return None
        raise TableNotFound(
            f"gold table {gold.name!r}, from which the label of {spec.name!r} comes, has no data",
            where=str(name),
            remedy=f"karat ingest {project.name} {gold.name} FILE, or karat sample {project.name}",
        )
    if gold.truth and spec.task in UNSUPERVISED and _stale_truth(project, spec, gold, lake):
        return None
    words = set(re.findall(r"\w+", f"{spec.labelled.written} {spec.labelled.where or ''}"))
    needed = words | {*_joined_by(spec, project.tables[spec.spine_table])} | {gold.event_time, *gold.key}
    # As for features, rows that break the contract do not count.
    rows = lake.read(name, columns=[c for c in gold.columns if c in needed], where=kept(gold))
    return rows.sort(gold.key)  # the order of the files says nothing, and must not show in a sum's last bits


def _stale_truth(project: Project, spec: ModelSpec, truth: GoldTable, lake: Lake) -> bool:
    """A sample's truth says nothing about the real rows that have replaced the sample."""
    source = project.gold_name(project.tables[spec.spine_table].source)
    return origin(lake, project.gold_name(truth.name)) == "sample" and origin(lake, source) == "ingest"


def _last_day(project: Project, table: FeatureTable, gold: GoldTable, lake: Lake, rows: pl.DataFrame) -> date:
    """The last day that gold covers. A truth table lists only what was planted, so the spine's own gold decides."""
    if gold.truth:
        source = project.gold[table.source]
        column = table.event_time or source.event_time
        assert column is not None
        days = lake.scan(project.gold_name(source.name)).select(pl.col(column).max()).collect().to_series()
    else:
        days = rows.select(pl.col(str(gold.event_time)).max()).to_series()
    last = days.cast(pl.Date).item()
    if last is None:
        raise EmptyTrainingSet(
            f"gold table {gold.name!r} has no rows, so no row has a label",
            where=str(project.gold_name(gold.name)),
            remedy=f"karat ingest {project.name} {gold.name} FILE, or karat sample {project.name}",
        )
    assert isinstance(last, date)
    return last


def _timed(
    spec: ModelSpec, table: FeatureTable, gold: GoldTable, keys: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """Each gold row is copied to the days whose horizon holds it; then an equal join, linear in rows x horizon."""
    assert spec.labelled.horizon is not None
    names = {c: spec.labelled.columns.get(c, c) for c in table.entity}
    spine = keys.select(
        pl.int_range(pl.len()).alias("_row"),
        pl.col(str(table.time)).alias("_day"),
        *(pl.col(c).alias(f"_key_{i}") for i, c in enumerate(table.entity)),
    )
    on = " AND ".join(f"e.{quote(names[c])} = s._key_{i}" for i, c in enumerate(table.entity))
    query = f"""
        WITH kept AS (SELECT * FROM gold WHERE {spec.labelled.where or "true"}),
        dated AS (SELECT *, {quote(str(gold.event_time))}::TIMESTAMP AS _time FROM kept),
        bounded AS (SELECT * EXCLUDE (_time),
            ((_time - INTERVAL '{_seconds(spec.labelled.offset + spec.labelled.horizon)} seconds')::DATE + 1) AS _from,
            (_time - INTERVAL '{_seconds(spec.labelled.offset)} seconds')::DATE AS _until FROM dated),
        e AS (SELECT * EXCLUDE (_from, _until),
            _from + unnest(range(0, (_until - _from + 1)::BIGINT))::INTEGER AS _day FROM bounded),
        labelled AS (SELECT s._row, ({_sql(spec)}) AS _label
            FROM spine s JOIN e ON e._day = s._day AND {on} GROUP BY s._row)
        SELECT s._row, l._label, l._row IS NOT NULL AS _found FROM spine s LEFT JOIN labelled l USING (_row) ORDER BY 1
    """
    # One thread: several add floats up in another order each time, and the digest of the same data would differ.
    with connect(threads=1) as connection:
        connection.register("gold", plain_times(rows))
        connection.register("spine", spine)
        try:
            labels = connection.sql(query).pl()
        except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            raise _unbound(spec, gold, error) from error
    return keys.with_columns(_defaulted(spec, labels))


def _own_key(spec: ModelSpec, table: FeatureTable) -> list[str]:
    """By what a row finds its label: by its entity, an event by its whole key; what comes after an event by its
    entity."""
    whole_key = table.by_event and not _after_event(spec, table)
    return list(table.primary_key if whole_key else table.entity)


def _after_event(spec: ModelSpec, table: FeatureTable) -> bool:
    """Whether the label is of windows that are counted from the row's own moment: a forecast's, and the one window of a
    label with a horizon after an event."""
    return spec.labelled.steps is not None or (table.by_event and spec.labelled.horizon is not None)


def _joined_by(spec: ModelSpec, table: FeatureTable) -> list[str]:
    """The same columns as the label's gold table names them."""
    return [spec.labelled.columns.get(c, c) for c in _own_key(spec, table)]


def _static(
    spec: ModelSpec, table: FeatureTable, gold: GoldTable, keys: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """The label of a key without a time, or of an event: of its one gold row, or an aggregate over its rows."""
    key, entity = _own_key(spec, table), _joined_by(spec, table)
    query = _static_query(spec, gold, rows.clear(), entity)
    # One thread: several add floats up in another order each time, and the digest of the same data would differ.
    with connect(threads=1) as connection:
        connection.register("gold", plain_times(rows))
        try:
            found = connection.sql(query).pl()
        except duckdb.Error as error:
            raise _unbound(spec, gold, error) from error
    times = [c for c in entity if isinstance(rows.schema[c], pl.Datetime)]
    found = found.with_columns(pl.col(times).dt.replace_time_zone("UTC"))
    doubled = found.select(entity).is_duplicated().sum()
    if doubled:
        raise UnusableLabel(
            f"{doubled} gold rows share their key with another, and the label of {spec.name!r} is no aggregate",
            where=f"label.expression {spec.labelled.written!r}",
            remedy="write an aggregate, such as max(...)",
        )
    joined = keys.join(found, left_on=key, right_on=entity, how="left", maintain_order="left", coalesce=True)
    return keys.with_columns(_defaulted(spec, joined.with_columns(pl.col("_found").is_not_null())))


def _static_query(spec: ModelSpec, gold: GoldTable, empty: pl.DataFrame, entity: list[str]) -> str:
    """The query that binds: grouped by the key if the expression is an aggregate, row by row if not."""
    columns = ", ".join(quote(c) for c in entity)
    base = f"SELECT {columns}, ({_sql(spec)}) AS _label, true AS _found FROM gold"
    base += f" WHERE {spec.labelled.where}" if spec.labelled.where else ""
    grouped = f"{base} GROUP BY {columns}"
    try:
        _bind(spec, gold, empty, grouped)
    except LabelNotFound as error:
        if "GROUP BY" not in error.what:
            raise
        _bind(spec, gold, empty, base)
        return base
    # An expression of key columns alone binds both ways; it is the same value either way.
    return grouped


def _defaulted(spec: ModelSpec, labels: pl.DataFrame) -> pl.Series:
    value = pl.col("_label")
    if spec.labelled.expressions:
        return _parts(spec, labels)
    if spec.labelled.default is not None:
        value = pl.when(pl.col("_found")).then(value).otherwise(pl.lit(spec.labelled.default))
    series = labels.select(value.alias(spec.labelled.name)).to_series()
    if series.dtype.is_decimal() or isinstance(series.dtype, pl.Int128 | pl.Float32):
        series = series.cast(pl.Float64)  # DuckDB sums integers into HUGEINT, and MLflow knows no DECIMAL
    return series.fill_nan(None) if series.dtype.is_float() else series


def _parts(spec: ModelSpec, labels: pl.DataFrame) -> pl.Series:
    """A multi-label's struct of 0 and 1."""
    default = spec.labelled.default
    parts = [pl.col("_label").struct.field(name).cast(pl.Float64) for name in spec.labelled.expressions]
    if default is not None:
        parts = [pl.when("_found").then(part).otherwise(pl.lit(default)) for part in parts]
    named = zip(parts, spec.labelled.expressions, strict=True)
    return whole(labels.select(part.alias(name) for part, name in named), spec.labelled.name)


def _sql(spec: ModelSpec) -> str:
    """The label's SQL; that of several labels makes a struct."""
    several = spec.labelled.expressions
    packed = ", ".join(f"{quote(name)} := ({sql})" for name, sql in several.items())
    return f"struct_pack({packed})" if several else spec.labelled.expression


def _forecast(
    project: Project,
    spec: ModelSpec,
    table: FeatureTable,
    gold: GoldTable,
    lake: Lake,
    *,
    keys: pl.DataFrame,
    rows: pl.DataFrame,
) -> pl.DataFrame:
    """The steps of every row whose last window is over: by the end of gold's last day, or of its last event."""
    time, end = str(table.time), _last_day(project, table, gold, lake, rows)
    limit: date | datetime = end + DAY
    if table.by_event:
        limit = rows[str(gold.event_time)].max()  # type: ignore[assignment]
    mature = keys.filter(pl.col(time) <= pl.lit(limit) - spec.horizon_end)
    if mature.is_empty():
        raise _not_over(spec, table, keys, end)
    named = zip(_own_key(spec, table), _joined_by(spec, table), strict=True)
    spine = mature.select(pl.col(time).alias("t"), *(pl.col(own).alias(theirs) for own, theirs in named))
    try:
        label = spec.labelled if spec.labelled.steps else spec.labelled.model_copy(update={"steps": 1})
        steps = steps_of(label, gold, rows, spine, by_event=table.by_event)
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        raise _unbound(spec, gold, error) from error
    return mature.with_columns(steps if spec.labelled.steps else steps.struct.field(step_name(0)).alias(label.name))


def _kept(spec: ModelSpec, labelled: pl.DataFrame) -> pl.DataFrame:
    if spec.task in UNSUPERVISED:
        return labelled
    kept = labelled.filter(pl.col(spec.labelled.name).is_not_null())
    if kept.is_empty():
        raise UnusableLabel(
            f"the label of {spec.name!r} is null in all {labelled.height} rows",
            where=f"label.expression {spec.labelled.written!r} over {spec.labelled.source!r}",
            remedy="mend the expression, or give label.default for rows without gold rows in the horizon",
        )
    return kept


def _seconds(value: timedelta) -> int:
    return int(value.total_seconds())
