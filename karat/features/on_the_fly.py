"""On-the-fly features: any feature as of any time, computed from gold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import polars as pl

from karat.clock import DAY
from karat.declare import EventFeatureTable, FeatureTable, GoldTable, Project
from karat.declare.checks import RowCheck
from karat.dtypes import POLARS
from karat.errors import TableNotFound
from karat.features.engine import between, compute_frame
from karat.features.keys import aligned
from karat.features.point_in_time import JoinResult, point_in_time_join
from karat.features.projection import narrowed
from karat.lake import Lake
from karat.names import TableName
from karat.quality.gold_check import valid_rows
from karat.quality.row_checks import quarantine_rules, split_rows
from karat.sql import one_thread

#: The column of the spine that holds the time asked for.
AT = "__at"
#: How much further back each look for an idle entity's last row goes than the one before.
_WIDEN = 4


def features_as_of(
    project: Project,
    table: str,
    lake: Lake,
    entities: pl.DataFrame,
    *,
    at: datetime,
    features: Sequence[str] | None = None,
) -> JoinResult:
    """``features`` (all by default) of every row of ``entities`` (the table's entity columns) as known at ``at``.

    Reads from gold the rows of these entities and of the days that the features look back on, and runs the engine on
    them: the value, the status and the age are those of an as-of join with a feature table computed to its end.
    ``at`` has a time zone. Raises FeatureNotFound with the nearest name, TableNotFound, LookupKeyMismatch.
    """
    declared, source = project.tables[table], project.gold[project.tables[table].source]
    chosen = list(features if features is not None else (f.name for f in declared.stored))
    asked = entities.select(
        aligned(entities[e], POLARS[source.columns[e].dtype], of=f"the key of {table!r}") for e in declared.entity
    )
    gold = _gold(project, declared, lake)
    with one_thread():
        rows = _known_rows(declared, gold, asked.drop_nulls().unique(), at, chosen)
    return point_in_time_join(
        asked.with_columns(pl.lit(at.astimezone(UTC), dtype=pl.Datetime("us", "UTC")).alias(AT)),
        rows,
        keys={e: e for e in declared.entity},
        time=(AT, declared.time) if declared.time else None,
        lag=declared.publication_lag,
        event_id=declared.event_id,
        columns=chosen,
    )


class _GoldSnapshot:
    """One version of a gold table, opened once: its rows that count, and its first and last day."""

    def __init__(self, lake: Lake, name: TableName, version: int, source: GoldTable, time: str | None) -> None:
        info = lake.info(name, version)
        rows = lake.scan(name, version, hidden=True)
        self.hidden, counts = info.hidden, valid_rows(source)
        self.rows = rows if counts is None else rows.filter(counts)
        self.source, self.time = source, time
        # The days are partitions where the event time is the table's own: other files are not opened then.
        self.day = info.day_column if time is not None and time == info.timeseries else None
        self.first, self.last = _extent(rows, time) if time else (None, None)

    def of(self, entities: pl.DataFrame, days: tuple[date, date] | None) -> pl.LazyFrame:
        rows = self.rows.filter(_among(entities))
        if days is not None and self.time is not None:
            times = between(self.time, self.rows.collect_schema()[self.time], *days)
            rows = rows.filter(pl.col(self.day).is_between(*days) if self.day else times)
        return rows.drop(self.hidden)


def _extent(rows: pl.LazyFrame, time: str) -> tuple[date | None, date | None]:
    column = pl.col(time)
    low, high = rows.select(column.min().dt.date().alias("l"), column.max().dt.date().alias("h")).collect().row(0)
    return low, high


@lru_cache(maxsize=64)
def _opened(
    root: Path, name: TableName, version: tuple[int, str], source: _ContractKey, time: str | None
) -> _GoldSnapshot:
    """``version`` is Delta's number and the table's own id: one that was made anew begins at 0 again."""
    return _GoldSnapshot(Lake(root), name, version[0], source.table, time)


class _ContractKey:
    """A declaration as a cache's key: two with the same contract are the same."""

    def __init__(self, table: GoldTable) -> None:
        self.table, self._key = table, table.model_dump_json()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ContractKey) and self._key == other._key


def _gold(project: Project, table: FeatureTable, lake: Lake) -> _GoldSnapshot:
    name, source = project.gold_name(table.source), project.gold[table.source]
    if not lake.exists(name):
        raise TableNotFound(
            f"there is no gold table {name}, which {table.name!r} reads",
            where=str(lake.root),
            remedy=f"make sample rows: karat sample {project.name}; or bring your own: karat ingest",
        )
    info = lake.info(name)
    return _opened(lake.root, name, (info.version, info.id), _ContractKey(source), table.gold_time(source))


def _among(entities: pl.DataFrame) -> pl.Expr:
    """The rows of these entities: a filter that Parquet's statistics can answer where there is one entity."""
    columns = entities.columns
    if entities.height == 1:
        return pl.all_horizontal(pl.col(c) == entities[c][0] for c in columns)
    if len(columns) == 1:
        return pl.col(columns[0]).is_in(entities[columns[0]].implode())
    return pl.struct(columns).is_in(entities.to_struct().implode())


def _known_rows(
    table: FeatureTable, gold: _GoldSnapshot, entities: pl.DataFrame, at: datetime, chosen: Sequence[str]
) -> pl.DataFrame:
    """Feature rows among which is the latest one known at ``at`` of every entity that has one."""
    source = gold.source
    # A row that a check of the table sets aside is not in it: nobody would find it there.
    aside = quarantine_rules(table.declared_checks)
    part_of = narrowed(table, [*chosen, *(c for check in aside for c in check.columns)])
    if table.time is None:
        return _kept(aside, compute_frame(part_of, gold.of(entities, None), source=source))
    found, pending = [], entities
    for cut, days in _stretches(table, part_of, gold, at):
        if pending.is_empty():
            break
        read = (days[0] - cut.day_lookback, days[1])
        rows = _kept(aside, compute_frame(cut, gold.of(pending, read), days, source=source))
        if isinstance(table, EventFeatureTable):  # events of the same day may lie after the time asked for
            rows = rows.filter(pl.col(table.time) <= at.astimezone(UTC))
        found.append(rows.select(*table.primary_key, *(f.name for f in part_of.stored)))
        pending = pending.join(rows, on=pending.columns, how="anti")
    if not found:
        return compute_frame(part_of, gold.rows.limit(0), (at.date(), at.date()), source=source)
    return pl.concat(found)


def _stretches(
    table: FeatureTable, part_of: FeatureTable, gold: _GoldSnapshot, at: datetime
) -> Iterator[tuple[FeatureTable, tuple[date, date]]]:
    """Days to look for a row in, the latest first, each with what is to be computed of them.

    The first is the last day that can be known. Where the table has rows of idle days too (``rows="window"``), that
    row stands as long as the table's widest window, which may be wider than those of the features asked for.
    """
    known = (at.astimezone(UTC) - table.publication_lag).date()
    if gold.first is None or gold.last is None or known < gold.first:
        return
    last, whole = min(known, gold.last), narrowed(table, [f.name for f in part_of.stored], whole_window=True)
    reach, floor = timedelta(0), gold.first
    if not table.fills_idle_days:
        last, reach = known, max(part_of.lookback, 7 * DAY)
    elif part_of.lookback:
        yield part_of, (last, last)
        reach = max(table.lookback, 7 * DAY)  # idle for as long as these features look back: likely for longer, too
    while True:
        first = max(last - reach, floor)
        yield whole if table.fills_idle_days else part_of, (first, last)
        if first <= floor:
            return
        last, reach = first - DAY, max(reach * _WIDEN, table.lookback, 7 * DAY)


def _kept(aside: list[RowCheck], rows: pl.DataFrame) -> pl.DataFrame:
    return split_rows(rows, aside)[0] if aside else rows
