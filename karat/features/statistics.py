"""Statistics of a feature table's columns, for the catalogue and for a run's artifacts."""

from __future__ import annotations

import polars as pl

from karat.dtypes import dtype_of_polars
from karat.lake import Lake
from karat.names import TableName

_NONE = pl.lit(None, dtype=pl.Float64)


def statistics(lake: Lake, name: TableName, version: int | None = None) -> pl.DataFrame:
    """One row per feature: feature, dtype, count (values that are not null), null_rate, min, max, mean, std, distinct.

    min, max, mean and std are those of finite numbers, a flag counting as 0 or 1; null for text and times. An empty
    table has a null_rate of null. Raises TableNotFound.
    """
    info = lake.info(name, version)
    features = [f.name for f in info.schema if f.name not in info.primary_key]
    rows = lake.scan(name, version).select(features)
    types = rows.collect_schema()
    frames = [rows.select(_describe(c, types[c])) for c in features]
    if not frames:
        return pl.DataFrame(schema=_SCHEMA)
    return pl.concat(pl.collect_all(frames, engine="streaming")).cast(_SCHEMA)  # type: ignore[arg-type]


_SCHEMA = {
    "feature": pl.String,
    "dtype": pl.String,
    "count": pl.Int64,
    "null_rate": pl.Float64,
    "min": pl.Float64,
    "max": pl.Float64,
    "mean": pl.Float64,
    "std": pl.Float64,
    "distinct": pl.Int64,
}


def _describe(name: str, dtype: pl.DataType) -> list[pl.Expr]:
    column, finite, declared = pl.col(name), finite_numbers(name, dtype), dtype_of_polars(dtype)
    return [
        pl.lit(name).alias("feature"),
        pl.lit(str(dtype) if declared == "other" else declared).alias("dtype"),
        column.count().alias("count"),
        pl.when(pl.len() > 0).then(column.null_count() / pl.len()).alias("null_rate"),
        (finite.min() if finite is not None else _NONE).alias("min"),
        (finite.max() if finite is not None else _NONE).alias("max"),
        (finite.mean() if finite is not None else _NONE).alias("mean"),
        (finite.std() if finite is not None else _NONE).alias("std"),
        column.drop_nulls().n_unique().alias("distinct"),
    ]


def finite_numbers(name: str, dtype: pl.DataType) -> pl.Expr | None:
    """The column's finite numbers, a flag as 0 or 1; None for texts and times."""
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        return None
    numbers = pl.col(name).cast(pl.Float64)
    return numbers.filter(numbers.is_finite())
