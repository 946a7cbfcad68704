"""The baseline of a label over a window: the same aggregate of the past, by whichever feature holds it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from karat.declare import FeatureTable, aggregate, from_event
from karat.declare.models import Baseline, Label, Lookup, ModelSpec
from karat.declare.past_window import past_window_baseline, past_window_feature, with_past_window

SHARED: dict[str, Any] = {"description": "d", "source": "orders", "entity": ("customer",)}
TOLD: dict[str, Any] = {"description": "d"}
DAYS = FeatureTable(
    name="days",
    time="day",
    features=(
        aggregate("orders_7d", "count", window="7d", **TOLD),
        aggregate("orders_28d", "count", window="28d", **TOLD),
        aggregate("web_28d", "count", window="28d", where="channel = 'web'", **TOLD),
        aggregate("plans_28d", "count_distinct", "plan", window="28d", **TOLD),
        aggregate("amount_7d", "sum", '"amount"', window="7d", **TOLD),
        aggregate("paid_28d", "share", "paid", window="28d", **TOLD),
        aggregate("mean_7d", "mean", "amount", window="7d", **TOLD),
        aggregate("mean_28d", "mean", "amount", window="28d", **TOLD),
    ),
    **SHARED,
)
EVENTS = FeatureTable(
    name="events",
    time="at",
    event_id="number",
    grain="event",
    features=(
        from_event("load", **TOLD),
        aggregate("load_3h", "mean", "load", window="3h", **TOLD),
        aggregate("load_1d", "mean", "load", window="1d", **TOLD),
        aggregate("rows_1d", "count", window="1d", **TOLD),
        aggregate("late_1d", "mean", "size", window="1d", delay="1d", **TOLD),
    ),
    **SHARED,
)


def baseline(table: FeatureTable, expression: str, horizon: str, task: str = "regression", **more: Any) -> Any:
    label = Label(source="orders", expression=expression, horizon=horizon, offset="1d", **more)  # type: ignore[arg-type]
    found = past_window_baseline(task, label, table, [table])
    return None if found is None else (found.feature, found.scale)


@pytest.mark.parametrize(
    ("expression", "horizon", "more", "expected"),
    [
        ("count(*)", "7d", {}, ("orders_28d", 0.25)),
        ("COUNT( * )", "14d", {}, ("orders_28d", 0.5)),
        ("count()", "28d", {}, ("orders_28d", 1.0)),
        ("count(*)", "7d", {"where": "channel = 'web'"}, ("web_28d", 0.25)),
        ("count(*) FILTER (WHERE channel='web')", "7d", {}, ("web_28d", 0.25)),
        ("count(*)", "7d", {"where": "channel = 'shop'"}, None),
        ("count(DISTINCT plan)", "7d", {}, ("plans_28d", 1.0)),
        ("sum(amount)", "14d", {}, ("amount_7d", 2.0)),
        ('avg("amount")', "14d", {}, ("mean_7d", 1.0)),
        ("avg(amount)", "21d", {}, ("mean_28d", 1.0)),
        ("avg((paid)::int)", "7d", {}, ("paid_28d", 1.0)),
        ("sum(amount) + sum(size)", "7d", {}, None),
        ("sum(size)", "7d", {}, None),
        ("median(amount)", "7d", {}, None),
    ],
)
def test_the_same_aggregate_of_the_same_rows(expression: str, horizon: str, more: dict[str, Any], expected: Any):
    assert baseline(DAYS, expression, horizon, **more) == expected


def test_a_condition_on_the_table_is_one_on_the_rows():
    table = DAYS.model_copy(update={"where": "channel = 'web'"})
    assert baseline(table, "count(*)", "28d") is None
    assert baseline(table, "count(*)", "28d", where="channel = 'web'") == ("orders_28d", 1.0)


@pytest.mark.parametrize(
    ("expression", "horizon", "expected"),
    [
        ("avg(load)", "1h", ("load", 1.0)),
        ("avg(load)", "4h", ("load_3h", 1.0)),
        ("avg(load)", "20h", ("load_1d", 1.0)),
        ("max(load)", "1h", ("load", 1.0)),
        ("count(*)", "6h", ("rows_1d", 0.25)),
        ("avg(size)", "1d", None),  # the window of the past ends a day too early
    ],
)
def test_of_events_the_latest_reading_or_a_window_no_longer_than_the_horizon(
    expression: str, horizon: str, expected: Any
):
    assert baseline(EVENTS, expression, horizon) == expected


@pytest.mark.parametrize(
    ("expression", "horizon", "length", "expected"),
    [
        ("sum(size)", "7d", 28, ("size_1d", 7.0, 7)),
        ("sum(size)", "7d", 3, ("size_1d", 7.0, 3)),
        ("sum(size)", "7d", None, ("size_1d", 7.0, 1)),
        ("avg(size)", "14d", 28, ("size_mean_7d", 1.0, 8)),
        ("max(size)", "7d", 28, ("size_max_1d", 1.0, 1)),
    ],
)
def test_of_a_sequence_the_days_that_make_up_the_horizon(
    expression: str, horizon: str, length: int | None, expected: Any
):
    features = (
        aggregate("size_1d", "sum", "size", window="1d", **TOLD),
        aggregate("size_mean_7d", "mean", "size", window="7d", **TOLD),
        aggregate("size_max_1d", "max", "size", window="1d", **TOLD),
    )
    table = DAYS.model_copy(update={"features": features})
    label = Label(source="orders", expression=expression, horizon=horizon)  # type: ignore[arg-type]
    found = past_window_baseline("regression", label, table, [table], {"days": length})
    assert found is not None
    assert (found.feature, found.scale, found.newest) == expected


def test_no_other_entity_gold_table_or_task():
    label = Label(source="orders", expression="count(*)", horizon=timedelta(days=7))
    assert past_window_baseline("binary", label, DAYS, [DAYS]) is None
    other = DAYS.model_copy(update={"entity": ("shop",)})
    assert past_window_baseline("regression", label, DAYS, [other]) is None
    assert past_window_baseline("regression", label.model_copy(update={"source": "visits"}), DAYS, [DAYS]) is None
    assert past_window_baseline("regression", label.model_copy(update={"horizon": None}), DAYS, [DAYS]) is None


def spec(**more: Any) -> ModelSpec:
    label = {"source": "orders", "expression": "count(*)", "horizon": "7d"}
    fields = {"description": "d", "task": "regression", "kind": "ridge", "label": label, "lookups": ["days"]}
    return ModelSpec(**{**fields, **more})


def test_a_model_without_a_baseline_gets_it_from_the_features_that_it_reads():
    tables = {"days": DAYS}
    assert with_past_window(spec(), tables).baseline == Baseline(strategy="feature", feature="orders_28d", scale=0.25)
    fewer = spec(lookups=[Lookup(table="days", exclude=("orders_28d",))])
    assert with_past_window(fewer, tables).baseline.feature == "orders_7d"
    declared = spec(baseline={"strategy": "mean"})
    assert with_past_window(declared, tables) is declared
    none = spec(lookups=["days:plans_28d"])
    assert with_past_window(none, tables) is none


def test_the_line_that_is_missing_is_named():
    label = Label(source="orders", expression='avg("size")', horizon=timedelta(days=7))
    line = past_window_feature("regression", label)
    assert line.startswith('aggregate("past_7d", "mean", "size", window="7d"')
    made = eval(line, {"aggregate": aggregate})  # what the message shows is a declaration
    table = DAYS.model_copy(update={"features": (made,)})
    assert past_window_baseline("regression", label, table, [table]) == Baseline(strategy="feature", feature="past_7d")
    assert past_window_feature("binary", label) == ""
