"""Labels: an SQL expression over gold rows, for every row of the spine whose horizon is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from operator import add

import duckdb
import polars as pl

from karat.clock import DAY
from karat.declare.base import format_duration
from karat.declare.declared_model import DeclaredModel
from karat.declare.feature_tables import FeatureTable, LabelWindow
from karat.declare.gold import GoldTable
from karat.declare.models import UNSUPERVISED, ModelSpec, step_name
from karat.errors import EmptyTrainingSet, KaratError, LabelNotFound, TableNotFound, UnusableLabel, did_you_mean
from karat.features.keys import order_of, sort_by_key
from karat.lake import Lake
from karat.names import TableName
from karat.quality import origin, valid_rows
from karat.sql import columns_read, connect, missing_column, plain_times, quote
from karat.training_sets.label_steps import label_steps, pack_struct
from karat.training_sets.shard_lake import EntityLake, block_count


@dataclass(frozen=True)
class LabelExtent:
    """How far gold reaches: what the labels of some entities need to know of the rows of all.

    Attributes:
        day: The last day that gold covers; None where the label has no window.
        moment: The time of its last event.
    """

    day: date | None = None
    moment: date | datetime | None = None


@dataclass(frozen=True)
class LabelCounts:
    """How many rows are left after each step of labelling; those of shards add up.

    Attributes:
        keys: Rows of the spine.
        mature: Those whose horizon is over.
        labelled: Those that have a label.
        times: The first and the last time of the spine; None without a time or rows.
        extent: How far gold reaches.
    """

    keys: int
    mature: int
    labelled: int
    times: tuple[date | datetime, date | datetime] | None
    extent: LabelExtent

    def __add__(self, other: LabelCounts) -> LabelCounts:
        """Counts of the rows of both."""
        both = [c.times for c in (self, other) if c.times is not None]
        times = (min(low for low, _ in both), max(high for _, high in both)) if both else None
        return LabelCounts(
            self.keys + other.keys,
            self.mature + other.mature,
            self.labelled + other.labelled,
            times,
            self.extent,
        )


def label_spine(model: DeclaredModel, lake: Lake) -> pl.DataFrame:
    """Return the keys of the model's spine and the label, for every row whose label is known, sorted by key.

    With a time, the row of day D aggregates the gold rows of the same entity in [D + offset, D + offset + horizon).
    Days whose horizon is not over by the last day of gold are left out. The row of an event has the label of that
    event's own gold row, or with a horizon that of the window (t + offset, t + offset + horizon]. It also has the
    columns by which other tables are looked up.

    A row without gold rows takes the label's default. A row whose label is null is left out, except for anomaly models
    and clusterings, whose label only serves evaluation. A value that is not a number (0 / 0) counts as null. A label of
    several parts is a struct of numbers, null where one part is null. Without a label the keys come alone.

    Many rows are labelled in blocks of entities: a sum of floats depends on the rows that stand beside, in its last
    bits, and blocks give shards the same labels.

    Args:
        model: The declared model.
        lake: The lake.

    Returns:
        Keys and label, ``(rows, keys + 1)``.

    Raises:
        TableNotFound: The label's gold table has no data.
        LabelNotFound: The label's expression does not bind to the gold table.
        EmptyTrainingSet: The spine is empty, or no row's horizon is over.
        UnusableLabel: Every label is null, or gold rows share a key.
    """
    if model.spec.label is not None:
        check_label(model)
    blocks = block_count(lake.count(model.spine_name)) if lake.exists(model.spine_name) else 1
    if blocks == 1:
        rows, counts = label_keys(model, lake)
        check_counts(model, counts)
        return rows
    extent, keys = label_extent(model, lake), label_tables(model)
    key_type = lake.scan(model.spine_name).collect_schema()[keys[model.spine_name]]
    entities = (EntityLake(lake.root, lake.environment, keys, key_type, n, blocks) for n in range(blocks))
    made = [label_keys(model, part, extent) for part in entities]
    check_counts(model, reduce(add, (counts for _, counts in made)))
    return pl.concat(rows for rows, _ in made if rows.height).sort(model.spine.primary_key)


def label_tables(model: DeclaredModel) -> dict[TableName, str]:
    """Return the tables that the labels of an entity are computed from, with the column of its first key."""
    key, label = model.spine.entity[0], model.spec.label
    gold = {model.project.gold_name(label.source): label.columns.get(key, key)} if label else {}
    return gold | {model.spine_name: key}


def label_keys(model: DeclaredModel, lake: Lake, extent: LabelExtent | None = None) -> tuple[pl.DataFrame, LabelCounts]:
    """Label the spine's keys that ``lake`` holds, which may be those of some entities; see ``label_spine``.

    Args:
        model: The declared model.
        lake: The lake.
        extent: How far all of gold reaches; by default as far as the gold rows of ``lake``.

    Returns:
        Keys and label, and how many rows each step has left. ``check_counts`` refuses what is empty.
    """
    spec, table = model.spec, model.spine
    columns = list(model.spine_columns)
    keys = sort_by_key(lake.read(model.spine_name, columns=columns).select(columns), table.primary_key)
    times = (keys[table.time].min(), keys[table.time].max()) if table.time and keys.height else None

    def counted(rows: pl.DataFrame, mature: int, end: LabelExtent) -> tuple[pl.DataFrame, LabelCounts]:
        return rows, LabelCounts(keys.height, mature, rows.height, times, end)  # type: ignore[arg-type]

    if spec.label is None or keys.is_empty():
        return counted(keys, keys.height, extent or LabelExtent())
    gold = model.project.gold[spec.label.source]
    rows = _gold_rows(model, gold, lake)
    if rows is None:  # real data have no oracle
        unknown = keys.with_columns(pl.lit(None, dtype=pl.Int64).alias(spec.labelled.name))
        return counted(unknown, keys.height, extent or LabelExtent())
    window = table.label_window(spec.labelled)
    if window is LabelWindow.OWN_ROW:
        labelled = _keyed_labels(spec, table, gold, keys, rows)
        return counted(_drop_unlabelled(spec, labelled), keys.height, extent or LabelExtent())
    rows = rows.sort(gold.key)  # so that the order of the files can't change a sum's last bits
    extent = extent or _gold_extent(model, gold, lake, rows.lazy())
    mature = keys.filter(pl.col(str(table.time)) <= _last_mature(spec, table, extent))
    if mature.is_empty():
        return counted(mature, 0, extent)
    label_rows = _forecast_labels if window is LabelWindow.MOMENT else _day_labels
    return counted(_drop_unlabelled(spec, label_rows(spec, table, gold, mature, rows)), mature.height, extent)


def check_counts(model: DeclaredModel, counts: LabelCounts) -> None:
    """Refuse a spine that labelling has left without rows.

    Raises:
        EmptyTrainingSet: The spine is empty, or no row's horizon is over.
        UnusableLabel: Every label is null.
    """
    spec, table = model.spec, model.spine
    if not counts.keys:
        raise EmptyTrainingSet(
            f"the feature table {table.name!r} has no rows",
            where=str(model.spine_name),
            remedy=f"compute the features: karat run {model.project.name}",
        )
    if not counts.mature and counts.times is not None:
        raise EmptyTrainingSet(
            f"no row of {table.name!r} has a label yet: no horizon of {format_duration(spec.horizon_end)} is over",
            where=f"rows of {counts.times[0]!s} to {counts.times[1]!s}; gold ends on {counts.extent.day}",
            remedy="shorten label.horizon, or wait for more days of gold",
        )
    if not counts.labelled and spec.task not in UNSUPERVISED:
        raise UnusableLabel(
            f"the label of {spec.name!r} is null in all {counts.mature} rows",
            where=f"label.expression {spec.labelled.written!r} over {spec.labelled.source!r}",
            remedy="correct the expression, or give label.default for rows without gold rows in the horizon",
        )


def label_extent(model: DeclaredModel, lake: Lake) -> LabelExtent:
    """Return how far gold reaches, if the label has a window.

    Raises:
        EmptyTrainingSet: Gold has no rows.
    """
    spec = model.spec
    windowed = spec.label is not None and model.spine.label_window(spec.label) is not LabelWindow.OWN_ROW
    if spec.label is None or not windowed:
        return LabelExtent()
    gold = model.project.gold[spec.label.source]
    name = model.project.gold_name(gold.name)
    if not lake.exists(name) or (gold.truth and spec.task in UNSUPERVISED and _stale_oracle(model, gold, lake)):
        return LabelExtent()
    rows, counts = lake.scan(name), valid_rows(gold)
    return _gold_extent(model, gold, lake, rows if counts is None else rows.filter(counts))


def gold_columns(model: DeclaredModel, gold: GoldTable) -> list[str]:
    """Return the columns that the label reads from its gold table, in the table's order."""
    spec, label = model.spec, model.spec.labelled
    read = columns_read([*(label.expressions.values() or [label.expression]), label.where], gold.columns)
    needed = {*read} | {*_gold_key(spec, model.spine)} | {gold.event_time, *gold.key}
    return [c for c in gold.columns if c in needed]


def _gold_extent(model: DeclaredModel, gold: GoldTable, lake: Lake, rows: pl.LazyFrame) -> LabelExtent:
    time = str(gold.event_time)
    latest = rows.select(pl.col(time).max()).collect(engine="streaming").item()
    return LabelExtent(_last_gold_day(model, gold, lake, latest), latest)


def _last_mature(spec: ModelSpec, table: FeatureTable, extent: LabelExtent) -> pl.Expr:
    """Return the last time of a row whose horizon is over."""
    assert extent.day is not None
    if table.label_window(spec.labelled) is LabelWindow.DAYS:
        whole_days = -(-spec.horizon_end // DAY)  # dates drop the hours that they are moved by
        return pl.lit(extent.day + DAY - whole_days * DAY)
    limit = extent.moment if table.row_span is None else extent.day + DAY
    return pl.lit(limit) - spec.horizon_end


def check_label(model: DeclaredModel) -> None:
    """Bind the label's expression to the contract of its gold table, without data.

    Raises:
        LabelNotFound: A column is missing, the expression does not bind, or it needs an aggregate.
    """
    spec, table = model.spec, model.spine
    gold = model.project.gold[spec.labelled.source]
    empty = pl.from_arrow(gold.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    entity = _gold_key(spec, table)
    for column in entity:
        if column not in gold.columns:
            raise LabelNotFound(
                f"the label is joined by {column!r}, and the gold table {gold.name!r} has no such column",
                where=f"model {spec.name!r}, label.columns",
                remedy=did_you_mean(column, gold.columns),
            )
    if table.time and gold.event_time is None:
        raise LabelNotFound(
            f"a label with a horizon needs an event time, and the gold table {gold.name!r} declares none",
            where=f"model {spec.name!r}, label.source",
            remedy="declare event_time in gold.py",
        )
    if spec.labelled.where:
        _check_binding(spec, gold, empty, f"SELECT ({spec.labelled.where}) FROM gold")
    query = _keyed_query(spec, gold, empty, entity)
    if table.row_span is not None and "GROUP BY" not in query:
        raise LabelNotFound(
            f"the label of {spec.name!r} is no aggregate, and its horizon may hold several rows of {gold.name!r}",
            where=f"label.expression {spec.labelled.written!r}",
            remedy="write an aggregate, such as sum(...) or max(...)",
        )


def _check_binding(spec: ModelSpec, gold: GoldTable, empty: pl.DataFrame, query: str) -> None:
    with connect() as connection:
        connection.register("gold", plain_times(empty))
        try:
            connection.sql(query)
        except duckdb.Error as error:
            raise _binding_error(spec, gold, error) from error


def _binding_error(spec: ModelSpec, gold: GoldTable, error: Exception) -> KaratError:
    unknown = missing_column(error)
    return LabelNotFound(
        f"the label of {spec.name!r} cannot be computed: {str(error).splitlines()[0]}",
        where=f"label.expression {spec.labelled.written!r} over gold table {gold.name!r}",
        remedy=did_you_mean(unknown, gold.columns) if unknown else "write it in DuckDB's SQL",
    )


def _gold_rows(model: DeclaredModel, gold: GoldTable, lake: Lake) -> pl.DataFrame | None:
    """Read the gold rows with the columns that the label names; None for an oracle table that has no data."""
    project, spec = model.project, model.spec
    name = project.gold_name(gold.name)
    if not lake.exists(name):
        if gold.truth and spec.task in UNSUPERVISED:
            return None
        raise TableNotFound(
            f"the label of {spec.name!r} comes from the gold table {gold.name!r}, which has no data",
            where=str(name),
            remedy=f"karat ingest {project.name} {gold.name} FILE, or karat sample {project.name}",
        )
    if gold.truth and spec.task in UNSUPERVISED and _stale_oracle(model, gold, lake):
        return None
    # Like features, labels ignore rows that break the contract.
    return lake.read(name, columns=gold_columns(model, gold), where=valid_rows(gold))


def _stale_oracle(model: DeclaredModel, oracle: GoldTable, lake: Lake) -> bool:
    """Whether real rows have replaced the sample whose oracle this is."""
    source = model.project.gold_name(model.spine.source)
    return origin(lake, model.project.gold_name(oracle.name)) == "sample" and origin(lake, source) == "ingest"


def _last_gold_day(model: DeclaredModel, gold: GoldTable, lake: Lake, latest: date | datetime | None) -> date:
    """Return the last day that gold covers; an oracle table lists planted rows alone, so the spine's gold decides."""
    project = model.project
    if gold.truth:
        source = project.gold[model.spine.source]
        column = model.spine.event_time or source.event_time
        assert column is not None
        latest = lake.scan(project.gold_name(source.name)).select(pl.col(column).max()).collect().item()
    if latest is None:
        raise EmptyTrainingSet(
            f"no row has a label: the gold table {gold.name!r} has no rows",
            where=str(project.gold_name(gold.name)),
            remedy=f"karat ingest {project.name} {gold.name} FILE, or karat sample {project.name}",
        )
    return latest.date() if isinstance(latest, datetime) else latest


def _day_labels(
    spec: ModelSpec, table: FeatureTable, gold: GoldTable, keys: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """Compute labels of days: copy each gold row to the days whose horizon holds it, then join; O(rows x horizon)."""
    assert spec.labelled.horizon is not None
    names = {c: spec.labelled.columns.get(c, c) for c in table.entity}
    spine = keys.select(
        pl.int_range(pl.len()).alias("__row"),
        pl.col(str(table.time)).alias("__day"),
        *(pl.col(c).alias(f"__key_{i}") for i, c in enumerate(table.entity)),
    )
    on = " AND ".join(f"e.{quote(names[c])} = s.__key_{i}" for i, c in enumerate(table.entity))
    query = f"""
        WITH kept AS (SELECT * FROM gold WHERE {spec.labelled.where or "true"}),
        dated AS (SELECT *, {quote(str(gold.event_time))}::TIMESTAMP AS __time FROM kept),
        bounded AS (SELECT * EXCLUDE (__time),
            (__time - INTERVAL '{_seconds(spec.labelled.offset + spec.labelled.horizon)} seconds')::DATE + 1 AS __from,
            (__time - INTERVAL '{_seconds(spec.labelled.offset)} seconds')::DATE AS __until FROM dated),
        e AS (SELECT * EXCLUDE (__from, __until),
            __from + unnest(range(0, (__until - __from + 1)::BIGINT))::INTEGER AS __day FROM bounded),
        labelled AS (SELECT s.__row, ({_label_sql(spec)}) AS __label
            FROM spine s JOIN e ON e.__day = s.__day AND {on} GROUP BY s.__row)
        SELECT s.__row, l.__label, l.__row IS NOT NULL AS __found
            FROM spine s LEFT JOIN labelled l USING (__row) ORDER BY 1
    """
    # One thread: several threads add floats in varying order, and the digest of equal data would differ.
    with connect(threads=1) as connection:
        connection.register("gold", plain_times(rows))
        connection.register("spine", spine)
        try:
            labels = connection.sql(query).pl()
        except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            raise _binding_error(spec, gold, error) from error
    return keys.with_columns(_fill_default(spec, labels))


def _gold_key(spec: ModelSpec, table: FeatureTable) -> list[str]:
    """Return the columns of the table's label key under the names that the label's gold table has."""
    return [spec.labelled.columns.get(c, c) for c in table.label_key(spec.labelled)]


def _keyed_labels(
    spec: ModelSpec, table: FeatureTable, gold: GoldTable, keys: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """Compute labels of keys without a time and of events: the one gold row's, or an aggregate over the key's rows."""
    key, entity = table.label_key(spec.labelled), _gold_key(spec, table)
    query = _keyed_query(spec, gold, rows.clear(), entity)
    if "GROUP BY" in query:
        rows = rows.sort(gold.key)  # so that the order of the files can't change a sum's last bits
    # One thread: several threads add floats in varying order, and the digest of equal data would differ.
    with connect(threads=1) as connection:
        connection.register("gold", plain_times(rows))
        try:
            found = connection.sql(query).pl()
        except duckdb.Error as error:
            raise _binding_error(spec, gold, error) from error
    times = [c for c in entity if isinstance(rows.schema[c], pl.Datetime)]
    found = found.with_columns(pl.col(times).dt.replace_time_zone("UTC"))
    order = order_of(keys.select(key), found.select(entity))
    if order is not None:  # each row has its own gold row: nothing to look for
        return keys.with_columns(_fill_default(spec, found.select("__label", "__found")[order]))
    found = sort_by_key(found, entity)
    if found.select(entity).rename(dict(zip(entity, key, strict=True))).equals(keys.select(key)):
        return keys.with_columns(_fill_default(spec, found))
    doubled = found.select(entity).is_duplicated().sum()
    if doubled:
        raise UnusableLabel(
            f"the label of {spec.name!r} is no aggregate, and {doubled} gold rows share their key with another",
            where=f"label.expression {spec.labelled.written!r}",
            remedy="write an aggregate, such as max(...)",
        )
    joined = keys.join(found, left_on=key, right_on=entity, how="left", maintain_order="left", coalesce=True)
    return keys.with_columns(_fill_default(spec, joined.with_columns(pl.col("__found").is_not_null())))


def _keyed_query(spec: ModelSpec, gold: GoldTable, empty: pl.DataFrame, entity: list[str]) -> str:
    """Return the query that binds: grouped by the key if the expression is an aggregate, else row by row."""
    columns = ", ".join(quote(c) for c in entity)
    base = f"SELECT {columns}, ({_label_sql(spec)}) AS __label, true AS __found FROM gold"
    base += f" WHERE {spec.labelled.where}" if spec.labelled.where else ""
    grouped = f"{base} GROUP BY {columns}"
    try:
        _check_binding(spec, gold, empty, grouped)
    except LabelNotFound as error:
        if "GROUP BY" not in error.what:
            raise
        _check_binding(spec, gold, empty, base)
        return base
    # An expression of key columns alone binds both ways; it is the same value either way.
    return grouped


def _fill_default(spec: ModelSpec, labels: pl.DataFrame) -> pl.Series:
    value = pl.col("__label")
    if spec.labelled.expressions:
        return _pack_parts(spec, labels)
    if spec.labelled.default is not None:
        value = pl.when(pl.col("__found")).then(value).otherwise(pl.lit(spec.labelled.default))
    series = labels.select(value.alias(spec.labelled.name)).to_series()
    if series.dtype.is_decimal() or isinstance(series.dtype, pl.Int128 | pl.Float32):
        series = series.cast(pl.Float64)  # DuckDB sums integers into HUGEINT, and MLflow knows no DECIMAL
    return series.fill_nan(None) if series.dtype.is_float() else series


def _pack_parts(spec: ModelSpec, labels: pl.DataFrame) -> pl.Series:
    """Return a multi-label's struct of 0 and 1."""
    default = spec.labelled.default
    parts = [pl.col("__label").struct.field(name).cast(pl.Float64) for name in spec.labelled.expressions]
    if default is not None:
        parts = [pl.when("__found").then(part).otherwise(pl.lit(default)) for part in parts]
    named = zip(parts, spec.labelled.expressions, strict=True)
    return pack_struct(labels.select(part.alias(name) for part, name in named), spec.labelled.name)


def _label_sql(spec: ModelSpec) -> str:
    """Return the label's SQL; several labels make a struct."""
    several = spec.labelled.expressions
    packed = ", ".join(f"{quote(name)} := ({sql})" for name, sql in several.items())
    return f"struct_pack({packed})" if several else spec.labelled.expression


def _forecast_labels(
    spec: ModelSpec, table: FeatureTable, gold: GoldTable, keys: pl.DataFrame, rows: pl.DataFrame
) -> pl.DataFrame:
    """Compute the steps of rows whose last window ends by the end of gold's last day, or by its last event."""
    named = zip(table.label_key(spec.labelled), _gold_key(spec, table), strict=True)
    spine = keys.select(pl.col(str(table.time)).alias("t"), *(pl.col(own).alias(theirs) for own, theirs in named))
    try:
        label = spec.labelled if spec.labelled.steps else spec.labelled.model_copy(update={"steps": 1})
        steps = label_steps(label, gold, rows, spine, start=table.label_start)
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        raise _binding_error(spec, gold, error) from error
    return keys.with_columns(steps if spec.labelled.steps else steps.struct.field(step_name(0)).alias(label.name))


def _drop_unlabelled(spec: ModelSpec, labelled: pl.DataFrame) -> pl.DataFrame:
    if spec.task in UNSUPERVISED:
        return labelled
    return labelled.filter(pl.col(spec.labelled.name).is_not_null())


def _seconds(value: timedelta) -> int:
    return int(value.total_seconds())
