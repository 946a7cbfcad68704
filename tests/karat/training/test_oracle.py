"""The planted truth's answers, row by row: over the label's window, or of the row's own day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Column, FeatureTable, GoldTable, ModelSpec, Project, aggregate, from_event
from karat.declare.declared_model import DeclaredModel
from karat.errors import LabelNotFound
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training.oracle import oracle_predictions
from karat.training_sets.labels import label_spine
from tests.karat.conftest import write_table

DAY = timedelta(days=1)


@pytest.fixture
def planted(shop_features: Project, lake: Lake) -> Project:
    """A truth table of ``shop``: what a customer is expected to spend on a day, and over the next week."""
    orders = lake.read(shop_features.gold_name("orders"))
    usual = orders.group_by("customer").agg(pl.col("amount").sum() / 60)
    days = orders.select(pl.col("day").unique())
    frame = usual.join(days, how="cross").select("customer", "day", daily="amount", weekly=pl.col("amount") * 7)
    table = GoldTable(
        name="spend_truth", description="The truth", key=("customer", "day"), event_time="day", truth=True,
        columns={
            "customer": Column(dtype="string"), "day": Column(dtype="date"),
            "daily": Column(dtype="float64"), "weekly": Column(dtype="float64"),
        },
    )  # fmt: skip
    shop_features.gold["spend_truth"] = table
    write_table(shop_features, lake, "spend_truth", frame, "sample")
    return shop_features


def with_truth(project: Project, **truth: object) -> ModelSpec:
    spec = project.models["next_week"]
    return ModelSpec.model_validate({**spec.model_dump(), "truth": {"source": "spend_truth", **truth}})


def test_an_aggregate_covers_the_labels_window_and_a_column_is_of_the_day(planted: Project, lake: Lake) -> None:
    spine = label_spine(DeclaredModel(planted, planted.models["next_week"]), lake)
    summed = oracle_predictions(DeclaredModel(planted, with_truth(planted, expression="sum(daily)")), lake, spine)
    plain = oracle_predictions(DeclaredModel(planted, with_truth(planted, expression="weekly")), lake, spine)
    assert summed is not None
    assert plain is not None
    assert len(summed) == len(plain) == spine.height
    expected = spine.join(lake.read(planted.gold_name("spend_truth")), on=["customer", "day"], maintain_order="left")
    assert plain.to_list() == pytest.approx(expected["weekly"].to_list())
    assert summed.to_list() == pytest.approx(expected["weekly"].to_list())
    three = oracle_predictions(DeclaredModel(planted, with_truth(planted, expression="count(*)")), lake, spine)
    assert three is not None
    assert three.to_list() == [7] * spine.height


def test_the_order_and_the_gaps_of_the_spine_are_kept(planted: Project, lake: Lake) -> None:
    spine = label_spine(DeclaredModel(planted, planted.models["next_week"]), lake)
    first = spine["customer"][0]
    spec = with_truth(planted, expression="weekly", where=f"customer <> '{first}'")
    mixed = spine.sample(fraction=1, shuffle=True, seed=0)
    found = oracle_predictions(DeclaredModel(planted, spec), lake, mixed)
    assert found is not None
    assert (mixed["customer"] == first).to_list() == found.is_null().to_list()
    several = oracle_predictions(
        DeclaredModel(planted, with_truth(planted, expressions={"a": "weekly", "b": "daily"})), lake, mixed
    )
    assert several is not None
    assert several.list.get(0).to_list() == pytest.approx((several.list.get(1) * 7).to_list())


def test_an_event_that_names_no_terminal_keeps_its_truth(shop: Project, lake: Lake) -> None:
    """By the terminal another table is looked up: the spine brings it, and it may be null."""
    moments = [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(4)]
    events = pl.DataFrame({"payment": range(4), "customer": "c001", "at": moments, "fraud": [0, 1, 0, 1]}).with_columns(
        terminal=pl.Series(["t1", None, "t2", None]), chance=pl.col("payment") / 10
    )
    columns = {
        "payment": Column(dtype="int64"), "customer": Column(dtype="string"), "at": Column(dtype="timestamp"),
        "terminal": Column(dtype="string"), "fraud": Column(dtype="int64"), "chance": Column(dtype="float64"),
    }  # fmt: skip
    for name in ("payments", "payments_truth"):
        shop.gold[name] = GoldTable(
            name=name,
            description="",
            key=("payment",),
            event_time="at",
            columns=columns,
            truth=name == "payments_truth",
        )
        write_table(shop, lake, name, events.select(*columns), "sample")
    paid = {"entity": ("customer",), "grain": "event", "time": "at", "event_id": "payment"}
    used = {"entity": ("terminal",), "features": (aggregate("most", "max", "fraud", dtype="int64", description=""),)}
    own = (from_event("terminal", dtype="string", description=""),)
    shop.tables["paid"] = FeatureTable(name="paid", description="", source="payments", features=own, **paid)
    shop.tables["used"] = FeatureTable(name="used", description="", source="payments", **used)
    stored, key = events.select("customer", "at", "payment", "terminal"), ("customer", "at", "payment")
    lake.create(shop.table_name("paid"), stored.to_arrow().schema, primary_key=key, timeseries="at")
    lake.merge(shop.table_name("paid"), stored)
    spec = ModelSpec(
        name="m",
        description="",
        task="binary",
        kind="xgboost",
        spine="paid",
        lookups=[{"table": "paid"}, {"table": "used"}],
        label={"source": "payments", "expression": "fraud"},
        truth={"source": "payments_truth", "expression": "chance"},
    )
    spine = label_spine(DeclaredModel(shop, spec), lake)
    assert spine.columns[:4] == ["customer", "at", "payment", "terminal"]
    found = oracle_predictions(DeclaredModel(shop, spec), lake, spine)
    assert found is not None
    assert found.to_list() == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_truth_that_does_not_bind_is_named(planted: Project, lake: Lake) -> None:
    spine = label_spine(DeclaredModel(planted, planted.models["next_week"]), lake)
    with pytest.raises(LabelNotFound, match=r"the truth of 'next_week' cannot be computed") as caught:
        oracle_predictions(DeclaredModel(planted, with_truth(planted, expression="sum(dayly)")), lake, spine)
    assert "Did you mean 'daily'" in caught.value.remedy


def test_real_rows_have_no_truth(planted: Project, lake: Lake) -> None:
    spec = with_truth(planted, expression="weekly")
    spine = label_spine(DeclaredModel(planted, planted.models["next_week"]), lake)
    assert oracle_predictions(DeclaredModel(planted, planted.models["next_week"]), lake, spine) is None
    assert oracle_predictions(DeclaredModel(planted, spec), lake, spine) is not None
    write_table(planted, lake, "orders", lake.read(planted.gold_name("orders")), "ingest")
    assert oracle_predictions(DeclaredModel(planted, spec), lake, spine) is None


def test_a_version_shows_its_interval_and_what_it_attains(planted: Project, lake: Lake, registry: Registry) -> None:
    spec = with_truth(planted, expression="sum(daily)").model_copy(update={"tags": {"team": "sales"}})
    made = make_candidate(ModelContext(planted, spec, lake, registry))
    judged, metrics = made.version.judged, made.version.metrics
    assert {"rmse_gain", "rmse_gain_low", "rmse_gain_high", "truth_rmse", "attained"} <= set(judged)
    assert not set(judged) & set(metrics)
    assert judged["rmse_gain"] == pytest.approx(made.baseline["rmse"] - made.metrics["rmse"])
    assert judged["attained"] == pytest.approx(judged["rmse_gain"] / (made.baseline["rmse"] - judged["truth_rmse"]))
    logged = registry.client.get_run(made.version.run_id).data
    assert logged.metrics["attained"] == judged["attained"]
    assert logged.tags["team"] == made.version.tags["team"] == "sales"
    text = registry.client.get_model_version(str(made.version.name), "1").description
    assert "Spent in the next seven days" in text
    assert f"95 % interval {judged['rmse_gain_low']:.4g} to {judged['rmse_gain_high']:.4g}" in text
    assert f"attains {judged['attained']:.0%}" in text
    assert registry.metadata(made.version).judgement.attained.value == judged["attained"]
    decision = promote(ModelContext(planted, spec, lake, registry))
    assert decision.promoted
    assert f"by {judged['rmse_gain_low']:.4g} to {judged['rmse_gain_high']:.4g} (95 % interval)" in decision.reason


def test_a_gain_that_may_be_chance_makes_no_champion(planted: Project, lake: Lake, registry: Registry) -> None:
    """A feature that is almost the label's own mean: hardly better than the mean."""
    spec = planted.models["next_week"].model_copy(
        update={"lookups": (planted.models["next_week"].lookups[1].model_copy(update={"features": ("age",)}),)}
        | {"spine": "spend_features"}
    )
    made = make_candidate(ModelContext(planted, spec, lake, registry))
    assert made.version.judged["rmse_gain_low"] <= 0
    decision = promote(ModelContext(planted, spec, lake, registry))
    assert not decision.promoted
    assert "is not clear of 0" in decision.reason or "does not beat its baseline" in decision.reason
    assert "Why not more" in registry.client.get_model_version(str(made.version.name), "1").description
    assert any("is not significant" in warning for warning in made.warnings)
