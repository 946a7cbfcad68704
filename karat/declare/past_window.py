"""Baseline of a label over a window: what the same aggregate was over a window of the past, by a feature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from karat.declare.base import format_duration
from karat.declare.feature_tables import FeatureTable
from karat.declare.features import Feature
from karat.declare.models import Baseline, Label, ModelSpec

#: DuckDB's aggregates -> the function of a feature that means the same.
_FUNCTIONS = {
    "sum": "sum",
    "count": "count",
    "avg": "mean",
    "mean": "mean",
    "min": "min",
    "max": "max",
    "stddev": "std",
    "stddev_samp": "std",
    "variance": "variance",
    "var_samp": "variance",
    "first": "first",
    "last": "last",
    "any_value": "last",
}
#: What grows with the window: that of another length is scaled.
_ADDITIVE = ("sum", "count")
#: Of these the mean over several rows stands for a longer window.
_AVERAGED = (*_ADDITIVE, "mean", "share")
_NUMBERS = ("regression", "forecast")
_AGGREGATE = re.compile(r"(\w+)\((distinct)?(.*?)\)(?:filter\(where(.*)\))?", re.IGNORECASE | re.DOTALL)
#: What the aggregate reads: its function, its column (None counts rows), and the conditions on the rows.
_Meaning = tuple[str, str | None, frozenset[str]]


def past_window_baseline(
    task: str,
    label: Label,
    spine: FeatureTable,
    tables: Sequence[FeatureTable],
    sequences: Mapping[str, int | None] | None = None,
) -> Baseline | None:
    """Choose the feature that says what a label over a window was in the past.

    A feature fits if it is the label's aggregate of the same column and rows, over a window before the row. Sums and
    counts take the longest window, scaled to the horizon: it holds the most rows. Other aggregates take the window
    whose length is nearest to the horizon. Of events, a horizon shorter than every window takes the event's own value:
    the next reading is as this one. Of a sequence of days, so many of the newest count as make up the horizon.

    Args:
        task: The model's task.
        label: The model's label.
        spine: The table whose rows are labelled.
        tables: The tables whose features the model reads.
        sequences: Table -> length of the sequence that the model reads of it; None if it is none.

    Returns:
        The baseline; None if the label is no number over a window, or no feature fits.
    """
    if task not in _NUMBERS or label.horizon is None or label.columns:
        return None
    meaning = _meaning(label.expression, label.where)
    if meaning is None:
        return None
    own = [t for t in tables if t.source == label.source and t.entity == spine.entity and t.time is not None]
    found = [
        (f, f.window, t)
        for t in own
        for f in t.stored
        if f.window and not f.delay and not t.delay and _feature_meaning(f, t) == meaning
    ]
    (function, column, _), horizon = meaning, label.horizon
    at_once = None if spine.row_span is not None else _own_value(column, own)
    if at_once is not None and function != "count" and all(window > horizon for _, window, _ in found):
        return Baseline(strategy="feature", feature=at_once)
    if not found:
        return None
    if function in _ADDITIVE:
        feature, window, table = max(found, key=lambda one: one[1])
    else:
        feature, window, table = min(found, key=lambda one: (max(one[1], horizon) / min(one[1], horizon), one[1]))
    scale = round(horizon / window, 6) if function in _ADDITIVE else 1.0
    newest = 1
    if table.row_span is not None and function in _AVERAGED:
        newest = max(1, min((sequences or {}).get(table.name) or 1, (horizon - window) // table.row_span + 1))
    return Baseline(strategy="feature", feature=feature.name, scale=scale, newest=newest)


def past_window_feature(task: str, label: Label) -> str:
    """The line of a feature table that would make such a baseline possible; "" if none would."""
    meaning = _meaning(label.expression, label.where) if task in _NUMBERS and label.horizon is not None else None
    if meaning is None or label.horizon is None or meaning[2]:
        return ""
    function, column, _ = meaning
    window = format_duration(label.horizon)
    read = "" if column is None else f', "{column}"'
    return f'aggregate("past_{window}", "{function}"{read}, window="{window}", description="...")'


def with_past_window(spec: ModelSpec, tables: Mapping[str, FeatureTable]) -> ModelSpec:
    """The declaration, with that baseline where it declares none and one is found."""
    if spec.label is None or "baseline" in spec.model_fields_set:
        return spec
    looked = [_chosen(tables[lookup.table], lookup.features, lookup.exclude) for lookup in spec.lookups]
    lengths = {lookup.table: lookup.sequence_length for lookup in spec.lookups}
    found = past_window_baseline(spec.task, spec.label, tables[spec.spine_table], looked, lengths)
    return spec if found is None else spec.model_copy(update={"baseline": found})


def _chosen(table: FeatureTable, features: Sequence[str], exclude: Sequence[str]) -> FeatureTable:
    """The table with the features that a lookup brings."""
    kept = [f for f in table.features if f.name not in exclude and (features == "*" or f.name in features)]
    return table.model_copy(update={"features": tuple(kept)})


def _meaning(expression: str, where: str | None) -> _Meaning | None:
    """What an SQL expression aggregates; None if it is not one aggregate alone."""
    match = _AGGREGATE.fullmatch(_plain(expression))
    if match is None or match[1].lower() not in _FUNCTIONS or not _is_balanced(match[3]):
        return None
    function, column = _FUNCTIONS[match[1].lower()], match[3] or None
    if match[2]:
        function = "count_distinct" if function == "count" else ""
    elif function == "count" and column in ("*", "1"):
        column = None
    elif function == "mean" and column is not None and column.endswith("::int"):
        function, column = "share", column.removesuffix("::int")
    conditions = frozenset(_plain(text) for text in (where, match[4]) if text)
    return (function, _bare(column), conditions) if function else None


def _feature_meaning(feature: Feature, table: FeatureTable) -> _Meaning:
    conditions = frozenset(_plain(text) for text in (table.where, feature.where) if text)
    return str(feature.function), _bare(_plain(feature.column) if feature.column else None), conditions


def _own_value(column: str | None, tables: Sequence[FeatureTable]) -> str | None:
    """The feature that is this column of the event's own row."""
    return next((f.name for t in tables for f in t.stored if f.event and _plain(f.event) == column), None)


def _plain(sql: str) -> str:
    """SQL without the quotes of plain names and without spaces, of texts as well: compared, never run."""
    return re.sub(r"\s+", "", re.sub(r'"(\w+)"', r"\1", sql))


def _bare(column: str | None) -> str | None:
    """An expression without parentheses around all of it."""
    while column and column.startswith("(") and column.endswith(")") and _is_balanced(column[1:-1]):
        column = column[1:-1]
    return column


def _is_balanced(sql: str) -> bool:
    """Whether every parenthesis closes in it one that it has opened."""
    depth = 0
    for character in sql:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0
