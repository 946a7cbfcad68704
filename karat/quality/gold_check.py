"""A gold table before features are computed from it: rows since the last time, its newest day, its rows a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from karat.clock import utc_now
from karat.declare import Check, GoldTable, Project
from karat.declare.checks import Fresh, NotNull, RowCheck, Unique, Volume
from karat.fingerprint import fingerprint
from karat.lake import Lake
from karat.names import TableName
from karat.quality.check_results import CheckResult, as_rows, refuse, warnings
from karat.quality.day_checks import judge_fresh, judge_volume
from karat.quality.origin import set_aside_name
from karat.quality.quarantine import keep_aside
from karat.quality.results_table import record, results
from karat.quality.row_checks import aside_of, count


@dataclass(frozen=True)
class GoldCheck:
    """What the checks of a gold version found; ``warnings`` in words."""

    found: tuple[CheckResult, ...] = ()
    warnings: tuple[str, ...] = ()


def contract_of(table: GoldTable) -> str:
    """What decides which rows of gold count: a hash of the rules that set rows aside, "" where there is none beyond
    what the lake itself refuses."""
    rules = [r.model_dump(mode="json", exclude={"description"}) for r in asked(table) if r in table.aside_rules]
    return _hash(rules) if rules else ""


def asked(table: GoldTable) -> tuple[Check, ...]:
    """The checks that are asked at each reading. The lake itself refuses nulls where a column takes none and two rows
    of one key: these are asked only of what others have written."""
    columns = (c for c in table.column_rules if not isinstance(c, NotNull))
    return (*columns, *table.declared_checks)


def kept(table: GoldTable) -> pl.Expr | None:
    """The gold rows that count: those that break no rule that sets aside. None: all of them."""
    rules = aside_of(asked(table))
    return ~pl.any_horizontal(*(r.broken() for r in rules)) if rules else None


def unasked(table: GoldTable) -> tuple[Check, ...]:
    """What the lake refuses by itself, as checks that block."""
    nulls = (c.model_copy(update={"on_fail": "block"}) for c in table.column_rules if isinstance(c, NotNull))
    return (*nulls, Unique(of=table.key, on_fail="block"))


def check_gold(
    project: Project,
    table: str,
    lake: Lake,
    version: int,
    *,
    since: int | None = None,
    now: datetime | None = None,
) -> GoldCheck:
    """Asks the checks of gold's ``version``; what they find is kept in the catalog's table of results.

    Rows are looked at where they changed since the last version that was not blocked; freshness and volume each time.
    ``since`` is a version that was good before: what something else than Karat has committed after it is asked for its
    keys and nulls, too. Raises QualityBlocked.
    """
    declared, name = project.gold[table], project.gold_name(table)
    checks = asked(declared)
    if lake.foreign_versions(name, since, version):
        checks = (*checks, *unasked(declared))
    if not checks:
        return GoldCheck()
    moment = now or utc_now()
    contract = _hash([lake.info(name).id, [c.model_dump(mode="json", exclude={"description"}) for c in checks]])
    known = results(lake, name.catalog, name).filter(contract=contract)
    before = _last_sound(known)
    gold = _Gold(declared, lake, name, version)
    found = gold.days(checks, moment)
    if before != version:
        found += gold.rows(checks, before)
    if before != version or not _told(found, known.filter(table_version=version, day=moment.date())):
        seen = before if before != version else "days"
        run = _hash([contract, version, seen, str(moment.date()), [f.state for f in found]])
        record(lake, name, as_rows(found), run=run, version=version, contract=contract, at=moment)
    refuse(
        found,
        f"gold table {name} (version {version})",
        where=str(lake.path(name)),
        remedy="mend the rows (karat ingest brings them in by key), or let the check warn or set aside: on_fail in "
        f"{project.path.name}/gold.py; all results: karat quality {project.name}",
    )
    return GoldCheck(tuple(found), warnings(found, name))


def _last_sound(known: pl.DataFrame) -> int | None:
    """The newest version whose rows were looked at and not blocked, of the results under the rules as they are."""
    blocked = known.filter(pl.col("state") == "blocked")["run"]
    return known.filter(~pl.col("run").is_in(blocked.implode()))["table_version"].max()  # type: ignore[return-value]


def _told(found: Sequence[CheckResult], known: pl.DataFrame) -> bool:
    """Whether the day's last results say the same: to keep them again would change the table for nothing."""
    said = dict(known.select("check_name", "state").iter_rows())  # oldest first: the last one counts
    return all(said.get(f.check.name) == f.state for f in found)


@dataclass(frozen=True)
class _Gold:
    """One version of a gold table."""

    table: GoldTable
    lake: Lake
    name: TableName
    version: int

    def days(self, checks: Sequence[Check], now: datetime) -> list[CheckResult]:
        """Freshness and volume."""
        time, rows, out = self.table.event_time, self.lake.scan(self.name, self.version), []
        for check in checks:
            if isinstance(check, Fresh):
                assert time is not None
                out.append(judge_fresh(check, rows.select(pl.col(time).max()).collect().item(), now))
            elif isinstance(check, Volume) and time:
                out.append(judge_volume(check, self.lake.rows_by_day(self.name, self.version)))
            elif isinstance(check, Volume):
                out.append(judge_volume(check, rows.select(pl.len()).collect().item()))
        return out

    def rows(self, checks: Sequence[Check], before: int | None) -> list[CheckResult]:
        """Rows of the days that changed since ``before``; uniqueness over all rows."""
        every = changed = self.lake.scan(self.name, self.version)
        if self.table.event_time and before is not None and before < self.version:
            days = self.lake.changed_days(self.name, self.table.event_time, before, self.version)
            day = pl.col(self.table.event_time).cast(pl.Date)
            changed = every.filter(day.is_in(pl.Series(days, dtype=pl.Date).implode()))
        by_row = [c for c in checks if isinstance(c, RowCheck)]
        found = count(changed, by_row, self.table.key) if by_row else []
        if any(f.state == "set_aside" for f in found):  # a copy of the rows that features will not see
            keep_aside(self.lake, set_aside_name(self.name), changed, aside_of(by_row), self.table.key)
        return found + [count_alike(every, c) for c in checks if isinstance(c, Unique)]


def count_alike(rows: pl.LazyFrame, check: Unique) -> CheckResult:
    """How many rows have the values of another one; rows with a null in one of the columns have not."""
    columns = list(check.of)
    total = rows.select(pl.len()).collect(engine="streaming").item()
    groups = rows.select(columns).drop_nulls().group_by(columns).len("rows").filter(pl.col("rows") > 1)
    alike = groups.collect(engine="streaming")
    some = tuple(alike.sort(columns).head(3).select(pl.struct(pl.all()).struct.json_encode()).to_series().to_list())
    return CheckResult(check, total, int(alike["rows"].sum()), some)


def _hash(parts: object) -> str:
    return fingerprint(parts)
