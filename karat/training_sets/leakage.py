"""The leakage report: of every looked-up feature, how old its values are and what was missing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

SCHEMA: dict[str, Any] = {
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


def describe(
    name: str, table: str, values: pl.Series, statuses: pl.Series, age: pl.Series, *, null_keys: int = 0
) -> dict[str, Any]:
    """One line of the report. ``age`` is the spine row's time less the time of the row used, null where none was;
    of a sequence that of its newest row, and ``null_share`` then counts its elements, padding too;
    ``younger`` counts values whose row is of a later time than their spine row: each of them is a leak; ``null_keys``
    spine rows without a whole key, for which nothing could be looked up."""
    counts = dict(statuses.cast(pl.String).value_counts().iter_rows())
    rows = len(values)
    elements = values.explode() if values.dtype == pl.Array and rows else values
    return {
        "feature": name,
        "table": table,
        "rows": rows,
        "null_share": elements.null_count() / len(elements) if rows else 0.0,
        **{s.lower(): counts.get(s, 0) for s in ("PRESENT", "NULL", "NOT_FOUND", "EXPIRED", "DEFAULTED")},
        "age_min": age.min(),
        "age_median": age.median(),
        "age_max": age.max(),
        "younger": int((age < timedelta(0)).sum()),
        "null_keys": null_keys,
    }


def report(lines: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema=SCHEMA)


def leaks(found: pl.DataFrame) -> list[str]:
    """One line for each feature with values that are younger than their spine row."""
    young = found.filter(pl.col("younger") > 0)
    return [
        f"feature {r['feature']!r} of {r['table']}: {r['younger']} of {r['rows']} values are younger than their row"
        for r in young.iter_rows(named=True)
    ]
