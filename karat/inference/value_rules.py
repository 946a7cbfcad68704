"""Value rules: what the gold contract says of the values that a request may bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import polars as pl

from karat.declare import EventFeatureTable, Feature
from karat.declare.checks import Between, IsIn
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import InvalidRequest
from karat.features.request_features import event_columns
from karat.online import Value
from karat.sql import is_column_name
from karat.training_sets.lookups import PinnedLookup

Rule = Between | IsIn
#: Aggregates whose value is one of the column's, and those whose value lies between its least and its greatest.
_ONE_OF, _WITHIN = ("min", "max", "first", "last"), ("mean",)
#: The range of aggregates that have one, whatever they aggregate.
_RANGES: dict[str, tuple[float, float | None]] = {
    "count": (0, None),
    "count_distinct": (0, None),
    "std": (0, None),
    "variance": (0, None),
    "share": (0, 1),
}


class ValueRules:
    """The rules of a model's features and of its events' own columns.

    A feature that takes a gold column over (``from_event``, ``min``, ``max``, ``first``, ``last`` of it) has that
    column's rules; a mean lies within its range. Checks of the feature table that block or set aside count too.
    """

    def __init__(self, lookups: Sequence[PinnedLookup], projects: ProjectCatalog) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for lookup in lookups:
            for name, rule in _rules(lookup, projects):
                self._rules.setdefault(name, []).append(rule)

    def check(self, given: Mapping[str, Value], where: str = "features") -> None:
        """Check the values that a request brings.

        Raises:
            InvalidRequest: A value breaks a rule; names the field and the rule.
        """
        for name, value in given.items():
            for rule in self._rules.get(name, ()):
                if value is not None and not _keeps(value, rule):
                    raise InvalidRequest(
                        f"{value!r} is no value of {name!r}: {rule.rule}",
                        where=f"{where}.{name}",
                        remedy="give a value that the project's contract allows, or null where it is not known",
                    )

    def check_frame(self, given: pl.DataFrame) -> None:
        """Check the columns that a frame brings; a null or NaN is no value.

        Raises:
            InvalidRequest: Values break a rule; names the column, the rule, and the first of them.
        """
        for column in given:
            for rule in self._rules.get(column.name, ()):
                if isinstance(rule, Between) and not column.dtype.is_numeric():
                    continue
                known = given.lazy().select(pl.col(column.name)).with_row_index("row", 1).drop_nulls().drop_nans()
                broken = known.filter(rule.model_copy(update={"column": column.name}).broken()).collect()
                if broken.height:
                    row, value = broken.row(0)
                    raise InvalidRequest(
                        f"{broken.height} of {given.height} values of {column.name!r} are not allowed: {rule.rule}; "
                        f"the first is {value!r}",
                        where=f"column {column.name}, row {row}",
                        remedy="give values that the project's contract allows, or null where one is not known",
                    )


def _rules(lookup: PinnedLookup, projects: ProjectCatalog) -> Iterator[tuple[str, Rule]]:
    project = projects.of(lookup.table)
    if project is None or lookup.sequence_length is not None:
        return
    table = project.tables[lookup.table.table]
    source = project.gold.get(table.source)
    gold = [r for r in source.aside_rules if isinstance(r, Rule)] if source is not None else []
    features = {f.name: f for f in table.stored}
    checks = [c for c in table.declared_checks if isinstance(c, Rule) and c.on_fail != "warn"]
    for name, output in lookup.columns.items():
        for rule in _feature_rules(features[name], gold) if name in features else ():
            yield output, rule
        yield from ((output, check) for check in checks if check.column == name)
    if isinstance(table, EventFeatureTable):
        for rule in gold:
            if rule.column in event_columns(table):
                yield rule.column, rule


def _feature_rules(feature: Feature, gold: Sequence[Rule]) -> Iterator[Rule]:
    column = feature.event or feature.column
    if feature.function in _RANGES:
        low, high = _RANGES[feature.function]
        yield Between(column=feature.name, low=low, high=high)
    if column is None or not is_column_name(column):
        return
    kept: Literal["all", "range"] | None = None
    if feature.event or feature.function in _ONE_OF:
        kept = "all"
    elif feature.function in _WITHIN:
        kept = "range"
    for rule in gold:
        if rule.column == column and (kept == "all" or (kept == "range" and isinstance(rule, Between))):
            yield rule


def _keeps(value: Value, rule: Rule) -> bool:
    if isinstance(rule, IsIn):
        return str(value) in rule.values
    if not isinstance(value, int | float):
        return True
    return (rule.low is None or value >= rule.low) and (rule.high is None or value <= rule.high)
