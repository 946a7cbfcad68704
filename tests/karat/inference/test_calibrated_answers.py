"""Calibrated probabilities and intervals are the same in a batch, in an answer, in MLflow and in a combined table."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import mlflow
import polars as pl
import pytest

from karat.declare import Project
from karat.declare.batch_tables import BatchTable
from karat.declare.models import Intervals
from karat.inference import score_model
from karat.inference.combined_predictions import combine_predictions
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext
from karat.names import CHAMPION
from karat.online import open_store
from karat.registry import LoadedModel, Registry
from karat.settings import Settings

LAST = date(2026, 3, 1)


def champion(
    project: Project, lake: Lake, registry: Registry, model: str, **update: object
) -> tuple[ModelContext, LoadedModel]:
    context = ModelContext(project, project.models[model].model_copy(update=update), lake, registry)
    version = registry.set_alias(make_candidate(context).version, CHAMPION, "for the test")
    return context, registry.load(version)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_calibrated_probability_is_one_number_everywhere(
    shop_features: Project, lake: Lake, registry: Registry, settings: Settings, method: str
) -> None:
    context, loaded = champion(shop_features, lake, registry, "leaver", calibration=method)
    assert loaded.model.calibrator.method == method
    batch = lake.read(score_model(context).table).sort("customer").head(5)
    features = lake.read(shop_features.table_name("people_features")).sort("customer").head(5)
    own = loaded.model.predict(features)
    assert batch["probability"].to_list() == own.tolist()
    version = registry.champion(context.name)
    assert version is not None
    with registry.files(version) as folder:
        pyfunc = mlflow.pyfunc.load_model(str(folder.parents[1]))
    frame = features.select("age", "city").with_columns(pl.col("age").cast(pl.Float64)).to_pandas()
    assert pyfunc.predict(frame)["probability"].tolist() == own.tolist()
    predictor = Predictor(loaded, open_store(settings), lake)
    for row, probability in zip(features.to_dicts(), own, strict=True):
        asked = PredictionRequest(keys={"customer": row["customer"]}, features={"age": row["age"], "city": row["city"]})
        assert predictor.predict(asked)["predicted_value"] == probability


def test_an_interval_is_the_same_in_a_batch_an_answer_and_a_combined_table(
    shop_features: Project, lake: Lake, registry: Registry, settings: Settings
) -> None:
    table = BatchTable(
        description="Sales",
        columns={"sales": "next_week.prediction", "at_least": "next_week.prediction_low"},
    )
    project = replace(shop_features, spec=shop_features.spec.model_copy(update={"batch_tables": {"sales": table}}))
    context, loaded = champion(project, lake, registry, "next_week", intervals=Intervals(coverage=0.8))
    rows = lake.read(score_model(context).table).filter(pl.col("day") == LAST).sort("customer")
    assert (rows["prediction_low"] < rows["prediction"]).all()
    assert (rows["prediction"] < rows["prediction_high"]).all()
    combined = lake.read(combine_predictions(project, "sales", lake).table)
    same = rows.join(combined, on=["customer", "day"])
    assert same["at_least"].to_list() == same["prediction_low"].to_list()
    first = rows.row(0, named=True)
    read = dict(zip(loaded.features, _features(lake, project, first["customer"], loaded.features), strict=True))
    predictor = Predictor(loaded, open_store(settings), lake)
    answer = predictor.predict(PredictionRequest(keys={"customer": first["customer"]}, features=read))
    assert answer["predicted_value"] == first["prediction"]
    assert answer["interval"] == {"low": first["prediction_low"], "high": first["prediction_high"], "coverage": 0.8}


def _features(lake: Lake, project: Project, customer: str, names: list[str]) -> tuple[object, ...]:
    spend = lake.read(project.table_name("spend_features")).filter(pl.col("day") == LAST)
    rows = spend.join(lake.read(project.table_name("people_features")), on="customer", how="left")
    return rows.filter(pl.col("customer") == customer).select(names).row(0)
