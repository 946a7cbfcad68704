"""Leakage report: the age of every feature's values, and what was missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict, cast

import polars as pl

REPORT_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "feature": pl.String,
    "table": pl.String,
    "rows": pl.Int64,
    "null_share": pl.Float64,
    "present": pl.Int64,
    "null": pl.Int64,
    "not_found": pl.Int64,
    "expired": pl.Int64,
    "defaulted": pl.Int64,
    "age_min": pl.Duration("us"),
    "age_median": pl.Duration("us"),
    "age_max": pl.Duration("us"),
    "younger": pl.Int64,
    "null_keys": pl.Int64,
}


class ReportLine(TypedDict):
    """One line of the leakage report: counts of rows by status, and ages."""

    feature: str
    table: str
    rows: int
    null_share: float
    present: int
    null: int
    not_found: int
    expired: int
    defaulted: int
    age_min: timedelta | None
    age_median: timedelta | None
    age_max: timedelta | None
    younger: int
    null_keys: int


@dataclass(frozen=True)
class Ages:
    """Ages of the rows that a lookup used, the same for all its features.

    Attributes:
        low: The least; None if no row was used.
        median: The median.
        high: The greatest.
        younger: How many rows are later than their spine row.
    """

    low: timedelta | None
    median: timedelta | None
    high: timedelta | None
    younger: int

    @classmethod
    def of(cls, age: pl.Series) -> Ages:
        """Summarize ages: the spine row's time less that of the row used, null without one, ``(rows,)``."""
        low, median, high = (cast(timedelta | None, value) for value in (age.min(), age.median(), age.max()))
        return cls(low, median, high, int((age < timedelta(0)).sum()))


def report_line(
    name: str, table: str, values: pl.Series, statuses: pl.Series, age: pl.Series | Ages, *, null_keys: int = 0
) -> ReportLine:
    """Describe one feature.

    Args:
        name: The feature's column.
        table: Where it comes from.
        values: Its values, ``(rows,)``; for sequences arrays.
        statuses: The status of each value, ``(rows,)``.
        age: The spine row's time less the time of the row used, null without one; of a sequence the newest row's. Or
            their summary.
        null_keys: Spine rows without a whole key, which find nothing.

    Returns:
        One line of the report. ``younger`` counts values whose row is later than their spine row: each is a leak.
        ``null_share`` of a sequence counts its elements, with the padding.
    """
    ages = age if isinstance(age, Ages) else Ages.of(age)
    counts = dict(statuses.value_counts().iter_rows())
    rows = len(values)
    elements = values.explode() if values.dtype == pl.Array and rows else values
    return {
        "feature": name,
        "table": table,
        "rows": rows,
        "null_share": elements.null_count() / len(elements) if rows else 0.0,
        "present": counts.get("PRESENT", 0),
        "null": counts.get("NULL", 0),
        "not_found": counts.get("NOT_FOUND", 0),
        "expired": counts.get("EXPIRED", 0),
        "defaulted": counts.get("DEFAULTED", 0),
        "age_min": ages.low,
        "age_median": ages.median,
        "age_max": ages.high,
        "younger": ages.younger,
        "null_keys": null_keys,
    }


def leakage_report(lines: list[ReportLine]) -> pl.DataFrame:
    """Return the report as a frame, one line per feature."""
    return pl.DataFrame(lines, schema=REPORT_SCHEMA)


def merge_reports(reports: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Merge the reports of disjoint rows.

    Counts and extremes are those of all rows. ``age_median`` is the median of the reports' medians, each weighed by its
    rows: shards by a hash of the entity differ little.
    """
    present = [report for report in reports if report.height]
    if len(present) < 2:
        return present[0] if present else leakage_report([])
    counts = ["rows", "present", "null", "not_found", "expired", "defaulted", "younger", "null_keys"]
    nulls = (pl.col("null_share") * pl.col("rows")).sum() / pl.col("rows").sum()
    by_age = pl.struct("age_median", "rows").sort_by("age_median").drop_nulls()
    found = pl.concat(present).group_by("feature", "table", maintain_order=True).agg(
        *(pl.col(c).sum() for c in counts), nulls.alias("null_share"), pl.col("age_min").min(),
        pl.col("age_max").max(), by_age.alias("medians"),
    )  # fmt: skip
    medians = [_weighted_median(m) for m in found["medians"].to_list()]
    ages = pl.Series("age_median", medians, dtype=pl.Duration("us"))
    return found.drop("medians").with_columns(ages).select(list(REPORT_SCHEMA))


def _weighted_median(medians: list[dict[str, object]]) -> timedelta | None:
    known = [(cast(timedelta, m["age_median"]), cast(int, m["rows"])) for m in medians if m["age_median"] is not None]
    half, passed = sum(rows for _, rows in known) / 2, 0
    for age, rows in known:
        passed += rows
        if passed >= half:
            return age
    return None


def leak_messages(report: pl.DataFrame) -> list[str]:
    """Return one message for each feature with values younger than their spine row."""
    young = report.filter(pl.col("younger") > 0)
    return [
        f"leakage: {r['younger']} of {r['rows']} values of feature {r['feature']!r} ({r['table']}) are younger than "
        "their row"
        for r in young.iter_rows(named=True)
    ]
