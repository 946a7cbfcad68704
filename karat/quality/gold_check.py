"""Checks of a gold table before features are computed: changed rows, freshness, volume."""

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
from karat.quality.check_results import CheckResult, as_rows, raise_if_blocked, warning_lines
from karat.quality.day_checks import check_freshness, check_volume
from karat.quality.origin import quarantine_name
from karat.quality.quarantine import copy_to_quarantine
from karat.quality.results_table import record_results, results
from karat.quality.row_checks import as_json, count_failures, quarantine_rules
from karat.quality.unfinished_day import unfinished_gold_day


@dataclass(frozen=True)
class GoldCheck:
    """The outcome of checking a gold version.

    Attributes:
        found: The result of each check.
        warnings: One line for each check that warns or sets rows aside.
    """

    found: tuple[CheckResult, ...] = ()
    warnings: tuple[str, ...] = ()


def contract_hash(table: GoldTable) -> str:
    """The fingerprint of the rules that set gold rows aside; "" if there are none beyond what the lake refuses."""
    rules = [
        r.model_dump(mode="json", exclude={"description"}) for r in reading_checks(table) if r in table.aside_rules
    ]
    return fingerprint(rules) if rules else ""


def reading_checks(table: GoldTable) -> tuple[Check, ...]:
    """The checks of each reading.

    The lake itself refuses nulls in key columns and duplicate keys, so these are checked only on versions that other
    programs wrote; see ``lake_checks``.

    Args:
        table: The gold table.

    Returns:
        The checks.
    """
    columns = (c for c in table.column_rules if not isinstance(c, NotNull))
    return (*columns, *table.declared_checks)


def valid_rows(table: GoldTable) -> pl.Expr | None:
    """The condition on gold rows that break no rule which sets aside; None if all rows are valid."""
    rules = quarantine_rules(reading_checks(table))
    return ~pl.any_horizontal(*(r.broken() for r in rules)) if rules else None


def lake_checks(table: GoldTable) -> tuple[Check, ...]:
    """What the lake refuses by itself, as blocking checks."""
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
    """Check a gold version and record the results in the catalog's table of results.

    Row checks read the days that changed since the last version that was not blocked; freshness and volume are checked
    each time.

    Args:
        project: The project.
        table: The gold table.
        lake: The lake.
        version: The version to check.
        since: A version that was valid. Keys and nulls are checked, too, if another program than Karat committed after
            it.
        now: The current time.

    Returns:
        Results and warnings.

    Raises:
        QualityBlocked: A blocking check failed.
    """
    declared, name = project.gold[table], project.gold_name(table)
    checks = reading_checks(declared)
    if lake.foreign_versions(name, since, version):
        checks = (*checks, *lake_checks(declared))
    if not checks:
        return GoldCheck()
    moment = now or utc_now()
    contract = fingerprint([lake.info(name).id, [c.model_dump(mode="json", exclude={"description"}) for c in checks]])
    known = results(lake, name.catalog, name).filter(contract=contract)
    before = _last_sound(known)
    gold = _Gold(declared, lake, name, version)
    found = gold.days(checks, moment)
    if before != version:
        found += gold.rows(checks, before)
    if before != version or not _is_recorded(found, known.filter(table_version=version, day=moment.date())):
        seen = before if before != version else "days"
        run = fingerprint([contract, version, seen, str(moment.date()), [f.state for f in found]])
        record_results(lake, name, as_rows(found), run=run, version=version, contract=contract, at=moment)
    raise_if_blocked(
        found,
        f"gold table {name} (version {version})",
        where=str(lake.path(name)),
        remedy="correct the rows (karat ingest updates them by key), or let the check warn or set aside: on_fail in "
        f"{project.path.name}/gold.py; all results: karat quality {project.name}",
    )
    return GoldCheck(tuple(found), warning_lines(found, name))


def gold_results(project: Project, table: str, lake: Lake, *, now: datetime | None = None) -> tuple[CheckResult, ...]:
    """Ask every check of all rows of the newest gold version; nothing is recorded, copied or refused.

    Args:
        project: The project.
        table: The gold table.
        lake: The lake; read only.
        now: The current time.

    Returns:
        The result of each check.
    """
    declared, name = project.gold[table], project.gold_name(table)
    checks, gold = reading_checks(declared), _Gold(declared, lake, name, lake.info(name).version)
    return (*gold.days(checks, now or utc_now()), *gold.asked(checks, gold.changed(None)))


def _last_sound(known: pl.DataFrame) -> int | None:
    """The newest version that was checked under these rules and not blocked."""
    blocked = known.filter(pl.col("state") == "blocked")["run"]
    return known.filter(~pl.col("run").is_in(blocked.implode()))["table_version"].max()  # type: ignore[return-value]


def _is_recorded(found: Sequence[CheckResult], known: pl.DataFrame) -> bool:
    """Whether the day's last results have the same states, so that a new record would add nothing."""
    states = dict(known.select("check_name", "state").iter_rows())  # oldest first: the last one counts
    return all(states.get(f.check.name) == f.state for f in found)


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
                out.append(check_freshness(check, rows.select(pl.col(time).max()).collect().item(), now))
            elif isinstance(check, Volume) and time:
                by_day = self.lake.rows_by_day(self.name, self.version)
                unfinished = unfinished_gold_day(self.lake, self.name, self.table, self.version)
                out.append(check_volume(check, by_day, unfinished))
            elif isinstance(check, Volume):
                out.append(check_volume(check, rows.select(pl.len()).collect().item()))
        return out

    def rows(self, checks: Sequence[Check], before: int | None) -> list[CheckResult]:
        """Rows of the days that changed since ``before``; uniqueness over all rows. Copies the rows set aside."""
        changed = self.changed(before)
        found = self.asked(checks, changed)
        if any(f.state == "set_aside" for f in found):  # copy the rows that features will not read
            copy_to_quarantine(self.lake, quarantine_name(self.name), changed, quarantine_rules(checks), self.table.key)
        return found

    def changed(self, before: int | None) -> pl.LazyFrame:
        """The rows of the days that changed since ``before``; all without it, or without a time."""
        every = self.lake.scan(self.name, self.version)
        if not self.table.event_time or before is None or before >= self.version:
            return every
        days = self.lake.changed_days(self.name, self.table.event_time, before, self.version)
        day = pl.col(self.table.event_time).cast(pl.Date)
        return every.filter(day.is_in(pl.Series(days, dtype=pl.Date).implode()))

    def asked(self, checks: Sequence[Check], changed: pl.LazyFrame) -> list[CheckResult]:
        """The row checks on ``changed``, and uniqueness over all rows."""
        by_row = [c for c in checks if isinstance(c, RowCheck)]
        found = count_failures(changed, by_row, self.table.key) if by_row else []
        every = self.lake.scan(self.name, self.version)
        return found + [check_unique(every, c) for c in checks if isinstance(c, Unique)]


def check_unique(rows: pl.LazyFrame, check: Unique) -> CheckResult:
    """Count the rows that share the values of another row. Rows with a null in one of the columns do not count.

    Args:
        rows: The rows.
        check: The check.

    Returns:
        The result.
    """
    columns = list(check.of)
    total = rows.select(pl.len()).collect(engine="streaming").item()
    groups = rows.select(columns).drop_nulls().group_by(columns).len("rows").filter(pl.col("rows") > 1)
    alike = groups.collect(engine="streaming")
    some = tuple(as_json(alike.sort(columns).head(3)).to_list())
    return CheckResult(check, total, int(alike["rows"].sum()), some)
