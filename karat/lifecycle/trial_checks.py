"""Quality checks of a trial: what a run would leave out, warn of or refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from karat.clock import utc_now
from karat.declare import FeatureTable, Project
from karat.declare.checks import Fresh, RowCheck, Unique
from karat.lake import Lake
from karat.quality import CheckedFrame, CheckResult, gold_results, quarantine_counts, quarantine_name
from karat.quality.day_checks import check_freshness
from karat.quality.gold_check import check_unique
from karat.quality.row_checks import count_failures, split_rows

_FOLLOWS = {"warned": "", "set_aside": " (left out)", "blocked": " (a run stops here)"}


@dataclass(frozen=True)
class TrialChecks:
    """What the quality checks of gold and feature tables found.

    Attributes:
        asked: How many checks were asked.
        lines: One line for each that fails, and for the rows that ingestion has set aside.
    """

    asked: int = 0
    lines: tuple[str, ...] = ()

    def __add__(self, other: TrialChecks) -> TrialChecks:
        return TrialChecks(self.asked + other.asked, (*self.lines, *other.lines))


def checks_of_gold(project: Project, tables: Iterable[str], lake: Lake) -> TrialChecks:
    """Ask the checks of stored gold tables, and count what ingestion has set aside of them."""
    told = TrialChecks()
    for table in tables:
        aside = quarantine_name(project.gold_name(table))
        told += TrialChecks(0, _of_reasons(table, quarantine_counts(lake, aside), f"are set aside in {aside}"))
        told += _of_results(table, gold_results(project, table, lake))
    return told


def checks_of_sample(table: str, checked: CheckedFrame) -> TrialChecks:
    """Count what the contract sets aside of a generated sample."""
    return TrialChecks(1, _of_reasons(table, checked.reasons, "of the sample are left out"))


def checked_features(table: FeatureTable, rows: pl.DataFrame) -> tuple[pl.DataFrame, TrialChecks]:
    """The rows that a run would keep, and what the checks found in all of them.

    The volume of a sample says nothing of the table's, so it is not checked.
    """
    by_row = [c for c in table.declared_checks if isinstance(c, RowCheck)]
    found = count_failures(rows.lazy(), by_row, table.primary_key) if by_row else []
    found += [check_unique(rows.lazy(), c) for c in table.declared_checks if isinstance(c, Unique)]
    if table.time:
        newest = rows[table.time].max()
        fresh = (c for c in table.declared_checks if isinstance(c, Fresh))
        found += [check_freshness(c, newest, utc_now()) for c in fresh]  # type: ignore[arg-type]
    kept = split_rows(rows, by_row)[0] if any(f.state == "set_aside" for f in found) else rows
    return kept, _of_results(table.name, found)


def _of_results(table: str, found: Sequence[CheckResult]) -> TrialChecks:
    lines = (f"{table}: {f.summary}{_FOLLOWS[f.state]}" for f in found if f.state in _FOLLOWS)
    return TrialChecks(len(found), tuple(lines))


def _of_reasons(table: str, counts: dict[str, int], what: str) -> tuple[str, ...]:
    if not counts:
        return ()
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in counts.items())
    return (f"{table}: {sum(counts.values()):,} rows {what}: {reasons}",)
