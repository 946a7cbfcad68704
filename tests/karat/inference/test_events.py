"""A table with a row per event at request time: what the request is finished with is the row that the table gets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import FeatureLookupFailed, InvalidRequest
from karat.features import Status, compute_frame, compute_table
from karat.inference.consistency import check_consistency
from karat.inference.feature_reader import FeatureReader
from karat.inference.features import online_features
from karat.inference.prediction_log import PredictionLog
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle import log_external_model
from karat.names import ModelName, TableName
from karat.online import OnlineStore, backends, open_store, publish_table
from karat.registry import ModelVersion, Registry
from karat.settings import PredictionLogSettings, Settings
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin
from karat.training_sets.training_set import create_training_set
from tests.karat.features.events_oracle import GOLD, MORE, same, table
from tests.services import use_store

PAID, PAYMENTS = TableName("shop_dev", "features", "paid"), TableName("shop_dev", "gold", "payments")
WINDOWS = ("90m", "2d")
TABLE = table(windows=WINDOWS, closed="right", more=MORE)
NAMES = [f.name for f in TABLE.stored]
OWN = ("amount", "items", "fraud", "what")
NOW = datetime.now(UTC).replace(microsecond=0)


def payments() -> pl.DataFrame:
    """80 events of four users in the last four days, several of one second, none of the last hour."""
    random = np.random.default_rng(0)
    n = 80
    seconds = np.concatenate([random.integers(3600, 4 * 86_400, n - 8), np.repeat([7200, 9000], 4)])
    return pl.DataFrame(
        {
            "payment_id": random.permutation(n),
            "user": random.choice(["ann", "bob", "cid", "dee"], n),
            "shop": random.integers(1, 3, n),
            "paid_at": [NOW - timedelta(seconds=int(s)) for s in seconds],
            "amount": [None if i % 9 == 0 else float(i % 13) for i in range(n)],
            "items": random.integers(1, 5, n),
            "fraud": random.random(n) < 0.2,
            "what": random.choice(["card", "cash"], n),
        },
        schema_overrides={"paid_at": pl.Datetime("us", "UTC"), "amount": pl.Float64},
    )


FILES = {
    "project.yaml": "description: A shop\nowner: shop team\n",
    "gold.py": "from tests.karat.features.events_oracle import GOLD as payments\n",
    "features/paid.py": f"""
from tests.karat.features.events_oracle import MORE, table
paid = table(windows={WINDOWS!r}, closed="right", more=MORE)
""",
}


@pytest.fixture
def project(tmp_path) -> Project:
    """On disk: the engine's shards load it by its name."""
    for name, text in FILES.items():
        path = tmp_path / "projects" / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_project("shop", Settings(projects=tmp_path / "projects"))


@pytest.fixture
def filled(lake: Lake, project: Project) -> Lake:
    lake.create(PAYMENTS, GOLD.schema, primary_key=GOLD.key, timeseries="paid_at")
    lake.merge(PAYMENTS, payments())
    compute_table(project, "paid", lake)
    return lake


@pytest.fixture(params=backends())
def published(
    request: pytest.FixtureRequest, settings: Settings, filled: Lake, project: Project
) -> Iterator[OnlineStore]:
    store = open_store(use_store(request.param, settings, request))
    publish_table(filled, store, PAID, projects=ProjectCatalog(settings, project))
    yield store
    store.close()


def exact(lake: Lake) -> PinnedLookup:
    spine = pl.DataFrame(schema=["user", "shop", "paid_at", "payment_id"])
    return pin(FeatureLookup(str(PAID), lookup_key=spine.columns), lake, spine)


def as_of(lake: Lake, **more: Any) -> PinnedLookup:
    spine = pl.DataFrame(schema=["user", "shop", "at"])
    return pin(FeatureLookup(str(PAID), lookup_key=["user", "shop"], timestamp_lookup_key="at", **more), lake, spine)


def differing(values: Any, row: dict[str, Any]) -> dict[str, Any]:
    return {n: (v, row[n]) for n, v in zip(NAMES, values, strict=True) if not same(v, row[n], scale=1e4)}


def test_an_event_is_served_the_row_that_the_table_gives_it(filled, published, project) -> None:
    """Recent ones from the online tail, with the event in it already or not; older ones from the lake."""
    projects = ProjectCatalog(None, project)
    reader = FeatureReader([exact(filled)], NAMES, published, filled, projects)
    served = {"online": 0, "offline": 0}
    for row in (
        filled.read(PAID)
        .join(payments().select("payment_id", *(c for c in OWN if c != "amount")), on="payment_id")
        .to_dicts()
    ):
        keys = {k: row[k] for k in ("user", "shop", "paid_at", "payment_id")}
        given = {name: row[name] for name in OWN}
        vector = reader.read(keys, None, given)
        assert not differing(vector.values, row), keys
        assert vector.statuses == [Status.NULL if row[n] is None else Status.PRESENT for n in NAMES]
        served["online" if row["paid_at"] > NOW - timedelta(hours=23) else "offline"] += 1
        names = [f"paid:{n}" for n in NAMES]
        found = online_features(filled, published, names, [keys | given], catalog="shop_dev", projects=projects)
        assert not differing(found.values[0], row), keys
    assert min(served.values()) > 10


@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_an_event_of_this_moment_is_served_what_the_engine_would_give_it(filled, published, project, user) -> None:
    reader = FeatureReader([exact(filled)], NAMES, published, filled, ProjectCatalog(None, project))
    at = datetime.now(UTC)
    own = {"amount": 2.5, "items": 3, "fraud": False, "what": "card"}
    event = pl.DataFrame([{"payment_id": 1000, "user": user, "shop": 1, "paid_at": at, **own}])
    rows = pl.concat([payments(), event.select(payments().columns).cast(dict(payments().schema))])
    (row,) = compute_frame(TABLE, rows, source=GOLD).filter(payment_id=1000).to_dicts()
    for keys in ({"paid_at": at, "payment_id": 1000}, {"paid_at": at}):
        vector = reader.read({"user": user, "shop": 1, **keys}, None, own)
        assert not differing(vector.values, row)
        assert vector.found[str(PAID)]


def test_without_an_event_the_windows_end_now_and_do_not_go_stale(filled, published, project) -> None:
    reader = FeatureReader([as_of(filled)], NAMES, published, filled, ProjectCatalog(None, project))
    place = NAMES.index("count_90m")
    for user in ("ann", "bob", "cid", "dee"):
        keys = {"user": user, "shop": 1}
        now, past = reader.read(keys, None), reader.read(keys, NOW - timedelta(minutes=1))
        recent = payments().filter(
            pl.col("user") == user, pl.col("shop") == 1, pl.col("paid_at") > NOW - timedelta(minutes=89)
        )
        for vector in (now, past):
            assert abs(vector.values[place] - recent.height) <= 1
            assert vector.statuses[place] == Status.PRESENT
    assert set(reader.read({"user": "nobody", "shop": 1}, None).statuses) == {Status.NOT_FOUND}
    found = online_features(
        filled,
        published,
        ["paid:count_2d"],
        [{"user": "ann", "shop": 1}, {"user": "nobody", "shop": 1}, {"user": None, "shop": 1}],
        catalog="shop_dev",
        projects=ProjectCatalog(None, project),
    )
    assert found.statuses == [[Status.PRESENT], [Status.NOT_FOUND], [Status.NOT_FOUND]]


def test_expired_as_an_as_of_join_has_it(filled, published, project) -> None:
    lookup = as_of(filled, lookback_window=timedelta(minutes=30))
    reader = FeatureReader([lookup], NAMES, published, filled, ProjectCatalog(None, project))
    assert set(reader.read({"user": "ann", "shop": 1}, None).statuses) == {Status.EXPIRED}


def test_another_definition_than_the_models_is_refused(filled, published, project, tmp_path) -> None:
    other = table(windows=("90m", "3d"), closed="right", more=MORE)
    changed = Project("shop", tmp_path, "dev", project.spec, {"payments": GOLD}, {"paid": other})
    reader = FeatureReader([exact(filled)], ["count_90m"], published, filled, ProjectCatalog(None, changed))
    with pytest.raises(FeatureLookupFailed, match="another than the one the model was trained with"):
        reader.read({"user": "ann", "shop": 1}, None)


def test_a_value_of_the_wrong_type_names_its_field(filled, published, project) -> None:
    row = {"user": "ann", "shop": 1, "items": "many"}
    with pytest.raises(InvalidRequest) as raised:
        online_features(
            filled, published, ["paid:count_2d"], [row], catalog="shop_dev", projects=ProjectCatalog(None, project)
        )
    assert raised.value.where == "entities.0.items"


def test_what_was_served_is_consistent_until_gold_changes(filled, published, project, registry, settings) -> None:
    model, projects = register(filled, registry), ProjectCatalog(None, project)
    log = PredictionLog(filled, PredictionLogSettings(seconds=3600))
    predictor = Predictor(registry.load(model), published, filled, log=log, projects=projects)
    for user in ("ann", "bob", "cid"):
        own = {"amount": 2.5, "items": 3, "fraud": False, "what": "card"}
        predictor.predict(PredictionRequest(keys={"user": user, "shop": 1}, features=own))
        predictor.predict(
            PredictionRequest(keys={"user": user, "shop": 1, "paid_at": str(NOW - timedelta(hours=3))}, features=own)
        )
    log.flush()
    found = check_consistency(filled, registry, model.name, share=1.0, projects=projects)
    assert (found.rows, found.worst) == (6, 0)
    (newest,) = payments().filter(user="ann", shop=1).sort("paid_at").tail(1).to_dicts()
    filled.merge(PAYMENTS, pl.DataFrame([newest | {"amount": 1000.0}], schema=payments().schema))
    again = check_consistency(filled, registry, model.name, share=1.0, projects=projects)
    assert {m.keys["user"] for m in again.examples} == {"ann"}
    assert 0 < again.worst <= 2 / 6


def register(lake: Lake, registry: Registry) -> ModelVersion:
    features = ["sum_2d", "count_2d"]
    spine = payments().select("user", "shop", "paid_at", "payment_id", label=pl.col("fraud"))
    lookup = FeatureLookup(str(PAID), features, lookup_key=["user", "shop", "paid_at", "payment_id"])
    keys = ["user", "shop", "paid_at", "payment_id"]
    training = create_training_set(lake, spine, [lookup], "label", keys)
    model = Model("logistic_regression", "binary").fit(training.data.select(features), training.data["label"])
    name = ModelName("shop_dev", "fraud")
    return log_external_model(registry, model, "model", training_set=training, name=name, lake=lake)
