"""One entity's values as NumPy arrays, and aggregations of a stretch of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from karat.declare.features import Function
from karat.features.aggregates import AGGREGATES, form_of
from karat.features.expressions import ExpressionPlace


@dataclass(frozen=True)
class MaskedValues:
    """One entity's values as an array, ``(events,)``, and where they are valid; ``valid`` None: everywhere."""

    array: np.ndarray
    valid: np.ndarray | None

    @property
    def true(self) -> np.ndarray:
        """Where a condition holds; a missing one does not."""
        holds = self.array.astype(bool)
        return holds if self.valid is None else holds & self.valid

    def of(self, rows: np.ndarray) -> MaskedValues:
        """The values of some rows, by a boolean mask."""
        return MaskedValues(self.array[rows], None if self.valid is None else self.valid[rows])


def values_of(array: np.ndarray) -> MaskedValues:
    """A column as values; numbers that are not finite are missing, as in the engine."""
    kind = array.dtype.kind
    if kind == "f":
        valid = np.isfinite(array)
    elif kind == "O":
        valid = np.array([finite(v) is not None for v in array], dtype=bool)
    elif kind == "M":
        valid = ~np.isnat(array)
    else:
        return MaskedValues(array, None)
    return MaskedValues(array, None if valid.all() else valid)


def finite(value: object) -> object:
    """The value, or None for a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def reduced(function: Function, dtype: str, values: MaskedValues | None, bounds: tuple[int, int]) -> object:
    """Aggregate the values in [low, high); without ``values`` their rows. Without any, the aggregate's ``empty``."""
    low, high = bounds
    if values is None:
        return high - low
    array = values.array[low:high]
    if values.valid is not None:
        array = array[values.valid[low:high]]
    aggregate = AGGREGATES[function]
    if not len(array):
        return aggregate.empty
    return form_of(function, "request", aggregate.request)(array, dtype)


def typed(value: object, dtype: str, table: str, feature: str) -> object:
    """Convert a value to Python's form of the declared type.

    Raises:
        DeclarationError: The conversion would lose something.
    """
    if value is None:
        return None
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item().replace(tzinfo=UTC)
    elif isinstance(value, np.generic):
        value = value.item()
    try:
        return _TYPES[dtype](value)
    except (TypeError, ValueError) as error:
        raise ExpressionPlace(table, feature).error(
            f"its value {value!r} is not {dtype}", remedy="declare the dtype that it has, or cast it"
        ) from error


def _whole(value: Any) -> int:
    number = int(value)
    if number != value:
        raise ValueError(value)
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _day(value: Any) -> date:
    return value.date() if isinstance(value, datetime) else value


_TYPES: dict[str, Callable[[Any], Any]] = {
    "float64": float,
    "int64": _whole,
    "bool": bool,
    "string": _text,
    "timestamp": _time,
    "date": _day,
}
