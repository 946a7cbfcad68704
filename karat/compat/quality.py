"""Data quality checker: nulls, duplicates and ranges of a frame, by Karat's checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from karat.boundary import public_verbs
from karat.declare.checks import Check, Unique, between, not_null, unique
from karat.dtypes import dtype_of_polars
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.quality.check_results import CheckResult
from karat.quality.gold_check import check_unique
from karat.quality.row_checks import count_failures
from karat.training_sets.frames import Frame, to_polars

#: Lowest and highest allowed value; None is no end.
Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class QualityResult:
    """Result of one check: ``failed`` of ``rows`` break it; ``examples`` are at most three of them as JSON."""

    check: str
    passed: bool
    failed: int
    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class QualityReport:
    """Results of all checks."""

    results: tuple[QualityResult, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(r.passed for r in self.results)

    @property
    def errors(self) -> list[str]:
        """One line per failed check."""
        return [f"{r.check}: {r.failed:,} of {r.rows:,} rows" for r in self.results if not r.passed]


@public_verbs
class DataQualityChecker:
    """Checks frames; ``max_null_rate`` is the greatest share of nulls in a column."""

    def __init__(self, max_null_rate: float = 0.0) -> None:
        self.max_null_rate = max_null_rate

    def check_nulls(self, df: Frame, columns: Sequence[str] | None = None) -> QualityReport:
        """Check that every column, or those named, has values.

        Args:
            df: A Polars, pandas or Arrow frame.
            columns: Columns to check; all by default.

        Returns:
            One result per column.
        """
        frame = to_polars(df)
        names = columns if columns is not None else frame.columns
        return self._run_checks(frame, [not_null(c, at_most=self.max_null_rate) for c in names])

    def check_duplicates(self, df: Frame, columns: Sequence[str] | None = None) -> QualityReport:
        """Check that no two rows are equal in ``columns`` (by default all); rows with a null in one of them pass.

        Args:
            df: A Polars, pandas or Arrow frame.
            columns: Columns that identify a row; all by default.

        Returns:
            One result.
        """
        frame = to_polars(df)
        return self._run_checks(frame, [unique(*(columns if columns is not None else frame.columns))])

    def check_ranges(self, df: Frame, ranges: Mapping[str, Range]) -> QualityReport:
        """Check that numbers lie between lowest and highest, both included; nulls pass.

        Args:
            df: A Polars, pandas or Arrow frame.
            ranges: Column -> (lowest, highest); None is no limit.

        Returns:
            One result per column.
        """
        return self._run_checks(to_polars(df), [between(column, low, high) for column, (low, high) in ranges.items()])

    def run_all(
        self, df: Frame, *, keys: Sequence[str] | None = None, ranges: Mapping[str, Range] | None = None
    ) -> QualityReport:
        """Check nulls of every column, duplicates by ``keys``, and ``ranges``.

        Args:
            df: A Polars, pandas or Arrow frame.
            keys: Columns that identify a row; all by default.
            ranges: Column -> (lowest, highest); None is no limit.

        Returns:
            The results of all checks.
        """
        reports = [self.check_nulls(df), self.check_duplicates(df, keys), self.check_ranges(df, ranges or {})]
        return QualityReport(tuple(r for report in reports for r in report.results))

    def _run_checks(self, frame: pl.DataFrame, checks: Sequence[Any]) -> QualityReport:
        for check in checks:
            _validate_check(check, frame)
        asked = [c.model_copy(update={"on_fail": "block"}) for c in checks]
        alike = [check_unique(frame.lazy(), c) for c in asked if isinstance(c, Unique)]
        rows = [c for c in asked if not isinstance(c, Unique)]
        found = alike + (count_failures(frame.lazy(), rows, []) if rows else [])
        return QualityReport(tuple(_quality_result(f) for f in found))


def _quality_result(found: CheckResult) -> QualityResult:
    return QualityResult(found.check.name, found.state == "passed", found.failed, found.rows, found.examples)


def _validate_check(check: Check, frame: pl.DataFrame) -> None:
    for column in check.columns:
        if column not in frame.columns:
            near = did_you_mean(column, frame.columns)
            raise ColumnMissing(f"the frame has no column {column!r}", where="DataQualityChecker", remedy=near)
    types = {c: dtype_of_polars(frame.schema[c]) for c in check.columns}
    problem = check.problem(types, None)
    if problem:
        raise WrongCall(problem, where="DataQualityChecker", remedy="leave that column out")
