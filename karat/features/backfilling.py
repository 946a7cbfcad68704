"""Backfill of feature tables: chosen days, of all entities or of some, each table in one commit."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date

import polars as pl

from karat.declare import FeatureTable, Project, StaticFeatureTable
from karat.dtypes import POLARS
from karat.errors import WrongCall
from karat.executors import Executor, LocalExecutor, Progress, silent
from karat.features.daily_statistics import keep_statistics
from karat.features.keys import aligned
from karat.features.materialization_plan import KIND, plan_days
from karat.features.materialize import (
    ATTEMPTS,
    MaterializationResult,
    MaterializationRun,
    carry_out,
    compute_table,
    declared_table,
    gold_version,
    good_version,
    placed,
)
from karat.features.quality_gate import keep_results
from karat.lake import Lake, retry_conflicts
from karat.quality.gold_check import check_gold


@dataclass(frozen=True)
class BackfillRequest:
    """What is to be filled: the days ``first`` to ``last``, both included, of ``tables``.

    ``entities`` narrows it to these (a frame with the entity columns); ``forced`` recomputes what stands already.
    """

    tables: tuple[str, ...]
    first: date
    last: date
    entities: pl.DataFrame | None = None
    forced: bool = False


def backfill(
    project: Project,
    wanted: BackfillRequest,
    lake: Lake,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> list[MaterializationResult]:
    """Computes exactly these rows from gold as it is now and replaces them, table by table, in one commit each.

    The same backfill again changes nothing; one that was killed is taken up at the table where it stopped. Days
    without gold rows, and after gold's last, get none. A table without time has no days: it is computed as it stands.
    Raises WrongCall for days in the wrong order, DefinitionChanged where a table's other rows mean something else (and
    leaves it alone), and what ``compute_table`` raises.
    """
    if wanted.last < wanted.first:
        raise WrongCall(
            f"the last day, {wanted.last}, is before the first, {wanted.first}", remedy="give start_date <= end_date"
        )
    results = []
    for done, table in enumerate(wanted.tables):
        progress(done, len(wanted.tables), f"backfill {table}")
        results.append(fill_table(project, declared_table(project, table), lake, wanted, executor or LocalExecutor()))
    progress(len(wanted.tables), len(wanted.tables), "backfill")
    return results


def fill_table(
    project: Project, table: FeatureTable, lake: Lake, wanted: BackfillRequest, executor: Executor
) -> MaterializationResult:
    """One table's part of a backfill."""
    if isinstance(table, StaticFeatureTable):
        return compute_table(project, table.name, lake, executor=executor)

    def attempt() -> MaterializationResult:
        with placed(project, table):
            return _fill(project, table, lake, wanted, executor)

    return retry_conflicts(ATTEMPTS)(attempt)


def _fill(
    project: Project, table: FeatureTable, lake: Lake, wanted: BackfillRequest, executor: Executor
) -> MaterializationResult:
    version = gold_version(project, table, lake)
    looked = check_gold(project, table.source, lake, version, since=good_version(project, table, lake))
    days, entities = (wanted.first, wanted.last), _typed(project, table, wanted.entities)
    plan = plan_days(project, table, lake, days, version=version, entities=entities, forced=wanted.forced)
    name = project.table_name(table.name)
    if plan is None:
        at = lake.version(name) if lake.exists(name) else -1
        if at >= 0:
            keep_results(lake, name, KIND)  # a run that was killed did not come so far
            keep_statistics(lake, name)  # nor this far
        return MaterializationResult(
            name, at, False, (), 0, version, table.definition_hash, False, warnings=looked.warnings
        )
    key = uuid.uuid4().hex if wanted.forced else plan.key
    return carry_out(project, table, lake, plan, MaterializationRun(key, executor, silent, warnings=looked.warnings))


def _typed(project: Project, table: FeatureTable, entities: pl.DataFrame | None) -> pl.DataFrame | None:
    """The entities once each, in the types of gold."""
    if entities is None:
        return None
    columns = project.gold[table.source].columns
    keys = (aligned(entities[e], POLARS[columns[e].dtype], of=f"the key of {table.name!r}") for e in table.entity)
    return pl.DataFrame(list(keys)).drop_nulls().unique()
