"""Batch tables: several models' predictions by key, written once and only where they have changed."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.declare.batch_tables import BatchTable
from karat.inference import score_model
from karat.inference.combined_predictions import combine_predictions
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry

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


def declaring(project: Project, **update: object) -> Project:
    """The project with its batch table declared otherwise."""
    table = project.spec.batch_tables["sales_batch"].model_copy(update=update)
    return replace(project, spec=project.spec.model_copy(update={"batch_tables": {"sales_batch": table}}))


@pytest.mark.parametrize(
    ("update", "columns"),
    [
        (
            {"columns": {"sold": "next_week.prediction", "oddity": "odd_days.score"}, "averages": {}},
            ["sold", "oddity", *STAMPS],
        ),
        (
            {"columns": {"sales": "next_week.prediction"}, "averages": {}, "features": None},
            ["sales", "next_week_version", "next_week_run_id", "inference_timestamp"],
        ),
        (
            {"columns": {"sales": "next_week.run_id", "oddity": "odd_days.score"}, "averages": {}},
            ["sales", "oddity", *STAMPS],
        ),
    ],
    ids=["a column renamed", "a model left out", "a column of another type"],
)
def test_a_declaration_that_takes_something_away_replaces_the_table(
    both: Project, lake: Lake, update: dict[str, object], columns: list[str]
) -> None:
    predict(both, lake, "next_week", sales(LAST - DAY, LAST))
    predict(both, lake, "odd_days", odd(LAST))
    combine_predictions(both, "sales_batch", lake)
    other = declaring(both, **update)
    made = combine_predictions(other, "sales_batch", lake)
    features = [] if "features" in update else FEATURES
    assert (made.changed, made.rows) == (True, 2)
    assert lake.read(made.table).columns == ["customer", "day", *features, *columns]
    assert not combine_predictions(other, "sales_batch", lake).changed
    assert combine_predictions(both, "sales_batch", lake).rows == 2
    assert lake.read(made.table).sort("day")["middle"].to_list() == [None, 50.25]


@pytest.mark.parametrize("step", ["create", "overwrite"])
def test_killed_while_it_is_replaced_the_next_run_makes_it_whole(
    both: Project, lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    predict(both, lake, "next_week", sales(LAST - DAY, LAST))
    predict(both, lake, "odd_days", odd(LAST))
    table = combine_predictions(both, "sales_batch", lake).table
    other = declaring(both, columns={"sold": "next_week.prediction", "oddity": "odd_days.score"}, averages={})
    work = getattr(Lake, step)

    def killed(self: Lake, name: object, *arguments: object, **more: object) -> object:
        if self.exists(table) and step == "create":  # what stands there refuses first; it is dropped, then killed
            return work(self, name, *arguments, **more)
        return signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, step, killed)
        with pytest.raises(KeyboardInterrupt):
            combine_predictions(other, "sales_batch", lake)
    assert not lake.exists(table) or lake.count(table) == 0
    made = combine_predictions(other, "sales_batch", lake)
    assert (made.changed, made.rows) == (True, 2)
    assert lake.read(table).sort("day")["sold"].to_list() == [100.0, 100.0]


def test_a_column_may_be_called_as_the_stamp_that_it_is(both: Project, lake: Lake) -> None:
    predict(both, lake, "next_week", sales(LAST))
    predict(both, lake, "odd_days", odd(LAST), version=4)
    stamps = {"next_week_scored_at": "next_week.scored_at", "odd_days_scored_at": "odd_days.scored_at"}
    made = combine_predictions(declaring(both, columns=stamps, averages={}), "sales_batch", lake)
    (row,) = lake.read(made.table).select(*stamps, "inference_timestamp").rows()
    assert [t.minute for t in row] == [1, 4, 4]


def test_a_feature_more_makes_all_rows_anew(both: Project, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the days that have not changed, too: a column that the lake adds is null in every row that stands there."""
    predict(both, lake, "next_week", sales(LAST - DAY))
    predict(both, lake, "odd_days", odd(LAST - DAY))
    spend = both.tables["spend_features"]
    fewer = spend.model_copy(update={"features": tuple(f for f in spend.features if f.name != "mean_28d")})
    before = replace(both, tables=both.tables | {"spend_features": fewer})
    assert "mean_28d" not in lake.read(combine_predictions(before, "sales_batch", lake).table).columns
    predict(both, lake, "next_week", sales(LAST))
    with monkeypatch.context() as patch:  # killed after the column was added
        patch.setattr(Lake, "overwrite", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            combine_predictions(both, "sales_batch", lake)
    made = combine_predictions(both, "sales_batch", lake)
    assert (made.rows, lake.read(made.table)["mean_28d"].null_count()) == (2, 0)


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
        version = make_candidate(ModelContext(both, spec, lake, registry)).version
        promote(ModelContext(both, spec, lake, registry), version=version.version)
        score_model(ModelContext(both, spec, lake, registry))
    made = combine_predictions(both, "sales_batch", lake)
    key = ["customer", "day"]
    rows = lake.read(made.table).sort(key)
    for model, column, source in (("next_week", "sales", "prediction"), ("odd_days", "oddity", "score")):
        own = lake.read(both.prediction_name(model)).sort(key)
        assert rows[column].equals(own[source], check_names=False)
        assert rows[f"{model}_run_id"].equals(own["run_id"], check_names=False)
        assert rows[f"{model}_version"].equals(own["model_version"], check_names=False)
    assert not combine_predictions(both, "sales_batch", lake).changed
