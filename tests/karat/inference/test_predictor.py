"""Predictions from keys: what is read, what overrides it, what is said of each feature, and every refusal."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from time import sleep

import polars as pl
import pytest

from karat.errors import EntityNotFound, FeatureLookupFailed, FeaturesMissing, InvalidRequest, MissingExtra
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.names import ModelName
from karat.online import KeySpace, OnlineStore, publish_table
from karat.registry import LoadedModel

from .conftest import PLANS, USAGE, ago


def ask(predictor: Predictor, **request) -> dict:
    answer = predictor.predict(PredictionRequest(**request))
    json.dumps(answer, allow_nan=False)
    return answer


def test_from_an_entity_alone(predictor) -> None:
    churn = predictor()
    answer = ask(churn, entity_id="c7")
    assert answer["predicted_value"] == churn.model.predict_row([8, 3.5, "tin"])[0]
    assert answer["feature_statuses"] == {"calls": "PRESENT", "spent": "PRESENT", "plan": "PRESENT"}
    assert answer["entity_id"] == "c7"
    assert answer["keys"] == {"customer": "c7"}
    assert (answer["model"], answer["prediction_type"]) == ("shop.churn", "CHURN")
    assert (answer["model_version"], answer["run_id"]) == (3, "run7")
    assert answer["prediction_id"].startswith("pred_")
    assert answer["latency_ms"] > 0
    assert datetime.fromisoformat(answer["prediction_date"]) <= datetime.now(UTC)
    assert answer["feature_times"] == {
        str(USAGE): datetime.combine(ago(1), time(), UTC).isoformat(),
        str(PLANS): None,
    }
    assert ask(churn, keys={"customer": "c7"})["predicted_value"] == answer["predicted_value"]
    assert ask(churn, entity_id="c7")["prediction_id"] != answer["prediction_id"]


def test_an_exact_lookup_without_its_day_takes_the_latest_known_row(predictor) -> None:
    churn = predictor(exact=True)
    latest, earlier = ask(churn, entity_id="c7"), ask(churn, keys={"customer": "c7", "day": str(ago(3))})
    assert latest["predicted_value"] == churn.model.predict_row([8, 3.5, "tin"])[0]
    assert earlier["predicted_value"] == churn.model.predict_row([10, 3.5, "tin"])[0]
    with pytest.raises(InvalidRequest, match="not of type date"):
        ask(churn, keys={"customer": "c7", "day": "someday"})


def test_a_past_date_reads_the_offline_store(predictor) -> None:
    churn = predictor()
    at = datetime.combine(ago(1), time(12), UTC)  # the row of two days ago is the newest known at noon yesterday
    with pytest.raises(InvalidRequest, match="plans has no time and is younger than") as caught:
        ask(churn, entity_id="c7", as_of_date=at)
    assert caught.value.where == "as_of_date"
    answer = ask(churn, entity_id="c7", as_of_date=at, features={"plan": "tin"})
    assert answer["predicted_value"] == churn.model.predict_row([9, 3.5, "tin"])[0]
    assert answer["feature_times"][str(USAGE)] == datetime.combine(ago(2), time(), UTC).isoformat()
    stored = ask(churn, entity_id="c45", as_of_date=at - timedelta(days=30), features={"plan": None})
    assert stored["feature_statuses"] == {"calls": "NOT_FOUND", "spent": "NOT_FOUND", "plan": "NULL"}


def test_a_past_date_reads_the_version_that_a_table_without_time_had_then(predictor, tables: Lake) -> None:
    churn = predictor()
    before = datetime.now(UTC)
    sleep(0.01)
    tables.merge(PLANS, pl.DataFrame({"customer": ["c7"], "plan": ["gold"]}))
    answer = ask(churn, entity_id="c7", as_of_date=before)
    assert answer["predicted_value"] == churn.model.predict_row([8, 3.5, "tin"])[0]
    answer = ask(churn, entity_id="c7", as_of_date=datetime.now(UTC))
    assert answer["predicted_value"] == churn.model.predict_row([8, 3.5, "gold"])[0]


def test_online_and_offline_say_the_same(predictor) -> None:
    churn = predictor()
    now = datetime.now(UTC)
    for customer in ("c0", "c7", "c10", "c41", "c49"):
        online = ask(churn, entity_id=customer)
        offline = ask(churn, entity_id=customer, as_of_date=now - timedelta(milliseconds=1))
        for field in ("predicted_value", "feature_statuses", "feature_times"):
            assert online[field] == offline[field], (customer, field)


def test_what_the_request_brings_overrides(predictor) -> None:
    churn = predictor()
    answer = ask(churn, entity_id="c7", features={"calls": 55, "plan": None})
    assert answer["predicted_value"] == churn.model.predict_row([55, 3.5, None])[0]
    assert answer["feature_statuses"] == {"calls": "PRESENT", "spent": "PRESENT", "plan": "NULL"}


def test_a_stored_null_is_a_value_and_a_missing_row_is_not_found(predictor) -> None:
    churn = predictor(default_values={"spent": 9.0})
    answer = ask(churn, entity_id="c40")
    assert answer["feature_statuses"] == {"calls": "PRESENT", "spent": "NULL", "plan": "NOT_FOUND"}
    assert answer["predicted_value"] == churn.model.predict_row([41, None, None])[0]


def test_defaults_and_expiry(predictor, tables: Lake) -> None:
    churn = predictor(lookback_window=timedelta(hours=1), default_values={"calls": 5})
    answer = ask(churn, entity_id="c7")
    assert answer["feature_statuses"] == {"calls": "DEFAULTED", "spent": "EXPIRED", "plan": "PRESENT"}
    assert answer["predicted_value"] == churn.model.predict_row([5, None, "tin"])[0]


def test_renamed_features_are_asked_for_by_their_new_name(predictor) -> None:
    churn = predictor(rename_outputs={"calls": "my_calls"})
    assert ask(churn, entity_id="c7", features={"my_calls": 1})["feature_statuses"]["my_calls"] == "PRESENT"
    with pytest.raises(InvalidRequest, match="Did you mean 'my_calls'"):
        ask(churn, entity_id="c7", features={"calls": 1})


def test_an_unknown_entity(predictor) -> None:
    churn = predictor(default_values={"calls": 5})
    with pytest.raises(EntityNotFound, match="customer='nobody'"):
        ask(churn, entity_id="nobody")
    answer = ask(churn, entity_id="nobody", features={"spent": 2})
    assert answer["feature_statuses"] == {"calls": "DEFAULTED", "spent": "PRESENT", "plan": "NOT_FOUND"}


def test_all_features_given_need_no_store_and_no_key(predictor, store: OnlineStore) -> None:
    churn = predictor()
    for table in (USAGE, PLANS):
        store.drop(KeySpace(str(table)))
    answer = ask(churn, features={"calls": 1, "spent": 2.5, "plan": "gold"})
    assert answer["predicted_value"] == churn.model.predict_row([1, 2.5, "gold"])[0]
    assert answer["entity_id"] is None


def test_a_table_that_is_not_published_is_named(predictor, store: OnlineStore, tables: Lake) -> None:
    churn = predictor()
    store.drop(KeySpace(str(PLANS)))
    with pytest.raises(FeatureLookupFailed, match=r"shop_dev\.features\.plans"):
        ask(churn, entity_id="c7")
    publish_table(tables, store, PLANS)
    assert ask(churn, entity_id="c7")["feature_statuses"]["plan"] == "PRESENT"


def test_one_read_a_table_and_key(tables: Lake, store: OnlineStore, predictor) -> None:
    churn = predictor()
    expected = ask(churn, entity_id="c7")["predicted_value"]
    metadata = churn.loaded.metadata
    first = metadata.lookups[0]
    twice = replace(first, columns={"spent": "spent"}), replace(first, columns={"calls": "calls"})
    split = replace(metadata, lookups=(*twice, metadata.lookups[1]))
    loaded = LoadedModel(ModelName("shop_dev", "churn"), 3, "run7", churn.model, split)
    reads: list[str] = []

    class Counting(type(store)):  # type: ignore[misc]
        def getter(self, space):
            get = super().getter(space)

            def counted(key):
                reads.append(space.table)
                return get(key)

            return counted

    store.__class__ = Counting
    one = Predictor(loaded, store, tables)
    assert ask(one, entity_id="c7")["predicted_value"] == expected
    assert sorted(reads) == [str(PLANS), str(USAGE)]


@pytest.mark.parametrize(
    ("request_", "where", "reason"),
    [
        ({}, "entity_id", "'customer' is missing"),
        ({"entity_id": 1.5}, "keys.customer", "not of type string"),
        ({"keys": {"customers": "c1"}}, "keys.customers", "Did you mean 'customer'"),
        ({"keys": {"customer": None}}, "keys.customer", "is missing"),
        ({"entity_id": "c1", "keys": {"customer": "c2"}}, "entity_id", "another than entity_id"),
        ({"entity_id": "\ud800"}, "keys.customer", "not of type string"),
        ({"entity_id": "c1", "features": {"call": 1}}, "features.call", "Did you mean 'calls'"),
        ({"entity_id": "c1", "features": {"calls": "many"}}, "features.calls", "whole number"),
        ({"entity_id": "c1", "features": {"calls": True}}, "features.calls", "whole number"),
        ({"entity_id": "c1", "features": {"calls": 1.5}}, "features.calls", "whole number"),
        ({"entity_id": "c1", "features": {"calls": 10**400}}, "features.calls", "whole number"),
        ({"entity_id": "c1", "features": {"spent": math.nan}}, "features.spent", "finite"),
        ({"entity_id": "c1", "features": {"plan": 7}}, "features.plan", "a text"),
        ({"entity_id": "c1", "features": {"plan": ["gold"]}}, "features.plan", "a text"),
        ({"entity_id": "c1", "as_of_date": datetime(2026, 1, 1)}, "as_of_date", "time zone"),
    ],
)
def test_wrong_requests_say_which_field_and_why(predictor, request_, where, reason) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        ask(predictor(), **request_)
    assert caught.value.where == where


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression", "gradient_boosting", "random_forest"])
def test_contributions_add_up_to_the_probability_and_are_told_in_words(predictor, kind: str) -> None:
    answer = ask(predictor(kind), entity_id="c7")
    listed, told = answer["top_features"], answer["explanation"]
    assert told["unit"] == "probability"
    assert "the base is" in told["method"]
    assert listed[0]["feature_name"] == "calls"
    assert {f["feature_name"]: f["value"] for f in listed} == {"calls": 8, "spent": 3.5, "plan": "tin"}
    total = told["base_value"] + told["other_features"] + sum(f["contribution"] for f in listed)
    assert total == pytest.approx(told["total"], rel=1e-9)
    assert total == pytest.approx(answer["predicted_value"], rel=1e-6)
    verb = "raises" if listed[0]["contribution"] > 0 else "lowers"
    assert listed[0]["text"].startswith(f"calls 8 {verb} the probability of ")
    assert told["text"].startswith("The probability of ")
    unasked = ask(predictor(kind), entity_id="c7", explain=False)
    assert (unasked["top_features"], unasked["explanation"]) == (None, {"reason": "the request asked for none"})


def test_the_words_name_what_a_missing_value_and_a_risk_level_are(predictor) -> None:
    churn = predictor("random_forest")
    declaration = {"risk_levels": {"low": 0.0, "sure": 0.5}}
    churn.loaded = replace(churn.loaded, metadata=replace(churn.loaded.metadata, declaration=declaration))
    answer = ask(churn, entity_id="c7", features={"plan": None})
    texts = {f["feature_name"]: f["text"] for f in answer["top_features"]}
    assert texts["plan"].startswith("plan (missing) ")
    assert " the risk by " in texts["calls"]


def test_a_model_whose_contributions_cannot_be_had_still_predicts(predictor, monkeypatch) -> None:
    churn, missing = predictor("random_forest"), MissingExtra("'numba' is not installed", remedy="pip install it")
    monkeypatch.setattr(type(churn.model), "contributions", lambda *_, **__: (_ for _ in ()).throw(missing))
    answer = ask(churn, entity_id="c7")
    assert answer["top_features"] is None
    assert answer["explanation"]["reason"] == "'numba' is not installed; pip install it"


def test_a_declaration_gives_levels_and_may_do_without_explanations(predictor) -> None:
    churn = predictor()
    assert ask(churn, entity_id="c7")["risk_level"] is None
    declaration = {"risk_levels": {"low": 0.0, "sure": 0.5}, "explain": False}
    churn.loaded = replace(churn.loaded, metadata=replace(churn.loaded.metadata, declaration=declaration))
    answer = ask(churn, entity_id="c7")
    assert answer["risk_level"] == ("sure" if answer["predicted_value"] >= 0.5 else "low")
    assert answer["top_features"] is None
    assert "explain: false" in answer["explanation"]["reason"]


def test_what_each_task_answers(predictor) -> None:
    regression = ask(predictor("linear_regression", "regression"), entity_id="c7")
    assert regression["predicted_value"] == pytest.approx(8, abs=1)
    assert (regression["predicted_class"], regression["confidence"]) == (None, None)
    for customer in ("c3", "c38"):
        binary = ask(predictor(), entity_id=customer)
        assert binary["predicted_class"] is (binary["predicted_value"] >= 0.5)
        assert binary["confidence"] == max(binary["predicted_value"], 1 - binary["predicted_value"])
    several = ask(predictor("xgboost", "multiclass"), entity_id="c7")
    assert several["predicted_class"] in (0, 1, 2)
    assert several["confidence"] == several["predicted_value"] == max(several["probabilities"].values())
    assert several["explanation"]["of_class"] == several["predicted_class"]
    strange = ask(predictor("isolation_forest", "anomaly"), entity_id="c7", features={"calls": 10**6})
    assert strange["predicted_class"] == "anomaly"


def test_a_prediction_from_too_few_features_is_marked_or_refused(predictor, store: OnlineStore, tables: Lake) -> None:
    churn = predictor()
    whole, most = ask(churn, entity_id="c7"), ask(churn, entity_id="c40")
    assert (whole["degraded"], whole["missing_features"]) == (False, [])
    assert (most["degraded"], most["missing_features"]) == (True, ["spent", "plan"])  # two of three
    for declared, degraded in (({"share": 0.7}, False), ({"share": 0.0}, True)):
        metadata = replace(churn.loaded.metadata, declaration={"missing_features": declared})
        again = Predictor(replace(churn.loaded, metadata=metadata), store, tables)
        assert ask(again, entity_id="c40")["degraded"] is degraded
    metadata = replace(churn.loaded.metadata, declaration={"missing_features": {"action": "refuse"}})
    strict = Predictor(replace(churn.loaded, metadata=metadata), store, tables)
    assert ask(strict, entity_id="c7")["predicted_value"] == whole["predicted_value"]
    with pytest.raises(FeaturesMissing, match="2 of the model's 3 features have no value: spent, plan"):
        ask(strict, entity_id="c40")
    assert ask(strict, entity_id="c40", features={"plan": "tin"})["missing_features"] == ["spent"]
