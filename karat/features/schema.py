"""Schema of a feature table, and lossless casts of values to it."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from karat.declare import Feature, FeatureTable, GoldTable
from karat.dtypes import ARROW, KEY_TYPES, POLARS
from karat.errors import did_you_mean
from karat.features.expressions import ExpressionPlace


def feature_schema(table: FeatureTable, source: GoldTable) -> pa.Schema:
    """Keys with the types of gold, then the stored features; keys are not nullable.

    Raises DeclarationError where a key column is not in gold or of a type that can't be a key.
    """
    place = ExpressionPlace(table.name)
    fields = [
        _time_field(table) if column == table.time else _key_field(column, source, place)
        for column in table.primary_key
    ]
    fields += [pa.field(f.name, ARROW[f.dtype], metadata={"comment": _comment(f)}) for f in table.stored]
    return pa.schema(fields)


def _time_field(table: FeatureTable) -> pa.Field:
    assert table.time is not None
    assert table.time_dtype is not None
    return pa.field(table.time, ARROW[table.time_dtype], nullable=False, metadata={"comment": table.time_description})


def _key_field(column: str, source: GoldTable, place: ExpressionPlace) -> pa.Field:
    if column not in source.columns:
        near = did_you_mean(column, source.columns)
        raise place.error(f"gold table {source.name!r} has no column {column!r}", remedy=near)
    declared = source.columns[column]
    if declared.dtype not in KEY_TYPES:
        raise place.error(
            f"the key column {column!r} is {declared.dtype}", remedy=f"keys are of {', '.join(KEY_TYPES)}"
        )
    return pa.field(column, ARROW[declared.dtype], nullable=False, metadata={"comment": declared.description})


def _comment(feature: Feature) -> str:
    return f"{feature.description} (deprecated: {feature.deprecated})" if feature.deprecated else feature.description


def to_declared(column: pl.Series, dtype: str, place: ExpressionPlace) -> pl.Series:
    """``column`` in the declared type. DeclarationError where that would lose something (1.5 -> int64)."""
    target = POLARS[dtype]
    if column.dtype == target:
        return column
    try:
        if isinstance(column.dtype, pl.Datetime) and isinstance(target, pl.Datetime) and not column.dtype.time_zone:
            return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        if column.dtype.is_float() and target.is_integer():
            _refuse_fractions(column, place)
        if column.dtype == pl.String and not isinstance(target, pl.String):
            raise place.error(f"it gives text, declared is {dtype}", remedy="declare dtype='string', or cast it")
        return column.cast(target, strict=True)
    except pl.exceptions.PolarsError as error:
        raise place.error(
            f"its values ({column.dtype}) are not {dtype}: {str(error).splitlines()[0]}",
            remedy="declare the dtype that they have, or cast them",
        ) from error


def _refuse_fractions(column: pl.Series, place: ExpressionPlace) -> None:
    lost = int((column.is_not_null() & (~column.is_finite() | (column != column.round(0)))).sum())
    if lost:
        raise place.error(
            f"{lost} of its values are no whole numbers, declared is int64",
            remedy="declare dtype='float64', or round them",
        )
