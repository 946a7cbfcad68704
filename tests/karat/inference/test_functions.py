"""A feature function gives the same in training, in batch and online: of keys, lookups and request values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from karat import FeatureFunction, FeatureLookup
from karat.errors import ColumnMissing, EntityNotFound, InvalidRequest, SchemaMismatch
from karat.inference.batch import predict
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle.version_entry import model_metadata
from karat.names import ModelName
from karat.online import OnlineStore
from karat.registry import LoadedModel
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.training_set import create_training_set
from tests.karat.inference.conftest import PLANS, USAGE


def share(amount: pl.Series, spent: pl.Series) -> pl.Series:
    return amount / (spent + 1)


def initial(customer: pl.Series, plan: pl.Series) -> pl.Series:
    return customer.str.slice(0, 1) + plan.str.slice(0, 1)


def weekday(at: pl.Series) -> pl.Series:
    return at.dt.weekday()


LOOKUPS = [
    FeatureLookup(str(USAGE), ["calls", "spent"], lookup_key="customer", timestamp_lookup_key="at"),
    FeatureLookup(str(PLANS), lookup_key="customer"),
    FeatureFunction("share", {"amount": "amount", "spent": "spent"}, function=share),
    FeatureFunction("initial", {"customer": "customer", "plan": "plan"}, function=initial),
    FeatureFunction("double_share", {"amount": "share", "spent": "calls"}, function=share),
    FeatureFunction("weekday", {"at": "at"}, function=weekday),
]


@pytest.fixture
def loaded(tables: Lake) -> tuple[LoadedModel, FunctionLibrary, pl.DataFrame]:
    """A model whose ``spent`` and ``amount`` only functions read; with it the training rows."""
    random = np.random.default_rng(0)
    rows = 300
    spine = pl.DataFrame(
        {
            "customer": random.choice([f"c{i}" for i in range(45)], rows),
            "at": [datetime.now(UTC) - timedelta(minutes=n) for n in range(rows)],
            "amount": random.integers(1, 50, rows),
        }
    ).with_columns(label=pl.col("amount") * 1.5)
    library = FunctionLibrary()
    out = create_training_set(tables, spine, LOOKUPS, "label", ["customer", "at", "amount", "spent"], library=library)
    assert out.features == ("calls", "plan", "share", "initial", "double_share", "weekday")
    model = Model("xgboost", "regression").fit(out.data.select(out.features), out.data["label"])
    return (
        LoadedModel(ModelName("shop_dev", "m"), 1, "run", model, model_metadata(out, model, out.pins)),
        library,
        out.data,
    )


def online(loaded: LoadedModel, library: FunctionLibrary, store: OnlineStore, lake: Lake) -> Callable[..., dict]:
    predictor = Predictor(loaded, store, lake, library)
    return lambda **request: predictor.predict(PredictionRequest(**request))


def test_training_batch_and_online_agree(loaded, tables: Lake, store: OnlineStore) -> None:
    model, library, data = loaded
    trained = model.model.predict(data.select(model.features))
    keys = data.select("customer", "at", "amount")
    assert predict(tables, model, keys, library=library)["prediction"].to_list() == trained.tolist()
    as_floats = keys.with_columns(pl.col("amount").cast(pl.Float64))
    assert predict(tables, model, as_floats, library=library)["prediction"].to_list() == trained.tolist()
    ask = online(model, library, store, tables)
    for row in range(0, 300, 60):
        customer, at, amount = keys.row(row)
        past = ask(keys={"customer": customer, "at": at.isoformat()}, features={"amount": amount})
        now = ask(keys={"customer": customer}, features={"amount": amount})
        assert past["predicted_value"] == pytest.approx(trained[row], abs=0)
        assert (now["predicted_value"] == past["predicted_value"]) or datetime.now(UTC).date() != at.date()
        assert now["feature_statuses"].keys() == set(model.features)
        missing = data["share"][row] is None
        assert now["feature_statuses"]["share"] == ("NULL" if missing else "PRESENT")


def test_a_missing_input_is_named(loaded, tables: Lake, store: OnlineStore) -> None:
    model, library, data = loaded
    ask = online(model, library, store, tables)
    with pytest.raises(InvalidRequest, match="'share' needs 'amount'") as caught:
        ask(keys={"customer": "c1"})
    assert caught.value.where == "features.amount"
    with pytest.raises(InvalidRequest, match="not a whole number"):
        ask(keys={"customer": "c1"}, features={"amount": "much"})
    with pytest.raises(InvalidRequest, match="Did you mean 'amount'"):
        ask(keys={"customer": "c1"}, features={"amuont": 1})
    keys = data.select("customer", "at", "amount").head(3)
    with pytest.raises(ColumnMissing, match="needs the column 'amount'"):
        predict(tables, model, keys.drop("amount"), library=library)
    with pytest.raises(SchemaMismatch, match="'amount' is String"):
        predict(tables, model, keys.with_columns(pl.col("amount").cast(pl.String)), library=library)


def test_what_is_brought_is_not_computed(loaded, tables: Lake, store: OnlineStore) -> None:
    model, library, data = loaded
    keys = data.select("customer", "at").head(20)
    shares = keys.with_columns(share=data["share"].head(20))  # so that amount is not needed
    trained = model.model.predict(data.head(20).select(model.features))
    assert predict(tables, model, shares, library=library)["prediction"].to_list() == trained.tolist()
    ask = online(model, library, store, tables)
    answer = ask(keys={"customer": keys["customer"][0]}, features={"share": data["share"][0]}, as_of_date=keys["at"][0])
    assert answer["predicted_value"] == trained[0]
    nulls = ask(keys={"customer": "c1"}, features={"amount": None})
    assert nulls["feature_statuses"]["share"] == "NULL"


def test_an_entity_that_nobody_knows_needs_values(loaded, tables: Lake, store: OnlineStore) -> None:
    model, library, _ = loaded
    ask = online(model, library, store, tables)
    with pytest.raises(EntityNotFound):
        ask(keys={"customer": "nobody"})
    answer = ask(keys={"customer": "nobody"}, features={"amount": 3})
    assert answer["feature_statuses"]["calls"] == "NOT_FOUND"
    assert answer["feature_statuses"]["share"] == "NULL"
