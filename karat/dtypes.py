"""The declared data types, and what each is in Arrow, Polars and NumPy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, get_args

import polars as pl
import pyarrow as pa

Dtype = Literal["string", "int64", "float64", "bool", "date", "timestamp"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
#: What a sequence holds.
SEQUENCE_TYPES: tuple[Dtype, ...] = ("float64", "int64", "bool")

#: The Arrow type of every time in the lake.
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

#: Declared type -> the Arrow type in which the lake stores it.
ARROW: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": UTC_MICROSECONDS,
}

#: Declared type -> the Polars type in which rows are held in memory.
POLARS: Mapping[str, pl.DataType] = {
    "string": pl.String(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}

#: Declared type -> the NumPy type of its values. Text has none: it stays an array of objects.
NUMPY: Mapping[str, str] = {
    "int64": "int64",
    "float64": "float64",
    "bool": "bool",
    "date": "datetime64[D]",
    "timestamp": "datetime64[us]",
}

#: The declared types that a key column may have: those whose values compare exactly.
KEY_TYPES: tuple[Dtype, ...] = ("string", "int64", "date", "timestamp")

_POLARS_OF_ARROW = {ARROW[name]: POLARS[name] for name in DTYPES}
_ARROW_OF_TEXT = {str(kind): kind for kind in ARROW.values()}


def dtype_of(kind: pa.DataType) -> Dtype | Literal["other"]:
    """The declared type that holds the values of an Arrow type.

    Args:
        kind: any Arrow type.

    Returns:
        A name of ``DTYPES``, or ``other`` for lists, structs and the like.
    """
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float64"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_dictionary(kind):
        return dtype_of(kind.value_type)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return "string" if text else "other"


def dtype_of_polars(kind: pl.DataType) -> Dtype | Literal["other"]:
    """The declared type that holds the values of a Polars type.

    Args:
        kind: any Polars type.

    Returns:
        A name of ``DTYPES``, or ``other`` for lists, structs, durations and the like.
    """
    if kind.is_integer():
        return "int64"
    if kind.is_float() or kind.is_decimal():
        return "float64"
    if isinstance(kind, pl.Boolean):
        return "bool"
    if isinstance(kind, pl.Date):
        return "date"
    if isinstance(kind, pl.Datetime):
        return "timestamp"
    return "string" if isinstance(kind, pl.String | pl.Categorical | pl.Enum) else "other"


def polars_type(kind: pa.DataType) -> pl.DataType:
    """The Polars type in which rows of an Arrow type are held.

    Args:
        kind: any Arrow type, nested ones too.

    Returns:
        Its Polars type.
    """
    if kind in _POLARS_OF_ARROW:
        return _POLARS_OF_ARROW[kind]
    return pl.Series(pl.from_arrow(pa.array([], kind))).dtype


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type that ``str(type)`` gave as text.

    Args:
        text: as in ``date32[day]`` or ``double``.

    Returns:
        The Arrow type.

    Raises:
        ValueError: no type is written like that.
    """
    return _ARROW_OF_TEXT[text] if text in _ARROW_OF_TEXT else pa.type_for_alias(text)


def decimal_type(field: pa.Field) -> pl.Decimal | None:
    """The decimal type in which a column of a table was given, which the lake keeps as doubles.

    Args:
        field: A column of the lake; its ``karat.type`` says how it came.

    Returns:
        The type; None if the column came as something else.
    """
    came = (field.metadata or {}).get(b"karat.type", b"").decode()
    found = re.fullmatch(r"decimal\d+\((\d+), (\d+)\)", came)
    return pl.Decimal(int(found[1]), int(found[2])) if found else None


def to_decimals(values: pl.Series, kind: pl.Decimal) -> pl.Series:
    """The decimals that doubles are shown as; null where a double has more digits behind the point than the type.

    Args:
        values: Doubles.
        kind: The decimal type.

    Returns:
        The decimals. Up to 15 digits each is the one that was given.
    """
    made = values.cast(pl.String).str.to_decimal(scale=kind.scale).cast(kind, strict=False)
    doubtful = values.is_not_null() & (made.is_null() | (made.cast(pl.Float64) != values)).fill_null(True)
    if not doubtful.any():
        return made
    parts = [_decimal(v, kind) if doubt else d for v, doubt, d in zip(values, doubtful, made, strict=True)]
    return pl.Series(values.name, parts, dtype=kind)


def _decimal(value: float, kind: pl.Decimal) -> Decimal | None:
    """The decimal that a double is shown as; None if the type does not hold it."""
    if value - value != 0:  # infinity and NaN are no decimals
        return None
    exact = Decimal(repr(value))
    _, _, exponent = exact.normalize().as_tuple()
    whole = abs(exact) < Decimal(10) ** ((kind.precision or 38) - kind.scale)
    return exact if whole and isinstance(exponent, int) and exponent >= -kind.scale else None
