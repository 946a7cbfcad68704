"""The client's verbs, on the lake alone: no server runs."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xgboost
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from karat import FeatureEngineeringClient, FeatureLookup
from karat.errors import (
    ColumnMissing,
    DuplicateKeys,
    FeatureLookupFailed,
    ForeignCatalog,
    KeyColumnNull,
    ModelNotFound,
    NaiveTimestamp,
    NoChampion,
    SchemaMismatch,
    ServiceDown,
    SignatureError,
    TableNotFound,
    UntrustedModel,
    WrongCall,
)
from karat.kinds import Model
from karat.registry import Registry, open_registry
from karat.settings import Settings
from karat.training_sets.frames import to_polars

DAYS = [date(2026, 1, 1) + timedelta(days=i) for i in range(40)]
FRAME = pl.DataFrame(
    {
        "workspace_id": [w for w in ("a", "b", "c") for _ in DAYS],
        "usage_date": DAYS * 3,
        "daily_dbu": [float(i % 7 + 10 * j) for j in range(3) for i in range(len(DAYS))],
        "z_score_7d": [float((i * 37 + j) % 11 - 5) for j in range(3) for i in range(len(DAYS))],
    }
)
KEYS = ["workspace_id", "usage_date"]


@pytest.fixture
def fe(settings: Settings, registry: Registry) -> FeatureEngineeringClient:
    return FeatureEngineeringClient(catalog="shop_dev", settings=settings)


@pytest.fixture
def cost(fe: FeatureEngineeringClient) -> FeatureEngineeringClient:
    """Document 000's cost_features."""
    fe.create_table("cost_features", KEYS, FRAME, timeseries_columns="usage_date", description="Cost of a workspace")
    return fe


def training_set(fe: FeatureEngineeringClient, frame=None, **lookup):
    base = FRAME.select(*KEYS, label=(pl.col("z_score_7d") + pl.col("daily_dbu") > 9).cast(pl.Int64))
    how = {"feature_names": ["daily_dbu", "z_score_7d"], "lookup_key": KEYS, **lookup}
    lookups = [FeatureLookup(table_name="shop_dev.features.cost_features", **how)]
    return fe.create_training_set(
        df=base if frame is None else frame, feature_lookups=lookups, label="label", exclude_columns=KEYS
    )


def test_the_code_of_document_000(cost: FeatureEngineeringClient) -> None:
    """Steps 1 to 5 and the scoring, with pandas where it says toPandas."""
    made = training_set(cost)
    training_df = made.load_df().to_pandas()
    X, y = training_df.drop(columns="label").astype("float64"), training_df["label"]
    model = RandomForestClassifier(n_estimators=20, random_state=0).fit(X, y)
    example = X.head(5)
    version = cost.log_model(
        model=model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=made,
        registered_model_name="shop_dev.features.cost_anomaly_detector",
        input_example=example,
        signature=infer_signature(example, model.predict(example)),
    )
    assert str(version.name) == "shop_dev.models.cost_anomaly_detector"
    with pytest.raises(NoChampion):
        cost.score_batch(model_uri="models:/shop_dev.features.cost_anomaly_detector/Production", df=FRAME.select(KEYS))
    cost.registry.set_alias(version, "champion", "approved by hand")
    predictions = cost.score_batch(
        model_uri="models:/shop_dev.features.cost_anomaly_detector/Production",
        df=FRAME.select(KEYS),
        result_type="double",
    )
    assert predictions.columns == [
        *KEYS,
        "prediction",
        "probability",
        "degraded",
        "model_name",
        "model_version",
        "run_id",
        "scored_at",
    ]
    assert predictions["prediction"].dtype == pl.Float64
    assert predictions["prediction"].to_list() == model.predict(X).astype(float).tolist()
    assert predictions["probability"].to_list() == pytest.approx(model.predict_proba(X)[:, 1])
    assert set(predictions["model_version"]) == {1}
    assert set(predictions["run_id"]) == {version.run_id}


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow"])
def test_tables_come_and_go_in_any_kind_of_frame(fe: FeatureEngineeringClient, kind: str) -> None:
    given = {"polars": FRAME, "pandas": FRAME.to_pandas(date_as_object=True), "arrow": FRAME.to_arrow()}[kind]
    info = fe.create_table(
        "t", KEYS, given, timeseries_columns=["usage_date"], owner="me", descriptions={"daily_dbu": "DBU"}
    )
    assert (info.primary_key, info.timeseries, info.owner) == (tuple(KEYS), "usage_date", "me")
    assert fe.get_table("features.t").comments["daily_dbu"] == "DBU"
    out = fe.read_table("shop_dev.features.t", frames=kind)
    assert type(out) is type(given)
    assert to_polars(out).sort(KEYS).rows() == FRAME.sort(KEYS).rows()


def test_merge_and_overwrite(cost: FeatureEngineeringClient) -> None:
    changed = FRAME.head(2).with_columns(daily_dbu=99.0)
    commit = cost.write_table("cost_features", changed, mode="merge")
    assert (commit.rows, commit.changed) == (2, True)
    assert cost.write_table("cost_features", changed).changed is False
    assert cost.read_table("cost_features").height == FRAME.height
    before = commit.version
    cost.write_table("cost_features", FRAME.head(3), mode="overwrite")
    assert cost.read_table("cost_features").height == 3
    assert cost.read_table("cost_features", version=before, columns=["daily_dbu"])["daily_dbu"].max() == 99.0


def test_naive_times_need_a_zone(fe: FeatureEngineeringClient) -> None:
    frame = pl.DataFrame({"id": [1], "at": [datetime(2026, 7, 1, 12)]})
    with pytest.raises(NaiveTimestamp):
        fe.create_table("events", ["id", "at"], frame, timeseries_columns="at")
    fe.create_table("events", ["id", "at"], frame, timeseries_columns="at", timezone="Europe/Zurich")
    assert str(fe.read_table("events")["at"][0]) == "2026-07-01 10:00:00+00:00"


@pytest.mark.parametrize(
    ("keys", "frame", "error", "says"),
    [
        (["id"], pl.DataFrame({"id": [1, None], "x": [1.0, 2.0]}), KeyColumnNull, "1"),
        (["id"], pl.DataFrame({"id": [1, 1], "x": [1.0, 2.0]}), DuplicateKeys, "id"),
        (["idd"], pl.DataFrame({"id": [1], "x": [1.0]}), ColumnMissing, "Did you mean 'id'"),
        ([], pl.DataFrame({"id": [1], "x": [1.0]}), SchemaMismatch, "primary key"),
        (["x"], pl.DataFrame({"id": [1], "x": [1.5]}), SchemaMismatch, "keys are"),
    ],
)
def test_a_table_that_cannot_be_made_is_not_there(fe, keys, frame, error, says) -> None:
    with pytest.raises(error, match=says):
        fe.create_table("broken", keys, frame)
    with pytest.raises(TableNotFound):
        fe.get_table("broken")


def test_wrong_calls(cost: FeatureEngineeringClient) -> None:
    with pytest.raises(TableNotFound, match="cost_features"):
        cost.read_table("cost_feature")
    with pytest.raises(WrongCall, match="Did you mean 'merge'"):
        cost.write_table("cost_features", FRAME, mode="merg")
    with pytest.raises(WrongCall, match="give one"):
        cost.create_table("x", "id")
    with pytest.raises(WrongCall, match="not a column"):
        cost.create_table("x", "id", pl.DataFrame({"id": [1]}), descriptions={"xx": "?"})
    with pytest.raises(ForeignCatalog):
        cost.create_table("shop_prod.features.x", "id", pl.DataFrame({"id": [1]}))
    with pytest.raises(WrongCall, match="no catalog"):
        FeatureEngineeringClient(settings=cost.settings).read_table("cost_features")
    with pytest.raises(WrongCall, match="no kind of frame"):
        cost.read_table("cost_features", frames="panda")
    with pytest.raises(KeyColumnNull):
        cost.write_table("cost_features", FRAME.with_columns(workspace_id=pl.lit(None, pl.String)))
    assert cost.get_table("cost_features").version == 1


def fitted(made, estimator):
    frame = made.load_df().to_pandas()
    X = frame.drop(columns="label")
    return estimator.fit(X, frame["label"]), X


ESTIMATORS = {
    "binary": HistGradientBoostingClassifier(max_iter=5),
    "xgboost": xgboost.XGBClassifier(n_estimators=3),
    "regression": LinearRegression(),
    "xgb_regression": xgboost.XGBRegressor(n_estimators=3),
    "anomaly": IsolationForest(n_estimators=10, random_state=0),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_come_back_as_they_were(cost: FeatureEngineeringClient, name: str) -> None:
    made = training_set(cost)
    model, X = fitted(made, ESTIMATORS[name])
    version = cost.log_model(model, training_set=made, registered_model_name=f"m_{name}")
    loaded = cost.registry.load(version)
    frame = pl.from_pandas(X)
    raw = {
        "anomaly": lambda: -model.score_samples(X),
        "binary": lambda: model.predict_proba(X)[:, 1],
        "xgboost": lambda: model.predict_proba(X)[:, 1],
    }.get(name, lambda: model.predict(X))()
    assert loaded.model.predict(frame).tolist() == pytest.approx(raw.tolist(), abs=0)
    assert loaded.model.predict_row(frame.row(3)).tolist() == pytest.approx([raw[3]], rel=1e-6)
    scored = cost.score_batch(f"m_{name}/1", FRAME.select(KEYS))
    own = model.predict(X) == -1 if name == "anomaly" else model.predict(X)
    assert scored["prediction"].to_list() == pytest.approx(own.tolist())


def test_a_users_training_set_comes_back(cost: FeatureEngineeringClient) -> None:
    made = training_set(cost, FRAME.select(*KEYS, label=pl.col("z_score_7d") * 2).to_pandas())
    frame = made.load_df()
    model = LinearRegression().fit(frame.drop(columns="label"), frame["label"])
    cost.log_model(model, training_set=made, registered_model_name="line")
    cost.write_table("cost_features", FRAME.with_columns(daily_dbu=pl.lit(0.0)), mode="overwrite")
    again = cost.rebuild_training_set("models:/line/1")
    assert (again.digest, again.features) == (made.digest, made.features)
    assert again.data.equals(made.data)
    with pytest.raises(NoChampion):
        cost.rebuild_training_set("line")
    gone = cost.erase("cost_features", pl.DataFrame({"workspace_id": ["b"]}))
    assert (gone.rows, gone.models) == (len(DAYS), {"models:/shop_dev.models.line/1": len(DAYS)})
    less = cost.rebuild_training_set("models:/line/1")
    assert less.data.equals(made.data.filter(pl.col("workspace_id") != "b"))
    assert less.erased_rows == len(DAYS)


def test_a_booster_and_a_kind(cost: FeatureEngineeringClient) -> None:
    made = training_set(cost)
    frame = made.load_df()
    X, y = frame.drop("label"), frame["label"]
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X.to_pandas(), y.to_numpy()), 3)
    kind = Model("logistic_regression", "binary").fit(X, y)
    for name, model, raw in (
        ("booster", booster, booster.inplace_predict(X.to_pandas())),
        ("kind", kind, kind.predict(X)),
    ):
        version = cost.log_model(model, training_set=made, registered_model_name=name)
        assert cost.registry.load(version).model.predict(X).tolist() == pytest.approx(raw.tolist(), abs=0)
        assert version.tags["karat.task"] == "binary"


def test_text_goes_through_a_pipeline(cost: FeatureEngineeringClient) -> None:
    cost.create_table("who", "workspace_id", pl.DataFrame({"workspace_id": ["a", "b", "c"], "team": ["x", "y", None]}))
    base = FRAME.select(*KEYS, label=pl.col("z_score_7d"))
    lookups = [
        FeatureLookup("cost_features", "daily_dbu", KEYS),
        FeatureLookup("who", "team", "workspace_id"),
    ]
    made = cost.create_training_set(base.to_pandas(), lookups, "label", KEYS)
    frame = made.load_df()
    X = frame.drop(columns="label")
    encode = ColumnTransformer([("team", OneHotEncoder(handle_unknown="ignore"), ["team"])], remainder=SimpleImputer())
    model = make_pipeline(encode, LinearRegression()).fit(X, frame["label"])
    version = cost.log_model(model, training_set=made, registered_model_name="texts")
    got = cost.registry.load(version).model.predict(pl.from_pandas(X))
    assert got.tolist() == pytest.approx(model.predict(X).tolist())


def test_signatures_have_both_sides_and_the_same_features(cost: FeatureEngineeringClient) -> None:
    made = training_set(cost)
    model, X = fitted(made, LinearRegression())
    half = ModelSignature(Schema([ColSpec("double", "daily_dbu"), ColSpec("double", "z_score_7d")]))
    other = infer_signature(X.rename(columns={"daily_dbu": "dbu"}), np.array([1.0]))
    for signature, says in ((half, "no outputs"), (other, "missing: daily_dbu"), ("x", "is a str")):
        with pytest.raises(SignatureError, match=says):
            cost.log_model(model, training_set=made, registered_model_name="m", signature=signature)
    with pytest.raises(SignatureError, match="other features"):
        cost.log_model(
            LinearRegression().fit(X[["z_score_7d"]], X["daily_dbu"]), training_set=made, registered_model_name="m"
        )
    one = LinearRegression().fit(X[["z_score_7d"]].to_numpy(), X["daily_dbu"])
    with pytest.raises(SignatureError, match="fitted on 1 features"):
        cost.log_model(one, training_set=made, registered_model_name="m")
    with pytest.raises(SignatureError, match="input example has no daily_dbu"):
        cost.log_model(model, training_set=made, registered_model_name="m", input_example=X[["z_score_7d"]])
    assert cost.registry.models() == []


def double(x):
    return x * 2


class Own:
    def predict(self, X):
        return X


def test_what_would_need_pickle_is_refused(cost: FeatureEngineeringClient) -> None:
    made = training_set(cost)
    model, _ = fitted(made, make_pipeline(FunctionTransformer(double), LinearRegression()))
    with pytest.raises(UntrustedModel, match="trusted list"):
        cost.log_model(model, training_set=made, registered_model_name="m")
    with pytest.raises(UntrustedModel, match="without pickle"):
        cost.log_model(Own(), training_set=made, registered_model_name="m")
    with pytest.raises(WrongCall, match="flavor 'pytorch'"):
        cost.log_model(model, training_set=made, registered_model_name="m", flavor="pytorch")
    assert cost.registry.models() == []


def test_models_that_are_not_there(cost: FeatureEngineeringClient) -> None:
    with pytest.raises(ModelNotFound, match="no model is registered yet"):
        cost.score_batch("models:/nothing@champion", FRAME)
    made = training_set(cost)
    cost.log_model(fitted(made, LinearRegression())[0], training_set=made, registered_model_name="line")
    with pytest.raises(ModelNotFound, match=r"shop_dev\.models\.line"):
        cost.score_batch("models:/lines/1", FRAME)
    with pytest.raises(FeatureLookupFailed, match="no key column 'usage_date'"):
        cost.score_batch("models:/line/1", FRAME.select("workspace_id"))


def test_without_a_server_the_servers_own_files_are_used(settings: Settings) -> None:
    registry = open_registry(settings)
    assert registry.tracking_uri == f"sqlite:///{settings.home}/mlflow/mlflow.db"
    assert registry.models() == []
    assert not Path(settings.home, "mlflow").exists()  # reading makes nothing
    with pytest.raises(ServiceDown, match="MLflow does not answer"):
        open_registry(settings.model_copy(update={"host": "192.0.2.1"}))


def test_publishing_goes_to_the_online_store(cost: FeatureEngineeringClient) -> None:
    done = cost.publish_table("cost_features")
    assert (done.changed, done.written) == (True, 3)
    assert cost.publish_table("cost_features").changed is False


def test_an_arrow_schema_makes_an_empty_table(fe: FeatureEngineeringClient) -> None:
    schema = pa.schema([("id", pa.int32()), ("price", pa.decimal128(10, 2))])
    info = fe.create_table("empty", "id", schema=schema)
    assert [str(f.type) for f in info.schema] == ["int64", "double"]
    fe.write_table("empty", pd.DataFrame({"id": [1], "price": [1.5]}))
    assert fe.read_table("empty").rows() == [(1, 1.5)]
