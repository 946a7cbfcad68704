"""From gold rows to feature rows: every aggregation, against plain loops."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import Column, FeatureTable, GoldTable, aggregate, from_polars, from_python, from_sql
from karat.errors import ColumnMissing, DeclarationError
from karat.features import compute_frame
from tests.profiles import examples

EVENTS = GoldTable(
    name="events",
    description="",
    key=("event_id",),
    event_time="at",
    columns={
        "event_id": Column(dtype="int64"),
        "user": Column(dtype="string"),
        "shop": Column(dtype="int64"),
        "at": Column(dtype="timestamp"),
        "amount": Column(dtype="float64"),
        "items": Column(dtype="int64"),
        "what": Column(dtype="string"),
    },
)
TYPES = (pl.Int64(), pl.String(), pl.Int64(), pl.Datetime("us", "UTC"), pl.Float64(), pl.Int64(), pl.String())
SCHEMA = dict(zip(EVENTS.columns, TYPES, strict=True))

START = datetime(2024, 2, 26, tzinfo=UTC)
# Moments at both ends of a day, within one second and far apart; a leap day lies among them.
moments = st.builds(
    lambda day, second: START + timedelta(days=day, seconds=second),
    st.integers(0, 12),
    st.sampled_from([0, 1, 43_200, 86_399]),
)
amounts = st.one_of(
    st.none(), st.sampled_from([float("nan"), float("inf")]), st.integers(-1000, 1000).map(lambda n: n / 8)
)
rows = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", 'it\'s "z"', None]),
        st.sampled_from([1, 2]),
        st.one_of(st.none(), moments, moments, moments),
        amounts,
        st.one_of(st.none(), st.integers(-3, 4)),
        st.sampled_from(["a", "b", None]),
    ),
    max_size=25,
)
COLUMNS = {
    "sum": ("amount", "items"),
    "mean": ("amount", "items"),
    "min": ("amount", "items", "what"),
    "max": ("amount", "items", "what"),
    "std": ("amount", "items"),
    "variance": ("amount",),
    "count": (None, "amount", "what"),
    "count_distinct": ("what", "items", "amount"),
    "share": ("amount > 0",),
    "first": ("what", "items", "amount"),
    "last": ("what", "items", "amount"),
}


def frame_of(drawn):
    return pl.DataFrame([(n, *r) for n, r in enumerate(drawn)], schema=SCHEMA, orient="row")


def dtype_of(function, column):
    if function in ("count", "count_distinct"):
        return "int64"
    if function in ("sum", "min", "max", "first", "last") and column == "items":
        return "int64"
    return "string" if column == "what" else "float64"


@st.composite
def tables(draw):
    features = []
    for function, columns in COLUMNS.items():
        for column in draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2, unique=True)):
            window, where = draw(st.sampled_from([1, 2, 3, 7, 40])), draw(st.sampled_from([None, "items > 1"]))
            features.append(
                aggregate(
                    f"f{len(features)}",
                    function,
                    column,
                    window=timedelta(days=window),
                    where=where,
                    dtype=dtype_of(function, column),
                    description="",
                )
            )
    return FeatureTable(
        name="t",
        description="",
        source="events",
        entity=draw(st.sampled_from([("user",), ("user", "shop")])),
        time="day",
        rows=draw(st.sampled_from(["active", "window"])),
        where=draw(st.sampled_from([None, "what = 'a'"])),
        features=tuple(features),
    )


@settings(max_examples=examples(40), deadline=None)
@given(table=tables(), drawn=rows, data=st.data())
def test_every_aggregation_is_what_plain_loops_say(table, drawn, data, oracle, same_value):
    gold = frame_of(drawn)
    days = None
    if data.draw(st.booleans()):
        first = date(2024, 2, 24) + timedelta(days=data.draw(st.integers(0, 14)))
        days = (first, first + timedelta(days=data.draw(st.integers(0, 8))))
    got = compute_frame(table, gold.lazy() if days else gold, days, source=EVENTS)
    expected = oracle(table, gold, EVENTS, days)
    keys = list(table.primary_key)
    assert got.columns == [*keys, *(f.name for f in table.features)]
    assert got.equals(got.sort(keys))
    assert {tuple(r[k] for k in keys) for r in got.to_dicts()} == set(expected)
    assert got.height == len(expected)
    for row in got.to_dicts():
        for name, value in expected[tuple(row[k] for k in keys)].items():
            assert same_value(row[name], value), (table.features[int(name[1:])], row, value)


def aggregated(*features, rows="active", **more):
    return FeatureTable(
        name="t", description="", source="events", entity=("user",), time="day", rows=rows, features=features, **more
    )


def test_a_day_ends_at_midnight_utc_whatever_the_zone_of_the_column(moment):
    zoned = pl.Series([datetime(2024, 2, 27, 23, 59, 59), datetime(2024, 2, 28, 0, 0, 0)]).dt.replace_time_zone("UTC")
    gold = pl.DataFrame({"user": ["x", "x"], "at": zoned.dt.convert_time_zone("Asia/Tokyo"), "amount": [1.0, 2.0]})
    table = aggregated(aggregate("s", "sum", "amount", window="1d", description=""))
    got = compute_frame(table, gold, source=EVENTS)
    assert got.rows() == [("x", date(2024, 2, 27), 1.0), ("x", date(2024, 2, 28), 2.0)]
    only = compute_frame(table, gold, (date(2024, 2, 28), date(2024, 2, 28)), source=EVENTS)
    assert only.rows() == [("x", date(2024, 2, 28), 2.0)]


def test_variance_of_large_values_does_not_cancel(events):
    gold = events([("x", 1, 1 + n % 5, 1e9 + n % 2, 1, "a") for n in range(40)])
    table = aggregated(aggregate("v", "variance", "amount", window="7d", description=""))
    last = compute_frame(table, gold, source=EVENTS)["v"][-1]
    assert last == pytest.approx(0.25641025641025644, rel=1e-9)
    level = gold.with_columns(amount=pl.lit(0.1))
    assert set(compute_frame(table, level, source=EVENTS)["v"]) == {0.0}


def test_derived_columns_in_order_of_declaration_and_intermediate_ones_dropped(events):
    gold = events([("x", 1, 1, 2.0, 1, "a"), ("x", 1, 2, 4.0, 1, "a")])
    table = aggregated(
        aggregate("s", "sum", "amount", window="2d", description="", intermediate=True),
        aggregate("n", "count", window="2d", description=""),
        from_polars("mean", pl.col("s") / pl.col("n"), description=""),
        from_sql(
            "label", "user || '-' || CAST(mean AS INTEGER) || strftime(day, '%d')", dtype="string", description=""
        ),
        from_python("twice", lambda mean: mean * 2, ("mean",), description=""),
    )
    got = compute_frame(table, gold, source=EVENTS)
    assert got.columns == ["user", "day", "n", "mean", "label", "twice"]
    assert got.rows() == [
        ("x", date(2024, 2, 27), 1, 2.0, "x-227", 4.0),
        ("x", date(2024, 2, 28), 2, 3.0, "x-328", 6.0),
    ]


def test_a_table_without_time_has_one_row_per_entity(events):
    gold = events([("x", 1, 1, 2.0, 3, "a"), ("x", 1, 9, 4.0, 1, "b"), ("y", 1, 2, None, 1, "c")])
    table = FeatureTable(
        name="t",
        description="",
        source="events",
        entity=("user",),
        features=(
            aggregate("s", "sum", "amount", description=""),
            aggregate("sd", "std", "amount", description=""),
            aggregate("kinds", "count_distinct", "what", description=""),
            aggregate("newest", "last", "what", dtype="string", description=""),
            aggregate("share", "share", "amount > 3", description=""),
        ),
    )
    got = compute_frame(table, gold, source=EVENTS)
    assert got.rows() == [("x", 6.0, pytest.approx(2**0.5), 2, "b", 0.5), ("y", 0.0, None, 1, "c", None)]


def test_names_that_need_quotes(events):
    gold = events([("x", 1, 1, 2.0, 1, "a")]).rename({"user": 'us"er', "at": "order"})
    table = FeatureTable(
        name="t",
        description="",
        source="events",
        entity=('us"er',),
        time="group",
        event_time="order",
        features=(aggregate('sel"ect', "sum", "amount", window="3d", description=""),),
    )
    assert compute_frame(table, gold).rows() == [("x", date(2024, 2, 27), 2.0)]


def test_empty_gold_gives_an_empty_table_of_the_declared_types(events):
    table = aggregated(
        aggregate("s", "sum", "amount", window="3d", description=""),
        aggregate("d", "count_distinct", "what", window="3d", description=""),
        from_python("p", lambda s: s.to_list()[0], ("s",), dtype="int64", description=""),
        rows="window",
    )
    got = compute_frame(table, events([]), source=EVENTS)
    assert got.schema == {"user": pl.String, "day": pl.Date, "s": pl.Float64, "d": pl.Int64, "p": pl.Int64}
    assert got.is_empty()


WRONG = [
    (aggregate("f", "sum", "amuont", window="3d", description=""), "amuont", "Did you mean 'amount'"),
    (aggregate("f", "sum", "what", window="3d", description=""), "sum", ""),
    (aggregate("f", "sum", "amount", window="3d", where="items >", description=""), "items >", ""),
    (aggregate("f", "sum", "sum(amount)", window="3d", description=""), "aggregates", ""),
    (aggregate("f", "sum", "lag(amount) OVER ()", window="3d", description=""), "window", ""),
    (aggregate("f", "sum", "(SELECT max(amount) FROM gold)", window="3d", description=""), "subquery", "one row"),
    (aggregate("f", "sum", "(SELECT 1 FROM read_csv('/etc/passwd'))", window="3d", description=""), "subquery", ""),
    (aggregate("f", "mean", window="3d", description=""), "needs a column", ""),
    (aggregate("f", "mean", "amount / 3", window="3d", dtype="int64", description=""), "whole numbers", "float64"),
    (aggregate("f", "max", "what", window="3d", description=""), "text", "string"),
    (from_polars("f", pl.col("nope") + 1, description=""), "nope", "definition"),
    (from_polars("f", pl.col("s").mean(), description=""), "1 values for", "one value a row"),
    (from_polars("f", pl.col("s") - pl.col("s").mean(), description=""), "rows beside them", "one value a row"),
    (from_polars("f", pl.col("s").shift(1), description=""), "rows beside them", "one value a row"),
    (from_polars("f", pl.col("late"), description=""), "late", ""),
    (from_sql("f", "sum(s)", description=""), "aggregates", ""),
    (from_sql("f", "s +", description=""), "s +", ""),
    (from_sql("f", "ss", description=""), "ss", "Did you mean 's'"),
    (from_sql("f", "error('boom')", description=""), "boom", ""),
    (from_python("f", lambda s: 1 / 0, ("s",), description=""), "ZeroDivisionError", "definition"),
    (from_python("f", lambda s: [1.0], ("s",), description=""), "1 values for", "one value a row"),
    (from_python("f", lambda s: ["a"] * len(s), ("s",), description=""), "text", "string"),
]


@pytest.mark.parametrize(("feature", "what", "remedy"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)])
def test_a_wrong_definition_names_its_feature_and_says_why(feature, what, remedy, events):
    gold = events([("x", 1, d, float(d * d), d, "a") for d in range(1, 6)])
    table = aggregated(
        aggregate("s", "sum", "amount", window="1d", description=""),
        feature,
        aggregate("late", "sum", "amount", window="1d", description=""),
    )
    with pytest.raises(DeclarationError) as caught:
        compute_frame(table, gold, source=EVENTS)
    assert "'f' of 't'" in caught.value.what
    assert what in caught.value.what
    assert remedy in caught.value.remedy


def test_the_tables_own_condition_is_checked_too(events):
    with pytest.raises(DeclarationError, match=r"feature table 't'.*amuont"):
        compute_frame(
            aggregated(aggregate("s", "sum", "amount", window="1d", description=""), where="amuont > 1"),
            events([("x", 1, 1, 1.0, 1, "a")]),
            source=EVENTS,
        )


def test_a_gold_without_the_entity_column(events):
    with pytest.raises(ColumnMissing, match="'user'") as caught:
        compute_frame(
            aggregated(aggregate("s", "sum", "amount", window="1d", description="")),
            events([]).rename({"user": "users"}),
            source=EVENTS,
        )
    assert "'users'" in caught.value.remedy
