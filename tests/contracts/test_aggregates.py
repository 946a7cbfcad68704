"""Every aggregate in every window engine gives what plain loops give; a missing form is reported by its name."""

from __future__ import annotations

import math
import statistics as plain
from datetime import UTC, date, datetime, timedelta
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from karat.declare import Column, FeatureTable, GoldTable, aggregate
from karat.declare.features import Function
from karat.features import compute_frame
from karat.features import engine as feature_engine
from karat.features.aggregates import AGGREGATES, Aggregation
from karat.features.request_features import finish
from karat.features.windows import DailyQuery
from tests.profiles import examples

START = datetime(2024, 2, 28, tzinfo=UTC)  # a leap day follows
DAYS = (START.date(), START.date() + timedelta(days=5))
SOURCE = GoldTable(
    name="sales",
    description="",
    key=("id",),
    event_time="at",
    columns={
        "id": Column(dtype="int64"),
        "shop": Column(dtype="string"),
        "at": Column(dtype="timestamp"),
        "amount": Column(dtype="float64"),
        "open": Column(dtype="bool"),
    },
)
#: The column that an aggregate reads here, and the type of its feature, where they are not amount and float64.
COLUMNS = {"share": "open", "count": None}
DTYPES = {"count": "int64", "count_distinct": "int64"}
#: (aggregate, engine) -> why it has no form there. An entry that is no longer true fails, for the xfail is strict.
_IN_SQL = "its tiles are no sums, minima or maxima, so that SQL windows them"
GAPS = {(f, "arrays"): _IN_SQL for f in ("std", "variance", "count_distinct", "first", "last")}


@st.composite
def sales(draw: st.DrawFn) -> pl.DataFrame:
    """Up to 20 sales of two shops in six days, some at one time, with nulls and numbers that are not finite."""
    amounts = st.one_of(st.none(), st.just(math.nan), st.just(math.inf), st.integers(-40, 40).map(lambda n: n / 4))
    seconds = st.one_of(st.integers(0, 6 * 86_400 - 1), st.sampled_from([0, 86_400, 86_401]))
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), seconds, amounts, st.one_of(st.none(), st.booleans())),
            min_size=1,
            max_size=20,
        )
    )
    return pl.DataFrame(
        [(i, shop, START + timedelta(seconds=s), amount, is_open) for i, (shop, s, amount, is_open) in enumerate(rows)],
        schema={
            "id": pl.Int64,
            "shop": pl.String,
            "at": pl.Datetime("us", "UTC"),
            "amount": pl.Float64,
            "open": pl.Boolean,
        },
        orient="row",
    )


def expected(function: str, rows: list[dict]) -> object:
    """What the aggregate of ``rows``, in their order, means."""
    column = COLUMNS.get(function, "amount")
    values = [1 if column is None else row[column] for row in rows]
    values = [v for v in values if v is not None and (isinstance(v, bool) or math.isfinite(v))]
    match function:
        case "sum":
            return math.fsum(values)
        case "count":
            return len(values)
        case "count_distinct":
            return len(set(values))
        case "mean" | "share":
            return math.fsum(values) / len(values) if values else None
        case "std" | "variance":
            spread = {"std": plain.stdev, "variance": plain.variance}[function]
            return spread(values) if len(values) > 1 else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "first":
            return values[0] if values else None
        case "last":
            return values[-1] if values else None
    raise AssertionError(f"the oracle does not know the aggregate {function!r}: say here what it means")


def table(function: Function, window: str | None, **kind: object) -> FeatureTable:
    feature = aggregate(
        "value",
        function,
        COLUMNS.get(function, "amount"),
        window=window,
        dtype=DTYPES.get(function, "float64"),
        description="",
    )
    return FeatureTable(name="t", description="", source="sales", entity=("shop",), features=(feature,), **kind)


def assert_same(found: object, wanted: object) -> None:
    if found is None or wanted is None:
        assert found is wanted
    else:
        assert math.isclose(float(found), float(wanted), rel_tol=1e-9, abs_tol=1e-9)


def ordered(gold: pl.DataFrame, shop: str) -> list[dict]:
    return gold.filter(pl.col("shop") == shop).sort("at", "id").to_dicts()


def check_daily(function: Function, gold: pl.DataFrame) -> None:
    """Windows of three days, with the rows of idle days."""
    found = compute_frame(table(function, "3d", time="day", rows="window"), gold, DAYS, source=SOURCE)
    for shop, day, value in found.rows():
        first: date = day - timedelta(days=2)
        assert_same(value, expected(function, [r for r in ordered(gold, shop) if first <= r["at"].date() <= day]))


def by_sql(function: Function, gold: pl.DataFrame, patch: pytest.MonkeyPatch) -> None:
    assert AGGREGATES[function].daily is not None, f"{function} has no daily form"
    patch.setattr(feature_engine, "FUNCTIONS", ())  # no window is left to arrays
    check_daily(function, gold)


def by_arrays(function: Function, gold: pl.DataFrame, patch: pytest.MonkeyPatch) -> None:
    feature = table(function, "3d", time="day").features[0]
    query = DailyQuery(table(function, "3d", time="day"), ("at", "id"))
    form = AGGREGATES[function].daily
    assert form is not None, f"{function} has no daily form"
    form(query, Aggregation(feature, feature.column, "DOUBLE"))
    assert query.tile_windows, f"{function} has no form in arrays"
    assert all(over.function for over in query.tile_windows), f"{function} has no form in arrays"
    check_daily(function, gold)


def without_time(function: Function, gold: pl.DataFrame, patch: pytest.MonkeyPatch) -> None:
    found = compute_frame(table(function, None), gold, source=SOURCE)
    for shop, value in found.rows():
        assert_same(value, expected(function, ordered(gold, shop)))


EVENTS = {"time": "at", "event_id": "id", "grain": "event"}


def before(gold: pl.DataFrame, shop: str, at: datetime) -> list[dict]:
    return [r for r in ordered(gold, shop) if at - timedelta(days=2) <= r["at"] < at]


def by_event(function: Function, gold: pl.DataFrame, patch: pytest.MonkeyPatch) -> None:
    assert AGGREGATES[function].event is not None, f"{function} has no event form"
    found = compute_frame(table(function, "2d", **EVENTS), gold, source=SOURCE)
    assert found.height == gold.height
    for shop, at, _, value in found.rows():
        assert_same(value, expected(function, before(gold, shop, at)))


def at_request(function: Function, gold: pl.DataFrame, patch: pytest.MonkeyPatch) -> None:
    assert AGGREGATES[function].request is not None, f"{function} has no request form"
    rows = gold.filter(pl.col("shop") == gold["shop"][0]).sort("at", "id")
    tail = {
        "at": rows["at"].dt.epoch("us").to_numpy(),
        "id": rows["id"].to_numpy(),
        "amount": rows["amount"].fill_null(math.nan).to_numpy(),
        "open": np.array(rows["open"].to_list(), dtype=object),
    }
    declared = table(function, "2d", **EVENTS)
    for at in rows["at"]:
        moment = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        (value,) = finish(declared, tail, moment, None, ["value"])
        assert_same(value, expected(function, before(gold, gold["shop"][0], at)))


ENGINES = {"daily": by_sql, "arrays": by_arrays, "static": without_time, "events": by_event, "request": at_request}


def cells() -> list:
    """Every aggregate in every engine; a gap is a strict xfail with its reason."""
    return [
        pytest.param(
            function,
            engine,
            id=f"{function}-{engine}",
            marks=[pytest.mark.xfail(strict=True, reason=GAPS[function, engine])] if (function, engine) in GAPS else [],
        )
        for function in AGGREGATES
        for engine in ENGINES
    ]


@pytest.mark.parametrize(("function", "engine"), cells())
def test_an_aggregate_means_the_same_in_every_engine(function, engine):
    # A gap fails with the first example: there is nothing to shrink.
    few = (
        {"max_examples": 1, "phases": [Phase.generate]}
        if (function, engine) in GAPS
        else {"max_examples": examples(15)}
    )

    @settings(deadline=None, **few)
    @given(sales())
    def check(gold):
        with pytest.MonkeyPatch.context() as patch:
            ENGINES[engine](function, gold, patch)

    check()


def test_every_declared_aggregate_is_in_the_registry():
    assert set(get_args(Function)) == set(AGGREGATES)
