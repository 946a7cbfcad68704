"""Materialization: brings a feature table up to date with gold, in one commit."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from karat.declare import FeatureTable, Project
from karat.errors import DeclarationError, TableNotFound, did_you_mean
from karat.executors import Executor, LocalExecutor, Progress, silent
from karat.features.daily_statistics import keep_statistics
from karat.features.engine import Days, compute_frame
from karat.features.invalidation import stretches
from karat.features.materialization_plan import KIND, MaterializationPlan, make_plan, standing
from karat.features.quality_gate import (
    ShardResult,
    commit_aside,
    conclude,
    define_aside,
    detail_of,
    discard,
    joined,
    keep_results,
)
from karat.features.schema import feature_schema
from karat.features.shard import Shard, compute_shard, entity_hash, gold_rows, hash_probe
from karat.lake import Commit, Lake, Work, retry_conflicts
from karat.names import TableName
from karat.quality.check_results import warning_lines
from karat.quality.gold_check import check_gold

#: Gold rows that one shard holds in memory at a time.
ROWS_A_SHARD = 5_000_000
#: From so many on, another shard beside it is worth what it costs: reading all days once more.
WORTH_A_WORKER = 1_000_000
ATTEMPTS = 5


@dataclass(frozen=True)
class MaterializationResult:
    """The outcome: ``days`` were recomputed (all of gold's if ``full``), ``rows`` written; unless not ``changed``.

    ``set_aside`` rows were left out by the table's checks; ``warnings`` say what checks found, of gold too.
    """

    table: TableName
    version: int
    changed: bool
    days: tuple[date, ...]
    rows: int
    gold_version: int
    definition_hash: str
    full: bool
    set_aside: int = 0
    warnings: tuple[str, ...] = ()


def compute_table(
    project: Project,
    table: str,
    lake: Lake,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
    full: bool = False,
    shards: int | None = None,
) -> MaterializationResult:
    """Bring a feature table up to date with gold, in one commit or none if nothing changed.

    A changed definition or origin of gold recomputes everything. Run again after a kill, it leaves the same table.

    Args:
        project: The project.
        table: The table's name.
        lake: The lake.
        executor: Runs the shards; by default in this process.
        progress: Told as shards finish.
        full: Recompute everything regardless.
        shards: The number of shards; by default from the number of rows.

    Returns:
        What was computed.

    Raises:
        TableNotFound: The declaration or the gold table is missing.
        ColumnMissing: Gold lacks a column.
        DeclarationError: An expression is wrong.
        SchemaMismatch: The table in the lake has other types.
        QualityBlocked: A check of gold or of the computed rows failed; nothing is committed.
    """
    declared = declared_table(project, table)

    def attempt() -> MaterializationResult:
        with placed(project, declared):
            return _compute(project, declared, lake, executor or LocalExecutor(), progress, forced=full, shards=shards)

    # After a conflict, the remaining work depends on what the other run computed.
    return retry_conflicts(ATTEMPTS)(attempt)


def _compute(
    project: Project,
    table: FeatureTable,
    lake: Lake,
    executor: Executor,
    progress: Progress,
    *,
    forced: bool,
    shards: int | None,
) -> MaterializationResult:
    name = project.table_name(table.name)
    version = gold_version(project, table, lake)
    looked = check_gold(project, table.source, lake, version, since=good_version(project, table, lake))
    plan = make_plan(project, table, lake, version, forced=forced)
    if plan is None:
        define(project, table, lake)  # owner, descriptions and lag may have changed all the same
        keep_results(lake, name, KIND)  # a run that was killed did not come so far
        keep_statistics(lake, name)  # nor this far
        hash_ = table.definition_hash
        return MaterializationResult(name, lake.version(name), False, (), 0, version, hash_, False, 0, looked.warnings)
    run = uuid.uuid4().hex if forced else plan.key
    return carry_out(project, table, lake, plan, MaterializationRun(run, executor, progress, shards, looked.warnings))


def good_version(project: Project, table: FeatureTable, lake: Lake) -> int | None:
    """The gold version that the table was last computed from; None if gold was made anew since."""
    _, before = standing(project, table, lake)
    same = before is not None and before.gold_id == lake.info(project.gold_name(table.source)).id
    return before.gold_version if before and same else None


@dataclass(frozen=True)
class MaterializationRun:
    """How a plan is carried out: under which key of work, on which executor, in how many shards (None: by the rows)."""

    key: str
    executor: Executor
    progress: Progress
    shards: int | None = None
    warnings: tuple[str, ...] = ()


def carry_out(
    project: Project, table: FeatureTable, lake: Lake, plan: MaterializationPlan, run: MaterializationRun
) -> MaterializationResult:
    """Compute, check and commit a plan, in one commit.

    Raises:
        CommitConflict: Another computation of the table was committed since the plan was made.
        KaratError: As ``compute_table`` raises.
    """
    name, gold = project.table_name(table.name), project.gold_name(table.source)
    compute_frame(table, lake.scan(gold, plan.reads).head(0), source=project.gold[table.source])
    define(project, table, lake)
    aside_base = define_aside(project, table, lake)
    parts: list[ShardResult] = []
    try:
        for part in stage_plan(project, table, lake, plan, run):
            parts.append(part)
        whole = joined(parts)
        found = conclude(project, table, lake, whole, days=plan.days, run=run.key)
        commit_aside(lake, name, whole, days=plan.days, run=run.key, base=aside_base)
        commit = commit_plan(lake, name, plan, Work(KIND, run.key, plan.detail | detail_of(table, found)), whole)
    except BaseException:
        discard(lake, name, joined(parts))
        raise
    keep_results(lake, name, KIND)
    keep_statistics(lake, name, whole.staged if commit.changed else ())
    return MaterializationResult(
        name,
        commit.version,
        commit.changed,
        plan.days if plan.days is not None else commit.days,
        commit.rows,
        plan.reads,
        table.definition_hash,
        plan.full,
        sum(s.rows for s in whole.aside),
        (*run.warnings, *warning_lines(found, name)),
    )


def stage_plan(
    project: Project, table: FeatureTable, lake: Lake, plan: MaterializationPlan, run: MaterializationRun
) -> Iterator[ShardResult]:
    """Compute the plan's shards and give the result of each; nothing is visible yet."""
    pieces = _shards(project, table, lake, plan, run)
    for done, (_, part) in enumerate(run.executor.map(compute_shard, pieces), start=1):
        yield part
        run.progress(done, len(pieces), f"features {table.name}")


def commit_plan(lake: Lake, name: TableName, plan: MaterializationPlan, work: Work, whole: ShardResult) -> Commit:
    """Commit what was staged, which makes it visible."""
    return lake.commit(name, whole.staged, replace="all" if plan.days is None else plan.days, work=work, base=plan.base)


def define(project: Project, table: FeatureTable, lake: Lake) -> None:
    """Create the table in the lake as declared, or add what the declaration gained."""
    lake.create(
        project.table_name(table.name),
        feature_schema(table, project.gold[table.source]),
        primary_key=table.primary_key,
        timeseries=table.time,
        grain=table.stored_grain,
        lag=table.publication_lag,
        owner=table.owner or project.spec.owner,
        description=table.description,
        event_id=table.event_id,
        properties={
            "karat.definition_hash": table.definition_hash,
            "karat.meanings": json.dumps(table.meanings),
            "karat.source": table.source,
        },
    )


def _shards(
    project: Project, table: FeatureTable, lake: Lake, plan: MaterializationPlan, run: MaterializationRun
) -> list[Shard]:
    """The pieces of the work; none where gold has no rows for it."""
    source, gold = project.gold[table.source], project.gold_name(table.source)
    spans, days = None, None
    if table.time:
        computed = [d for d in plan.days if plan.last and d <= plan.last] if plan.days is not None else None
        whole = [(plan.first, plan.last)] if plan.first and plan.last else []
        spans = tuple(whole if computed is None else stretches(computed, bridge=table.lookback))
        days = None if computed is None else frozenset(computed)
        if not spans:
            return []
    extent = (spans[0][0], spans[-1][1]) if spans else None
    rows = gold_rows(lake, gold, plan.reads, extent, table=table, source=source)
    # The rows of other entities stay as they are, in the first shard: there must be one.
    count = 1 if plan.entities is not None else run.shards or project.spec.feature_shards
    of = count or _pieces(table, rows, extent, run.executor.workers)
    return [
        Shard(
            project=project.name,
            projects=project.path.parent,
            environment=project.environment,
            lake=lake.root,
            table=table.name,
            gold_version=plan.reads,
            definition=table.definition_hash,
            number=number,
            of=of,
            stretches=spans,
            days=days,
            probe=hash_probe(),
            entities=plan.entities,
        )
        for number in range(of)
    ]


def _pieces(table: FeatureTable, rows: pl.LazyFrame, extent: Days | None, workers: int) -> int:
    """Enough shards to fit memory and to occupy every worker; beyond one round, a multiple of the workers."""
    read: int = rows.select(pl.len()).collect(engine="streaming").item()
    made = 0
    if extent and table.fills_idle_days:
        entities = rows.select(entity_hash(table).approx_n_unique()).collect(engine="streaming").item()
        made = entities * ((extent[1] - extent[0]).days + 1)
    most = max(read, made)
    needed = max(1, math.ceil(most / ROWS_A_SHARD), min(workers, most // WORTH_A_WORKER))
    return needed if needed <= workers else workers * math.ceil(needed / workers)


def declared_table(project: Project, table: str) -> FeatureTable:
    """The declaration of a feature table.

    Raises:
        TableNotFound: The project declares none of this name.
    """
    found = project.tables.get(table)
    if found is None:
        raise TableNotFound(
            f"project {project.name!r} declares no feature table {table!r}",
            where=str(project.path / "features"),
            remedy=did_you_mean(table, project.tables),
        )
    return found


def gold_version(project: Project, table: FeatureTable, lake: Lake) -> int:
    """The current version of the table's gold table.

    Raises:
        TableNotFound: There is no such gold table.
    """
    gold = project.gold_name(table.source)
    if not lake.exists(gold):
        raise TableNotFound(
            f"there is no gold table {gold}, which {table.name!r} reads",
            where=str(lake.root),
            remedy=f"make sample rows: karat sample {project.name}; or bring your own: "
            f"karat ingest {project.name} {table.source} FILE",
        )
    return lake.version(gold)


@contextmanager
def placed(project: Project, table: FeatureTable) -> Iterator[None]:
    """Add the file of the declaration to a declaration's error."""
    try:
        yield
    except DeclarationError as error:
        error.where = declared_in(project, table.name)
        raise


def declared_in(project: Project, table: str) -> str:
    """``health_monitor/features/cost.py``: the file that names the table."""
    for path in sorted((project.path / "features").glob("*.py")):
        if f'"{table}"' in path.read_text() or f"'{table}'" in path.read_text():
            return str(Path(project.name, "features", path.name))
    return f"feature table {table!r}"
