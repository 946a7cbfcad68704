"""Labels against a plain loop; what is not mature is left out; bad expressions are named before any work."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from karat.declare import ModelSpec, Project
from karat.declare.declared_model import DeclaredModel
from karat.errors import EmptyTrainingSet, LabelNotFound, TableNotFound, UnusableLabel
from karat.lake import Lake
from karat.training_sets.labels import label_spine
from tests.profiles import examples

DAY = timedelta(days=1)


def spec(project: Project, model: str, **label: object) -> ModelSpec:
    declared = project.models[model]
    return declared.model_copy(update={"label": declared.label.model_copy(update=label)})


def by_hand(orders: pl.DataFrame, keys: list[tuple[str, date]], offset: int, horizon: int, default: float | None):
    out = []
    for customer, day in keys:
        first, last = day + offset * DAY, day + (offset + horizon) * DAY
        found = [
            r["amount"]
            for r in orders.iter_rows(named=True)
            if r["customer"] == customer and first <= r["day"] < last and r["amount"] is not None
        ]
        rows = any(
            r["customer"] == customer and first <= r["day"] < last
            for r in orders.select("customer", "day").iter_rows(named=True)
        )
        out.append(sum(found) if found else (None if rows else default))
    return out


def test_label_is_the_sum_of_the_horizon_and_immature_days_are_left_out(shop_features: Project, lake: Lake) -> None:
    spine = label_spine(DeclaredModel(shop_features, shop_features.models["next_week"]), lake)
    orders = lake.read(shop_features.gold_name("orders"))
    last = orders["day"].max()
    assert spine["day"].max() == last - 7 * DAY  # D + 1 + 7 days must be over: the last whole day is `last`
    assert spine.columns == ["customer", "day", "spent_next_7d"]
    keys = spine.select("customer", "day").rows()
    assert keys == sorted(keys)
    picked = spine.with_row_index().filter(pl.col("index") % 97 == 0)
    expected = by_hand(orders, picked.select("customer", "day").rows(), 1, 7, 0.0)
    assert picked["spent_next_7d"].to_list() == pytest.approx(expected, abs=1e-9)


@profile(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.one_of(st.none(), st.integers(-5, 5).map(float))),
        min_size=1,
        max_size=25,
    ),
    offset=st.integers(1, 3),
    horizon=st.integers(1, 5),
)
def test_label_equals_the_oracle(shop: Project, lake: Lake, orders, offset, horizon) -> None:
    start = date(2024, 2, 25)  # over a leap day
    frame = pl.DataFrame(
        [(i, c, start + d * DAY, a, "web") for i, (c, d, a) in enumerate(orders)],
        schema={
            "order_id": pl.Int64,
            "customer": pl.String,
            "day": pl.Date,
            "amount": pl.Float64,
            "channel": pl.String,
        },
        orient="row",
    )
    keys = frame.select("customer", "day").unique().sort("customer", "day")
    _store(shop, lake, frame, keys)
    declared = spec(shop, "next_week", offset=offset * DAY, horizon=horizon * DAY, default=-1.0)
    end = frame["day"].max()
    mature = [k for k in keys.rows() if k[1] + (offset + horizon) * DAY <= end + DAY]
    expected = dict(zip(mature, by_hand(frame, mature, offset, horizon, -1.0), strict=True))
    expected = {k: v for k, v in expected.items() if v is not None}
    if not mature:
        with pytest.raises(EmptyTrainingSet, match="horizon"):
            label_spine(DeclaredModel(shop, declared), lake)
    elif not expected:
        with pytest.raises(UnusableLabel, match="null in all"):
            label_spine(DeclaredModel(shop, declared), lake)
    else:
        got = label_spine(DeclaredModel(shop, declared), lake)
        assert {(c, d): v for c, d, v in got.rows()} == expected


def _store(shop: Project, lake: Lake, orders: pl.DataFrame, keys: pl.DataFrame) -> None:
    gold, name = shop.gold["orders"], shop.table_name("spend_features")
    lake.create(shop.gold_name("orders"), gold.schema, primary_key=gold.key)
    lake.overwrite(shop.gold_name("orders"), orders)
    lake.create(name, keys.to_arrow().schema, primary_key=("customer", "day"), timeseries="day")
    lake.overwrite(name, keys)


def test_hours_count_where_the_event_time_is_a_timestamp(shop: Project, lake: Lake) -> None:
    """An offset of 36 hours begins at noon of the next day."""
    gold = shop.gold["orders"]
    columns = {**gold.columns, "day": gold.columns["day"].model_copy(update={"dtype": "timestamp"})}
    orders = gold.model_copy(update={"columns": columns})
    project = type(shop)(**{**shop.__dict__, "gold": {**shop.gold, "orders": orders}})
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 5), "6h", eager=True, time_zone="UTC")
    frame = pl.DataFrame(
        {"order_id": range(len(times)), "customer": "a", "day": times, "amount": 1.0, "channel": "web"},
        schema_overrides={"order_id": pl.Int64},
    ).with_columns(pl.col("day").dt.cast_time_unit("us"))
    _store(project, lake, frame, pl.DataFrame({"customer": ["a"], "day": [date(2024, 1, 1)]}))
    declared = spec(
        project, "next_week", offset=timedelta(hours=36), horizon=timedelta(hours=12), expression="count(*)"
    )
    assert label_spine(DeclaredModel(project, declared), lake)["spent_next_7d"].to_list() == [
        2
    ]  # 12:00 and 18:00 of the 2nd


def test_days_whose_last_hours_are_still_to_come_are_left_out(shop_features: Project, lake: Lake) -> None:
    """Half a day after the next: the last day of gold whole, the row of that day has its window after all of gold."""
    last = lake.read(shop_features.gold_name("orders"))["day"].max()
    half = spec(shop_features, "next_week", offset=DAY, horizon=DAY / 2, default=0)
    assert label_spine(DeclaredModel(shop_features, half), lake)["day"].max() == last - DAY


def test_what_is_not_a_number_is_no_label(shop_features: Project, lake: Lake) -> None:
    some = "case when count(*) % 2 = 0 then 'nan'::double else sum(amount) end"
    labels = label_spine(
        DeclaredModel(shop_features, spec(shop_features, "next_week", expression=some, default=None)), lake
    )
    everything = label_spine(DeclaredModel(shop_features, spec(shop_features, "next_week", default=None)), lake)
    assert labels["spent_next_7d"].is_finite().all()
    assert 0 < labels.height < everything.height


def test_static_label_is_of_the_key_and_an_aggregate_works_too(shop_features: Project, lake: Lake) -> None:
    members = lake.read(shop_features.gold_name("members")).sort("customer")
    plain = label_spine(DeclaredModel(shop_features, shop_features.models["leaver"]), lake)
    assert plain["leaves"].to_list() == (members["left"] == "Yes").to_list()
    grouped = label_spine(DeclaredModel(shop_features, spec(shop_features, "leaver", expression="max(age)")), lake)
    assert grouped["leaves"].to_list() == members["age"].to_list()


def test_static_label_of_several_rows_needs_an_aggregate(shop_features: Project, lake: Lake) -> None:
    doubled = spec(shop_features, "leaver", source="orders", expression="channel = 'web'")
    with pytest.raises(UnusableLabel, match="share their key"):
        label_spine(DeclaredModel(shop_features, doubled), lake)


@pytest.mark.parametrize(
    ("model", "change", "error", "says"),
    [
        ("next_week", {"expression": "sum(amuont)"}, LabelNotFound, "Did you mean 'amount'"),
        ("next_week", {"expression": "sum(amount"}, LabelNotFound, "cannot be computed"),
        ("next_week", {"where": "chanel = 'web'"}, LabelNotFound, "Did you mean 'channel'"),
        ("next_week", {"columns": {"customer": "custmer"}}, LabelNotFound, "Did you mean 'customer'"),
        ("next_week", {"expression": "max(null::int)", "default": None}, UnusableLabel, "null in all"),
        ("next_week", {"horizon": timedelta(days=90)}, EmptyTrainingSet, "horizon"),
        ("leaver", {"expression": "yers > 3"}, LabelNotFound, "cannot be computed"),
    ],
)
def test_bad_labels(shop_features: Project, lake: Lake, *, model: str, change: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        label_spine(DeclaredModel(shop_features, spec(shop_features, model, **change)), lake)


def test_rows_that_break_the_contract_of_gold_make_no_label(shop: Project, lake: Lake) -> None:
    gold = shop.gold["orders"]
    column = gold.columns["amount"].model_copy(update={"maximum": 100.0})
    shop.gold["orders"] = gold.model_copy(update={"columns": {**gold.columns, "amount": column}})
    days = [date(2024, 1, 1) + n * DAY for n in range(12)]
    orders = [(n, "a", day, 999.0 if n == 3 else 1.0, "web") for n, day in enumerate(days)]
    frame = pl.DataFrame(orders, schema=gold.schema.names, orient="row")
    keys = pl.DataFrame({"customer": ["a"], "day": [days[0]]})
    _store(shop, lake, frame, keys)
    spine = label_spine(DeclaredModel(shop, shop.models["next_week"]), lake)
    assert spine["spent_next_7d"].to_list() == [6.0]


def test_missing_tables_say_what_to_run(shop: Project, lake: Lake) -> None:
    with pytest.raises(TableNotFound):
        label_spine(DeclaredModel(shop, shop.models["next_week"]), lake)


def test_anomaly_keeps_rows_without_a_label(shop_features: Project, lake: Lake) -> None:
    spine = label_spine(DeclaredModel(shop_features, shop_features.models["odd_days"]), lake)
    assert spine.height > 1000
    assert spine["odd"].null_count() == spine.height


def test_labels_are_the_same_to_the_last_bit(shop_features: Project, lake: Lake) -> None:
    """However often they are computed, and whatever files the rows lie in."""
    declared = shop_features.models["next_week"]
    first = label_spine(DeclaredModel(shop_features, declared), lake)
    name = shop_features.gold_name("orders")
    lake.overwrite(name, lake.read(name).sample(fraction=1.0, shuffle=True, seed=5))
    for _ in range(3):
        assert label_spine(DeclaredModel(shop_features, declared), lake).equals(first)
