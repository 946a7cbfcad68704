"""Feature engine: the pure function from gold rows to feature rows that every shard runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import polars as pl

from karat.clock import DAY, DAY_MICROSECONDS, EPOCH_DATE
from karat.declare import EventFeatureTable, Feature, FeatureTable, GoldTable
from karat.errors import ColumnMissing, DiskFull, did_you_mean, is_disk_full
from karat.features.aggregates import Aggregation
from karat.features.dense_windows import FUNCTIONS, DayGrid, DayWindow
from karat.features.derived_features import derive
from karat.features.event_windows import PLACE, TIME, EventQuery
from karat.features.expressions import ExpressionPlace, Relation, gold_columns, typed_value
from karat.features.schema import to_declared
from karat.features.windows import (
    DAY_NUMBER,
    DailyQuery,
    UnchangedOutput,
    finish,
    render,
    render_outputs,
    render_tiles,
    render_windows,
    unchanged_outputs,
)
from karat.lake.sort_order import is_strictly_increasing
from karat.sql import connect, plain_times, why

#: Rows that are put together at a time: few enough for the processor's caches, many enough for a call's cost.
_ROWS = 1 << 14

#: The first and the last day to compute, both included.
Days = tuple[date, date]


def compute_frame(
    table: FeatureTable, gold: pl.DataFrame | pl.LazyFrame, days: Days | None = None, *, source: GoldTable | None = None
) -> pl.DataFrame:
    """Compute the feature rows of some days from gold rows.

    Values that are not finite count as missing; rows without an entity, a time or an event id make no feature row.

    Args:
        table: The feature table.
        gold: At least the gold rows of the days and of the lookback before them; others are ignored.
        days: The first and the last day; by default those of ``gold``.
        source: The gold table's declaration: its event time, if the table names none, and its key, which decides first
            and last among rows of one time.

    Returns:
        The rows, sorted by key, in the declared schema.

    Raises:
        ColumnMissing: Gold lacks a column.
        DeclarationError: An expression is wrong; raised before any row is aggregated.
    """
    frames = list(compute_frames(table, gold, days, source=source))
    return frames[0] if len(frames) == 1 else pl.concat(frames).sort(table.primary_key)


def compute_frames(
    table: FeatureTable, gold: pl.DataFrame | pl.LazyFrame, days: Days | None = None, *, source: GoldTable | None = None
) -> Iterator[pl.DataFrame]:
    """Compute the rows of ``compute_frame`` in one or more frames, so that each can be released before the next.

    Yields:
        Frames of whole days (of very many entities: of some entities), each sorted by key.

    Raises:
        ColumnMissing: Gold lacks a column.
        DeclarationError: An expression is wrong.
    """
    rows = _gold_rows(table, gold.lazy(), days, source)
    order = tuple(c for c in _order(table, source) if c in rows.columns)
    if table.time and days is None:
        days = _extent(rows)
    keys = {k: rows.schema[k] for k in table.primary_key if k != table.time}
    with connect() as connection:
        connection.register("gold", plain_times(rows))
        query = _query(Relation(connection, "gold", rows.schema), table, order)
        for frame in _aggregated(connection, query, *_numbers(days)):
            yield _in_schema(connection, table, frame, keys)


def _rows(
    connection: duckdb.DuckDBPyConnection, query: DailyQuery | EventQuery, first: int, last: int
) -> Iterator[pl.DataFrame]:
    """Compute keys, day and aggregates: sums, minima and maxima as arrays if days are dense, everything else in SQL."""
    arrays = (
        {}
        if isinstance(query, EventQuery)
        else {o: n for o, n in query.tile_windows.items() if o.function in FUNCTIONS}
    )
    if not arrays or isinstance(query, EventQuery):
        yield connection.sql(_sql(query, first, last)).pl()
        return
    tiles = connection.sql(render_tiles(query, "gold", first, last, left=arrays)).pl()
    windows = [DayWindow(o.function, o.tile, o.days, name) for o, name in arrays.items()]
    grid = DayGrid.of(tiles, query.table.entity, DAY_NUMBER)
    if not grid.suits(windows):
        yield _sql_over(connection, tiles, finish(query, f"({render_windows(query, 'tiles', arrays)})", first, last))
        return
    straight = unchanged_outputs(query)
    (sql, read), empty = render_outputs(query, "tiles", left=straight), True
    for part in grid.windowed(windows, first=first, height=_ROWS):
        chosen = [_as_it_stands(part[p.column], p).alias(name) for name, p in straight.items()]
        rows = part.select(*query.table.entity, DAY_NUMBER, *chosen)
        yield rows.hstack(_sql_over(connection, part.select(read), sql)) if sql else rows
        empty = False
    if empty:
        none = tiles.with_columns(pl.lit(None).alias(w.name) for w in windows)
        yield _sql_over(connection, none, finish(query, "tiles", first, last))


def _as_it_stands(column: pl.Series, feature: UnchangedOutput) -> pl.Series:
    return column.fill_null(0) if feature.zero and column.null_count() else column


def _sql_over(connection: duckdb.DuckDBPyConnection, tiles: pl.DataFrame, sql: str) -> pl.DataFrame:
    connection.register("tiles", tiles)
    try:
        made: pl.DataFrame = connection.sql(sql).pl()
        return made
    finally:
        connection.unregister("tiles")


def _sql(query: DailyQuery | EventQuery, first: int, last: int) -> str:
    """``first`` and ``last`` are days since 1970, both included."""
    if isinstance(query, EventQuery):
        return query.render("gold", first * DAY_MICROSECONDS, (last + 1) * DAY_MICROSECONDS)
    return render(query, "gold", first, last)


def _aggregated(
    connection: duckdb.DuckDBPyConnection, query: DailyQuery | EventQuery, first: int, last: int
) -> Iterator[pl.DataFrame]:
    try:
        yield from _rows(connection, query, first, last)
    except duckdb.Error as error:
        if is_disk_full(error):
            raise DiskFull(
                "no space is left for what feature computation spills",
                where=f"feature table {query.table.name!r}",
                remedy="free some space in the temporary folder, or set TMPDIR to a larger one",
            ) from error
        place = ExpressionPlace(query.table.name, _culprit(connection, query, first, last))
        raise place.error(why(error), remedy="mend the expression, or declare the type that it has") from error


def _culprit(
    connection: duckdb.DuckDBPyConnection, query: DailyQuery | EventQuery, first: int, last: int
) -> str | None:
    """The first feature that fails alone as well."""
    for name in query.outputs:
        try:
            for _ in _rows(connection, query.only(name), first, last):
                pass
        except duckdb.Error:
            return name
    return None


def _order(table: FeatureTable, source: GoldTable | None) -> tuple[str, ...]:
    """Event time, then the gold key: what comes first and last among an entity's rows."""
    time = table.gold_time(source) or (source.event_time if source else None)
    return tuple(dict.fromkeys([*([time] if time else []), *(source.key if source else ())]))


def _gold_rows(table: FeatureTable, gold: pl.LazyFrame, days: Days | None, source: GoldTable | None) -> pl.DataFrame:
    """The columns and days that the table reads, each row with its day as a whole number."""
    available = gold.collect_schema()
    time, ordered = table.gold_time(source), any(f.function in ("first", "last") for f in table.features)
    order = [c for c in _order(table, source) if c in available] if ordered else []
    own = [*([time] if time else []), *([table.event_id] if table.event_id else [])]
    for column in (*table.entity, *own):
        if column not in available:
            raise ColumnMissing(
                f"gold has no column {column!r}",
                where=f"feature table {table.name!r}, source {table.source!r}",
                remedy=did_you_mean(column, available),
            )
    wanted = dict.fromkeys([*gold_columns(table, list(available)), *order, *own])
    read = [_finite(c) if available[c].is_float() else pl.col(c) for c in wanted]
    if time is None:
        return gold.select(read).collect(engine="streaming")
    if days is not None:
        gold = gold.filter(between(time, available[time], days[0] - table.day_lookback, days[1]))
    day = _utc_date(time, available[time]).cast(pl.Int32).alias(DAY_NUMBER)
    rows = gold.select(*read, day).filter(pl.col(DAY_NUMBER).is_not_null())
    if isinstance(table, EventFeatureTable):
        return _placed(rows, available[time], table, order)
    return rows.collect(engine="streaming")


def _placed(rows: pl.LazyFrame, dtype: pl.DataType, table: EventFeatureTable, order: list[str]) -> pl.DataFrame:
    """Add the time in microseconds and, if ``order`` is given, the place by time and gold key."""
    moment = _utc(table.time, dtype).dt.epoch("us").alias(TIME)
    events = rows.filter(pl.col(table.event_id).is_not_null()).with_columns(moment)
    by = list(dict.fromkeys([table.time, *order, table.event_id])) if order else []
    return (events.sort(by) if by else events).with_row_index(PLACE).collect(engine="streaming")


def between(column: str, dtype: pl.DataType, first: date, last: date) -> pl.Expr:
    """Filter the UTC days ``first`` to ``last`` by bounds on the column itself, which file statistics can answer."""
    if dtype == pl.Date:
        return pl.col(column).is_between(pl.lit(first), pl.lit(last))
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    low, high = (pl.lit(d).cast(pl.Datetime("us")).dt.replace_time_zone(zone and "UTC") for d in (first, last + DAY))
    if zone and zone != "UTC":
        low, high = low.dt.convert_time_zone(zone), high.dt.convert_time_zone(zone)
    return (pl.col(column) >= low) & (pl.col(column) < high)


def _finite(column: str) -> pl.Expr:
    """NaN and infinity are missing, in conditions too: DuckDB takes NaN for greater than any number."""
    return pl.when(pl.col(column).is_finite()).then(pl.col(column)).alias(column)


def _utc_date(column: str, dtype: pl.DataType) -> pl.Expr:
    return _utc(column, dtype).dt.date()


def _utc(column: str, dtype: pl.DataType) -> pl.Expr:
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone
    return pl.col(column).dt.convert_time_zone("UTC") if zoned else pl.col(column)


def _extent(rows: pl.DataFrame) -> Days | None:
    if rows.is_empty():
        return None
    low, high = rows.select(pl.col(DAY_NUMBER).min().alias("low"), pl.col(DAY_NUMBER).max().alias("high")).row(0)
    return EPOCH_DATE + timedelta(days=low), EPOCH_DATE + timedelta(days=high)


def _numbers(days: Days | None) -> tuple[int, int]:
    return ((days[0] - EPOCH_DATE).days, (days[1] - EPOCH_DATE).days) if days else (0, -1)


def _query(gold: Relation, table: FeatureTable, order: tuple[str, ...]) -> DailyQuery | EventQuery:
    """Checks every declared expression over gold, then puts them into one query."""
    if table.where:
        gold.check(table.where, ExpressionPlace(table.name))
    declared = [f for f in table.features if f.function is not None or f.event is not None]
    gold.bind_together(sql for f in declared for sql in (f.where, f.column, f.event) if sql)
    query = EventQuery(table) if isinstance(table, EventFeatureTable) else DailyQuery(table, order)
    for feature in table.features:
        if feature.function is not None:
            query.add(_aggregation(gold, feature, ExpressionPlace(table.name, feature.name)))
        elif feature.event is not None and isinstance(query, EventQuery):
            dtype = gold.check(feature.event, ExpressionPlace(table.name, feature.name))
            query.own(feature, typed_value(feature.event, dtype))
    return query


def _aggregation(gold: Relation, feature: Feature, place: ExpressionPlace) -> Aggregation:
    if feature.where:
        gold.check(feature.where, place)
    value, dtype = None, None
    if feature.column is not None:
        dtype = gold.check(feature.column, place)
        value = typed_value(feature.column, dtype)
    elif feature.function != "count":
        raise place.error(f"{feature.function} needs a column", remedy="name the gold column to aggregate")
    return Aggregation(feature, value, dtype)


def _in_schema(
    connection: duckdb.DuckDBPyConnection, table: FeatureTable, frame: pl.DataFrame, keys: dict[str, pl.DataType]
) -> pl.DataFrame:
    """Days as dates, every feature in its declared type, derived columns added, intermediate ones dropped."""
    columns = [_key(frame[k], dtype) for k, dtype in keys.items()]
    if isinstance(table, EventFeatureTable):
        columns.append(frame[TIME].cast(pl.Datetime("us", "UTC")).alias(table.time))
    elif table.time:
        columns.append(frame[DAY_NUMBER].cast(pl.Int32).cast(pl.Date).alias(table.time))
    for feature in table.features:
        if not feature.derived:
            columns.append(to_declared(frame[feature.name], feature.dtype, ExpressionPlace(table.name, feature.name)))
    rows = pl.DataFrame(columns)
    if not is_strictly_increasing(rows, table.primary_key):
        rows = rows.sort(table.primary_key)
    full = derive(connection, table, rows)
    return full.select(*table.primary_key, *(f.name for f in table.stored))


def _key(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """A key as it is in gold; DuckDB saw its timestamps without their zone."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return column.cast(dtype)
