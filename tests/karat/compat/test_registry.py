"""The registry's old verbs: whatever their name, a champion is made by the gates alone."""

from __future__ import annotations

import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from karat.compat import FeaturePipeline, MlflowClient
from karat.errors import (
    ModelNotFound,
    NoChampion,
    PromotionRefused,
    SignatureError,
    UnknownModel,
    WrongCall,
)
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext

NAME = "move_probability_model"
GOOD = ["doc_access_count_30d", "email_open_rate_30d"]


def test_a_declared_model_gets_its_lookups_and_is_measured_by_karat(models, forest):
    made = models.register_model(forest, NAME, metrics={"accuracy": 0.99}, parameters={"depth": 4}, tags={"v": "1"})
    assert (str(made.name), made.version, made.aliases) == ("roi_dev.models.move_probability", 1, ("challenger",))
    told = models.get_model_metadata("MOVE_PROBABILITY")
    assert told["features"] == GOOD
    assert told["metrics"]["accuracy"] != 0.99
    assert told["metrics"]["roc_auc"] > told["baseline"]["roc_auc"]
    assert told["reported_metrics"] == {"accuracy": 0.99}
    assert told["parameters"]["depth"] == "4"
    assert told["tags"]["v"] == "1"
    assert told["deployed_at"] is None


def test_only_the_gates_make_a_champion(two, forest):
    with pytest.raises(PromotionRefused, match="does not beat its baseline"):
        two.promote_model(NAME, "1", "Production")
    with pytest.raises(NoChampion):
        two.load_model(NAME)
    assert two.promote_model(NAME, version="2", stage="Production").aliases == ("champion",)
    two.register_model(forest, NAME)
    with pytest.raises(PromotionRefused, match="margin"):
        two.promote_model(NAME, "latest", "Champion")
    assert two.find(NAME).version == 2
    with pytest.raises(WrongCall, match="promote its successor"):
        two.archive_model(NAME, 2)
    assert two.promote_model(NAME, 1, "staging").aliases == ("challenger",)
    assert "archived" in two.archive_model(NAME, 1).aliases
    with pytest.raises(WrongCall, match="Production"):
        two.promote_model(NAME, 1, "Prodction")


def test_mlflows_own_calls_go_the_same_way(two):
    client = MlflowClient(two.client)
    assert client.get_model_version_by_alias(NAME, "Champion") is None
    client.set_registered_model_alias(NAME, "Champion", "2")
    champion = client.get_model_version_by_alias(NAME, "Champion")
    client.set_registered_model_alias(NAME, "Archived", champion.version)
    with pytest.raises(PromotionRefused):
        client.set_registered_model_alias(NAME, "Champion", 1)
    assert client.get_model_version_by_alias(NAME, "champion").version == 2


def test_a_loaded_model_predicts_as_its_estimator(two, forest, rows):
    served, X = two.load_model("roi.move_probability", version="latest"), rows.drop(columns="moves")
    assert (served.predict(X) == forest.predict(X[GOOD].astype("float64"))).all()
    assert served.outputs(pl.from_pandas(X))["probability"].shape == (len(X),)
    with pytest.raises(ModelNotFound, match="move_probability"):
        two.load_model("move_probabilty")


def test_versions_are_compared_on_the_same_rows(two):
    found = two.compare_models(NAME, version1="1", version2="2", metrics=["accuracy", "roc_auc", "log_loss"])
    assert found["rows"] > 50
    assert found["metrics"]["roc_auc"]["version1"] == pytest.approx(0.5)
    assert found["metrics"]["roc_auc"]["better"] == 2
    assert found["metrics"]["log_loss"]["difference"] < 0
    assert found["metrics"]["log_loss"]["better"] == 2
    assert "f1" in two.compare_models(NAME, 1, 2)["metrics"]
    with pytest.raises(WrongCall, match="accuracy"):
        two.compare_models(NAME, 1, 2, ["acuracy"])


def test_what_does_not_fit_its_declaration_is_not_registered(models, rows, fitted):
    with pytest.raises(ModelNotFound, match="karat run"):
        models.promote_model(NAME)
    with pytest.raises(SignatureError, match="is for regression"):
        models.register_model(fitted(LinearRegression()), NAME)
    renamed = rows.rename(columns={GOOD[0]: "email_open_rate"})
    odd = RandomForestClassifier(5).fit(renamed[["email_open_rate"]], renamed["moves"].astype(bool))
    with pytest.raises(SignatureError, match="email_open_rate_30d"):
        models.register_model(odd, NAME)
    with pytest.raises(WrongCall, match="training_set="):
        models.register_model(odd, "nobodys_model")
    assert models.registry.versions(models.declared.model(NAME)[0].model_name("move_probability")) == []


def test_a_model_of_no_project_has_no_gates_and_no_champion(models, fe):
    from karat import FeatureLookup

    fe.catalog = "roi_dev"
    spine = fe.read_table("temporal_features").select("user_id", "day").with_columns(label=pl.col("day").dt.day() > 15)
    lookup = FeatureLookup("temporal_features", ["day_of_week", "month_sin"], lookup_key=["user_id", "day"])
    made = fe.create_training_set(spine, [lookup], "label", exclude_columns=["user_id", "day"])
    frame = made.load_df().to_pandas()
    own = RandomForestClassifier(5).fit(frame[["day_of_week", "month_sin"]].astype("float64"), frame["label"])
    version = models.register_model(own, "mine_model", {"accuracy": 0.5}, training_set=made)
    assert str(version.name) == "roi_dev.models.mine"
    with pytest.raises(UnknownModel, match="is not declared"):
        models.promote_model("mine", version.version)
    assert models.compare_models("mine", 1, 1)["rows"] is None


def test_a_candidate_that_karat_trained_is_not_taken_for_the_given_one(two):
    project, spec = two.declared.model(NAME)
    assert make_candidate(ModelContext(project, spec, two.client.lake, two.registry)).retrained
    two.promote_model(NAME, 3)
    assert FeaturePipeline(None).feature_importance(NAME)
