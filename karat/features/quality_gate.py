"""Quality gate: a feature table's checks, run in each shard and concluded before the one commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from karat.clock import utc_now
from karat.declare import FeatureTable, Project
from karat.declare.checks import Fresh, RowCheck, Unique, Volume
from karat.features.schema import feature_schema
from karat.fingerprint import fingerprint
from karat.lake import Lake, StagedFile, Work
from karat.names import TableName
from karat.quality.check_results import CheckResult, as_rows, merge_results, raise_if_blocked
from karat.quality.day_checks import check_freshness, check_volume
from karat.quality.gold_check import check_unique
from karat.quality.results_table import record_results
from karat.quality.row_checks import count_failures, quarantine_rules, reason_name, split_rows
from karat.quality.unfinished_day import unfinished_gold_day

#: The kind of work by which the rows set aside of a feature table are written.
ASIDE = "features.aside"


@dataclass(frozen=True)
class ShardResult:
    """What one shard staged: rows to be committed, rows set aside, and what the row checks found in both."""

    staged: list[StagedFile] = field(default_factory=list)
    aside: list[StagedFile] = field(default_factory=list)
    found: list[CheckResult] = field(default_factory=list)


def aside_name(name: TableName) -> TableName:
    """Where a feature table's rows set aside are kept."""
    return TableName(name.catalog, "monitoring", f"{name.table}_set_aside")


def stage_checked(
    lake: Lake, name: TableName, table: FeatureTable, frames: Iterable[pl.DataFrame], label: str
) -> ShardResult:
    """Run the row checks on each frame; stage the rows to keep and those set aside. Nothing is visible yet."""
    checks = [c for c in table.declared_checks if isinstance(c, RowCheck)]
    asked: list[list[CheckResult]] = []
    aside: list[pl.DataFrame] = []

    def kept() -> Iterator[pl.DataFrame]:
        for rows in frames:
            if not checks:
                yield rows
                continue
            asked.append(count_failures(rows.lazy(), checks, table.primary_key))
            if any(f.state == "set_aside" for f in asked[-1]):
                good, bad = split_rows(rows, checks)
                aside.append(bad)
                yield good
            else:
                yield rows

    staged = lake.stage(name, kept(), label=label, measure=True)
    try:
        return ShardResult(
            staged, lake.stage(aside_name(name), aside, label=label) if aside else [], merge_results(asked)
        )
    except BaseException:
        lake.discard(name, staged)
        raise


def joined(parts: Sequence[ShardResult]) -> ShardResult:
    """The results of several shards as one."""
    return ShardResult(
        [s for p in parts for s in p.staged], [s for p in parts for s in p.aside], merge_results(p.found for p in parts)
    )


def discard(lake: Lake, name: TableName, part: ShardResult) -> None:
    """Delete what a shard staged."""
    lake.discard(name, part.staged)
    if part.aside:
        lake.discard(aside_name(name), part.aside)


def define_aside(project: Project, table: FeatureTable, lake: Lake) -> Work | None:
    """Makes the table of rows set aside where a check may need it; gives the work that it stands at."""
    name = aside_name(project.table_name(table.name))
    if quarantine_rules(table.declared_checks):
        schema = feature_schema(table, project.gold[table.source])
        days = (table.time,) if table.time else None
        lake.create(
            name,
            schema.append(
                pa.field(reason_name(schema.names), pa.string(), metadata={"comment": "the first check that it breaks"})
            ),
            primary_key=table.primary_key,
            timeseries=table.time,
            partition_by=days,
            owner=table.owner or project.spec.owner,
            description=f"rows of {table.name} that a check has set aside, as they were computed last",
        )
    return lake.last_work(name, ASIDE) if lake.exists(name) else None


def conclude(
    project: Project, table: FeatureTable, lake: Lake, part: ShardResult, *, days: Sequence[date] | None, run: str
) -> list[CheckResult]:
    """Everything that the checks of the table find in what is staged for ``days`` (None: the whole table).

    Raises QualityBlocked, and keeps the results of what was refused.
    """
    name, checks = project.table_name(table.name), table.declared_checks
    found = list(part.found)
    found += [check_unique(lake.scan_staged(name, part.staged), c) for c in checks if isinstance(c, Unique)]
    if any(isinstance(c, Fresh | Volume) for c in checks):
        found += _of_days(project, table, lake, part, days)
    if any(f.state == "blocked" for f in found):
        record_results(lake, name, as_rows(found), run=run, version=None, contract=contract_of(table))
    raise_if_blocked(
        found,
        f"what was computed for {name}",
        where=f"{project.path.name}/features, feature table {table.name!r}; it stands as it was",
        remedy="mend the feature or its gold rows, or let the check warn or set aside (on_fail); "
        f"all results: karat quality {project.name}",
    )
    return found


def _of_days(
    project: Project, table: FeatureTable, lake: Lake, part: ShardResult, days: Sequence[date] | None
) -> list[CheckResult]:
    name, gold = project.table_name(table.name), project.gold_name(table.source)
    total = sum(s.rows for s in part.staged)
    by_day: dict[date, int] = {}
    if table.time:
        gone = set(days or ())
        by_day = {} if days is None else {d: n for d, n in lake.rows_by_day(name).items() if d not in gone}
        for file in part.staged:  # partitioned by day: one day a file
            for day in file.days:
                by_day[day] = by_day.get(day, 0) + file.rows
    newest, now = max(by_day, default=None), utc_now()
    out = [check_freshness(c, newest, now) for c in table.declared_checks if isinstance(c, Fresh)]
    volumes = [c for c in table.declared_checks if isinstance(c, Volume)]
    unfinished = unfinished_gold_day(lake, gold, project.gold[table.source]) if volumes else None
    return out + [check_volume(c, by_day if table.time else total, unfinished) for c in volumes]


def commit_aside(
    lake: Lake, name: TableName, part: ShardResult, *, days: Sequence[date] | None, run: str, base: Work | None
) -> None:
    """Commit the rows set aside on ``days``, before the features themselves.

    Killed in between, the same work completes both.

    Raises:
        CommitConflict: Another commit came between.
    """
    aside = aside_name(name)
    if lake.exists(aside):
        lake.commit(aside, part.aside, replace="all" if days is None else days, work=Work(ASIDE, run), base=base)


def keep_results(lake: Lake, name: TableName, kind: str) -> None:
    """Record the check results in the last commit of this kind, if a killed run did not."""
    work = lake.last_work(name, kind)
    told = work.detail.get("quality") if work else None
    if not work or not told:
        return
    commit = lake.commit_of(name, work)
    assert commit is not None
    at = datetime.fromisoformat(told["at"])
    record_results(lake, name, told["checks"], run=work.key, version=commit.version, contract=told["contract"], at=at)


def detail_of(table: FeatureTable, found: Sequence[CheckResult]) -> dict[str, Any]:
    """What the commit says of its checks; nothing where there are none."""
    if not found:
        return {}
    told = {"checks": as_rows(found), "at": utc_now().isoformat(), "contract": contract_of(table)}
    return {"quality": told}


def contract_of(table: FeatureTable) -> str:
    """The hash of a feature table's checks."""
    rules = [c.model_dump(mode="json", exclude={"description"}) for c in table.declared_checks]
    return fingerprint([table.name, rules])
