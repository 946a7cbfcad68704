"""Shard of a feature table: the entities of one hash value, computed and staged by any worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from karat.declare import FeatureTable, GoldTable, load_project
from karat.errors import CodeMismatch
from karat.features.engine import Days, between, compute_frames
from karat.features.quality_gate import ShardResult, aside_name, discard, joined, stage_checked
from karat.lake import Lake, StagedFile
from karat.names import TableName
from karat.quality.gold_check import valid_rows
from karat.settings import Settings


@dataclass(frozen=True)
class Shard:
    """References only: the worker reads the declaration and the rows itself.

    ``stretches`` are the (first, last) days that are read and computed together, ``days`` those of them that are to be
    written; both None for a table without time. Where ``entities`` are given, only their rows are computed, and those
    of all others on these days are kept as they stand.
    """

    project: str
    projects: Path
    environment: str
    lake: Path
    table: str
    gold_version: int
    definition: str
    number: int
    of: int
    stretches: tuple[Days, ...] | None
    days: frozenset[date] | None
    probe: int
    entities: pl.DataFrame | None = field(default=None, compare=False)


def hash_probe() -> int:
    """A fixed key's hash: where it differs between two processes, they would cut the shards differently."""
    key = pl.lit("karat").alias("k")
    alone, together = pl.select(_hash(key).alias("alone"), _hash(key, pl.lit(1)).alias("together")).row(0)
    return int(alone ^ together)


def _hash(*keys: pl.Expr) -> pl.Expr:
    # Of every gold row in every shard: a column alone is hashed in half the time of a struct of it.
    return keys[0].hash(seed=0) if len(keys) == 1 else pl.struct(*keys).hash(seed=0)


def entity_hash(table: FeatureTable) -> pl.Expr:
    """What decides in which shard an entity is; of gold rows."""
    return _hash(*(pl.col(e) for e in table.entity))


def compute_shard(shard: Shard) -> ShardResult:
    """Compute a shard's feature rows, check them and stage them in the table's folder; nothing is visible yet.

    Raises:
        CodeMismatch: This process has another declaration, or another hash, than the one that sent the shard.
    """
    settings = Settings(projects=shard.projects, environment=shard.environment)
    project = load_project(shard.project, settings)
    table = project.tables.get(shard.table)
    if table is None or table.definition_hash != shard.definition or hash_probe() != shard.probe:
        raise CodeMismatch(
            f"a worker has another {shard.table!r} than the process that started it",
            where=str(shard.projects / shard.project),
            remedy="bring every node to the same commit and the same versions, then run again",
        )
    lake, source = Lake(shard.lake, shard.environment), project.gold[table.source]
    name, gold = project.table_name(table.name), project.gold_name(table.source)
    label = f"features-{shard.number}"
    parts: list[ShardResult] = []
    try:
        for days in shard.stretches if shard.stretches is not None else (None,):
            rows = gold_rows(lake, gold, shard.gold_version, days, table=table, source=source)
            frames = compute_frames(table, _of_shard(rows, table, shard), days, source=source)
            parts.append(stage_checked(lake, name, table, (_to_write(f, table, shard) for f in frames), label))
        if shard.entities is not None:
            parts.append(_stage_others(lake, name, table, shard, label))
    except BaseException:
        discard(lake, name, joined(parts))
        raise
    return joined(parts)


def _stage_others(lake: Lake, name: TableName, table: FeatureTable, shard: Shard, label: str) -> ShardResult:
    """The rows of all other entities on the shard's days, set aside ones too, as they are."""
    entities, time, days = shard.entities, table.time, sorted(shard.days or ())
    assert entities is not None
    assert time is not None

    def stage(of: TableName) -> list[StagedFile]:
        if not lake.exists(of):
            return []
        rows = lake.scan(of, days=(days[0], days[-1])) if days else lake.scan(of)
        rows = rows.filter(pl.col(time).dt.date().is_in(days))
        others = rows.join(entities.lazy(), on=list(table.entity), how="anti").collect()
        return lake.stage(of, others, label=label, measure=of == name) if others.height else []

    staged = stage(name)
    try:
        return ShardResult(staged, stage(aside_name(name)))
    except BaseException:
        lake.discard(name, staged)
        raise


def _of_shard(rows: pl.LazyFrame, table: FeatureTable, shard: Shard) -> pl.LazyFrame:
    if shard.entities is not None:
        rows = rows.join(shard.entities.lazy(), on=list(table.entity), how="semi")
    if shard.of == 1:
        return rows
    return rows.filter(entity_hash(table) % shard.of == shard.number)


def _to_write(frame: pl.DataFrame, table: FeatureTable, shard: Shard) -> pl.DataFrame:
    if shard.days is None or table.time is None:
        return frame
    wanted = frame.select(pl.col(table.time).dt.date().is_in(sorted(shard.days)).alias("wanted"))["wanted"]
    return frame if wanted.all() else frame.filter(wanted)  # a copy of all rows is the peak of a shard's memory


def gold_rows(
    lake: Lake, gold: TableName, version: int, days: Days | None, *, table: FeatureTable, source: GoldTable
) -> pl.LazyFrame:
    """Scan the gold rows that ``days`` read, lookback included, without rows that gold's contract sets aside."""
    rows = _gold_rows(lake, gold, version, days, table=table, source=source)
    counts = valid_rows(source)
    return rows if counts is None else rows.filter(counts)


def _gold_rows(
    lake: Lake, gold: TableName, version: int, days: Days | None, *, table: FeatureTable, source: GoldTable
) -> pl.LazyFrame:
    time = table.gold_time(source)
    if time is None or days is None:
        return lake.scan(gold, version)
    read = (days[0] - table.day_lookback, days[1])
    if lake.info(gold, version).timeseries == time:
        return lake.scan(gold, version, days=read)
    rows = lake.scan(gold, version)
    return rows.filter(between(time, rows.collect_schema()[time], *read))
