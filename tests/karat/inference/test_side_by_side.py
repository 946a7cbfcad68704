"""Batch tables: several models' predictions by key, written once and only where they have changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.declare.batch_tables import BatchTable
from karat.inference import score_model
from karat.inference.side_by_side import combine_predictions
from karat.lake import Lake
from karat.registry import Registry, make_candidate, promote

DAY, LAST = timedelta(days=1), date(2026, 3, 1)
STAMPS = ["next_week_version", "next_week_run_id", "odd_days_version", "odd_days_run_id", "inference_timestamp"]
FEATURES = ["spent_7d", "orders_7d", "mean_28d", "big"]


@pytest.fixture
def both(shop_features: Project) -> Project:
    """The shop with a batch table of its two models of days, and an average of theirs that means nothing."""
    table = BatchTable(
        description="Sales",
        features="spend_features",
        columns={"sales": "next_week.prediction", "oddity": "odd_days.score", "is_odd": "odd_days.prediction"},
        averages={"middle": ("sales", "oddity")},
    )
    return replace(shop_features, spec=shop_features.spec.model_copy(update={"batch_tables": {"sales_batch": table}}))


def predict(project: Project, lake: Lake, model: str, rows: pl.DataFrame, *, version: int = 1) -> None:
    """A prediction table as ``score_model`` leaves it, with values that are known."""
    stamped = rows.with_columns(
        model_version=pl.lit(version, dtype=pl.Int64),
        run_id=pl.lit(f"run{version} of {model}"),
        scored_at=pl.lit(datetime(2026, 3, 2, 3, version, tzinfo=UTC)).dt.cast_time_unit("us"),
    )
    name = project.prediction_name(model)
    lake.create(name, stamped.to_arrow().schema, primary_key=("customer", "day"), timeseries="day")
    lake.merge(name, stamped)


def sales(*days: date, value: float = 100.0) -> pl.DataFrame:
    return pl.DataFrame({"customer": ["c001"] * len(days), "day": list(days), "prediction": [value] * len(days)})


def odd(*days: date) -> pl.DataFrame:
    return sales(*days).with_columns(prediction=pl.lit(False), score=pl.lit(0.5))


def test_rows_meet_by_key_with_features_average_and_stamps(both: Project, lake: Lake) -> None:
    predict(both, lake, "next_week", sales(LAST, LAST - DAY), version=3)
    predict(both, lake, "odd_days", odd(LAST, LAST - 2 * DAY))
    made = combine_predictions(both, "sales_batch", lake)
    rows = lake.read(made.table).sort("day")
    assert str(made.table) == "shop_dev.predictions.sales_batch"
    assert rows.columns == ["customer", "day", *FEATURES, "sales", "oddity", "is_odd", "middle", *STAMPS]
    assert lake.info(made.table).primary_key == ("customer", "day")
    assert rows["day"].to_list() == [LAST - 2 * DAY, LAST - DAY, LAST]
    # Where one model has said nothing, an average would be of the other alone.
    assert rows["middle"].to_list() == [None, None, 50.25]
    assert rows["next_week_run_id"].to_list() == [None, "run3 of next_week", "run3 of next_week"]
    assert rows["odd_days_version"].to_list() == [1, None, 1]
    assert [t.minute for t in rows["inference_timestamp"]] == [1, 3, 3]
    features = lake.read(both.table_name("spend_features"))
    assert rows.select("day", *FEATURES).equals(
        rows.select("customer", "day").join(features, on=["customer", "day"], how="left").select("day", *FEATURES)
    )


def test_the_same_predictions_are_combined_once_and_only_new_days_are_written(both: Project, lake: Lake) -> None:
    predict(both, lake, "next_week", sales(LAST - 2 * DAY, LAST - DAY))
    predict(both, lake, "odd_days", odd(LAST - 2 * DAY, LAST - DAY))
    first = combine_predictions(both, "sales_batch", lake)
    again = combine_predictions(both, "sales_batch", lake)
    assert (first.changed, first.rows) == (True, 2)
    assert (again.changed, again.version, again.rows) == (False, first.version, 2)
    predict(both, lake, "next_week", sales(LAST, value=7.0), version=2)
    second = combine_predictions(both, "sales_batch", lake)
    rows = lake.read(second.table).sort("day")
    assert (second.changed, second.rows, second.version) == (True, 1, first.version + 1)
    assert rows["sales"].to_list() == [100.0, 100.0, 7.0]
    assert rows["next_week_version"].to_list() == [1, 1, 2]
    assert rows["oddity"].to_list() == [0.5, 0.5, None]


def test_another_declaration_makes_all_rows_anew(both: Project, lake: Lake) -> None:
    predict(both, lake, "next_week", sales(LAST - DAY, LAST))
    predict(both, lake, "odd_days", odd(LAST))
    combine_predictions(both, "sales_batch", lake)
    table = both.spec.batch_tables["sales_batch"]
    wider = table.model_copy(update={"averages": table.averages | {"half": ("oddity", "oddity")}})
    changed = replace(both, spec=both.spec.model_copy(update={"batch_tables": {"sales_batch": wider}}))
    made = combine_predictions(changed, "sales_batch", lake)
    assert made.rows == 2
    assert lake.read(made.table).sort("day")["half"].to_list() == [None, 0.5]


def test_it_waits_for_a_model_without_predictions(both: Project, lake: Lake) -> None:
    predict(both, lake, "next_week", sales(LAST))
    made = combine_predictions(both, "sales_batch", lake)
    assert (made.waits, made.changed, made.version) == (("odd_days",), False, None)
    assert not lake.exists(made.table)
    assert both.batch_tables_of(["odd_days"]) == ("sales_batch",)
    assert both.batch_tables_of(["leaver"]) == ()


def test_of_champions_it_says_what_their_own_tables_say(both: Project, lake: Lake, registry: Registry) -> None:
    for model in ("next_week", "odd_days"):
        spec = both.models[model]
        version = make_candidate(both, spec, lake, registry).version
        promote(both, spec, lake, registry, version=version.version)
        score_model(both, spec, lake, registry)
    made = combine_predictions(both, "sales_batch", lake)
    key = ["customer", "day"]
    rows = lake.read(made.table).sort(key)
    for model, column, source in (("next_week", "sales", "prediction"), ("odd_days", "oddity", "score")):
        own = lake.read(both.prediction_name(model)).sort(key)
        assert rows[column].equals(own[source], check_names=False)
        assert rows[f"{model}_run_id"].equals(own["run_id"], check_names=False)
        assert rows[f"{model}_version"].equals(own["model_version"], check_names=False)
    assert not combine_predictions(both, "sales_batch", lake).changed
