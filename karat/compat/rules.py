"""What a feature's value must be by its declaration: its type, the range that its aggregation has, nulls, checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from karat.compat.declaration_index import DeclarationIndex, FoundDeclaration
from karat.declare import Feature
from karat.declare.checks import RowCheck
from karat.dtypes import POLARS
from karat.errors import FeatureNotFound, WrongCall

#: Aggregations of no rows that are 0 instead of null.
_NEVER_NULL = ("count", "count_distinct", "sum")
_LOWEST_0 = ("count", "count_distinct", "share", "std", "variance")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_FITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "float64": (_number, "a finite number"),
    "int64": (lambda v: _number(v) and float(v).is_integer(), "a whole number"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "string": (lambda v: isinstance(v, str), "a text"),
    "date": (lambda v: isinstance(v, date) and not isinstance(v, datetime), "a date"),
    "timestamp": (lambda v: isinstance(v, datetime) and v.tzinfo is not None, "a time with its zone"),
}


def broken_rules(declared: DeclarationIndex, features: Mapping[str, Any]) -> list[str]:
    """One line for each rule that a value breaks, and for each name that no table has."""
    errors: list[str] = []
    sound: dict[tuple[str, str], tuple[FoundDeclaration, dict[str, Any]]] = {}
    for name, given in features.items():
        try:
            found = declared.feature(name)
        except (FeatureNotFound, WrongCall) as error:
            errors.append(f"{name}: {error.what}. {error.remedy}")
            continue
        value = given.item() if hasattr(given, "item") else given  # a NumPy scalar
        feature = next(f for f in found.table.stored if f.name == found.features[0])
        problem = _problem(feature, value)
        if problem:
            errors.append(f"{name}: {problem}")
        else:
            sound.setdefault((found.project.name, found.table.name), (found, {}))[1][feature.name] = value
    return errors + [line for found, values in sound.values() for line in _checked(found, values)]


def _problem(feature: Feature, value: Any) -> str | None:
    """The first rule of the feature itself that the value breaks."""
    if value is None:
        never = feature.function in _NEVER_NULL
        return f"it is null, and a {feature.function} of no rows is 0" if never else None
    fits, expected = _FITS[feature.dtype]
    if not fits(value):
        return f"{value!r} is not {expected}"
    if feature.function in _LOWEST_0 and value < 0:
        return f"{value!r} is below 0, and it is a {feature.function}"
    if feature.function == "share" and value > 1:
        return f"{value!r} is above 1, and it is a share"
    return None


def _checked(found: FoundDeclaration, values: dict[str, Any]) -> list[str]:
    """The row checks of the table whose columns are all given. What only warns or sets aside is an error here too."""
    types = {f.name: POLARS[f.dtype] for f in found.table.stored if f.name in values}
    row = pl.DataFrame([values], schema=types)
    checks = [c for c in found.table.declared_checks if isinstance(c, RowCheck) and set(c.columns) <= set(values)]
    return [
        f"{', '.join(check.columns)}: {reason}"
        for check in checks
        for broken, reason in check.reasons()
        if row.select(broken).item()
    ]
