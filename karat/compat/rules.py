"""Rules of feature values: declared type, range of the aggregation, nulls and table checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from karat.compat.declaration_index import DeclarationIndex, FeatureSelection
from karat.declare import Feature
from karat.declare.checks import RowCheck
from karat.dtypes import POLARS
from karat.errors import FeatureNotFound, WrongCall

#: Aggregations of no rows that are 0 instead of null.
_ZERO_IF_EMPTY = ("count", "count_distinct", "sum")
_NON_NEGATIVE = ("count", "count_distinct", "share", "std", "variance")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_TYPE_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "float64": (_is_number, "a finite number"),
    "int64": (lambda v: _is_number(v) and float(v).is_integer(), "a whole number"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "string": (lambda v: isinstance(v, str), "a text"),
    "date": (lambda v: isinstance(v, date) and not isinstance(v, datetime), "a date"),
    "timestamp": (lambda v: isinstance(v, datetime) and v.tzinfo is not None, "a time with its zone"),
}


def rule_errors(declared: DeclarationIndex, features: Mapping[str, Any]) -> list[str]:
    """Return one line per rule that a value breaks, and per name that no table has.

    Args:
        declared: Index of the declarations.
        features: Feature name -> value.

    Returns:
        The lines; empty if all rules hold.
    """
    errors: list[str] = []
    sound: dict[tuple[str, str], tuple[FeatureSelection, dict[str, Any]]] = {}
    for name, given in features.items():
        try:
            found = declared.feature(name)
        except (FeatureNotFound, WrongCall) as error:
            errors.append(f"{name}: {error.what}. {error.remedy}")
            continue
        value = given.item() if hasattr(given, "item") else given  # a NumPy scalar
        feature = next(f for f in found.table.stored if f.name == found.features[0])
        problem = _value_error(feature, value)
        if problem:
            errors.append(f"{name}: {problem}")
        else:
            sound.setdefault((found.project.name, found.table.name), (found, {}))[1][feature.name] = value
    return errors + [line for found, values in sound.values() for line in _check_errors(found, values)]


def _value_error(feature: Feature, value: Any) -> str | None:
    """Return the first rule of the feature that the value breaks."""
    if value is None:
        never = feature.function in _ZERO_IF_EMPTY
        return f"it is null, and a {feature.function} of no rows is 0" if never else None
    fits, expected = _TYPE_CHECKS[feature.dtype]
    if not fits(value):
        return f"{value!r} is not {expected}"
    if feature.function in _NON_NEGATIVE and value < 0:
        return f"{value!r} is below 0, and it is a {feature.function}"
    if feature.function == "share" and value > 1:
        return f"{value!r} is above 1, and it is a share"
    return None


def _check_errors(found: FeatureSelection, values: dict[str, Any]) -> list[str]:
    """Run the table's row checks whose columns are all given; warnings and quarantine count as errors here."""
    types = {f.name: POLARS[f.dtype] for f in found.table.stored if f.name in values}
    row = pl.DataFrame([values], schema=types)
    checks = [c for c in found.table.declared_checks if isinstance(c, RowCheck) and set(c.columns) <= set(values)]
    return [
        f"{', '.join(check.columns)}: {reason}"
        for check in checks
        for broken, reason in check.reasons()
        if row.select(broken).item()
    ]
