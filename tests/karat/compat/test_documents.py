"""The Python blocks of the five documents, one by one: each runs as it stands but for what its ``Run`` replaces.

What may be replaced: import lines, Spark frames, Spark's SQL. ``prepare`` gives the names that a block takes for
granted; ``check`` looks at what it has made.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import mlflow.sklearn
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier

from karat import compat
from karat.client import FeatureEngineeringClient
from karat.compat import FeatureEngineer, FeaturePipeline, MlflowClient, ModelRegistry
from karat.declare import load_project
from karat.features import compute_table
from karat.online import open_store
from serve.api.app import make_app
from serve.api.champions import Champions

from .documents import BLOCKS, Block

SEEDS = Path(__file__).parents[3].parent / "shared" / "seeds"
IMPORTS = (
    "from databricks.feature_engineering import FeatureEngineeringClient, FeatureLookup",
    "from karat import FeatureEngineeringClient, FeatureLookup",
)
Names = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What a block finds: a lake with the projects' tables, an empty registry, models that were fitted."""

    models: ModelRegistry
    fitted: Callable[..., Any]
    forest: RandomForestClassifier
    registered: Path

    @property
    def fe(self) -> FeatureEngineeringClient:
        return self.models.client


@pytest.fixture
def world(models, fitted, forest, registered_before):
    yield World(models, fitted, forest, registered_before)
    open_store(models.client.settings).close()


# ---- document 000: the feature store's client

DAYS = [date(2026, 11, 20) - timedelta(days=n) for n in range(40)]
COST = "catalog.features.cost_features"


def cost_table(world: World) -> Names:
    """Document 000's table, in a catalog of the name that it writes."""
    n, random = 3 * len(DAYS), np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "workspace_id": [w for w in ("ws-1", "ws-2", "ws-3") for _ in DAYS],
            "usage_date": DAYS * 3,
            "daily_dbu": random.exponential(10, n),
            "avg_dbu_7d": random.exponential(10, n),
            "z_score_7d": random.normal(0, 1, n),
            "weekend": random.integers(0, 2, n),
        }
    )
    world.fe.create_table(COST, ["workspace_id", "usage_date"], frame, timeseries_columns="usage_date")
    gold = frame.select("workspace_id", "usage_date")
    world.fe.create_table("catalog.gold_schema.fact_usage", gold.columns, gold, timeseries_columns="usage_date")
    return {"mlflow": mlflow, "train_model": train_model, "pl": pl}


def train_model(frame):
    X = frame.drop(columns="label").astype("float64")
    return RandomForestClassifier(10, random_state=0).fit(X, frame["label"])


def logged(world: World, names: Names) -> None:
    assert [c for c in names["training_df"].columns if c != "label"] == [
        "daily_dbu",
        "avg_dbu_7d",
        "z_score_7d",
        "weekend",  # the dots of the list: all others
    ]
    version = world.models.find("catalog.features.cost_anomaly_detector", "latest")
    assert (str(version.name), version.version) == ("catalog.models.cost_anomaly_detector", 1)


def cost_champion(world: World) -> Names:
    """The model of block 000:71. Its catalog is of no project, so nothing but a hand can make it champion."""
    names = cost_table(world)
    execute(block("000:71"), names)
    version = world.models.find("catalog.features.cost_anomaly_detector", "latest")
    world.models.registry.set_alias(version, "champion", "approved by hand")
    return {"pl": pl, "yesterday": DAYS[0] - timedelta(days=1)}


def scored(world: World, names: Names) -> None:
    assert names["predictions"].height == 6
    stored = world.fe.read_table("catalog.features.cost_anomaly_predictions")
    assert stored.height == 6
    assert set(stored["model_version"]) == {1}


def cost_training(world: World) -> Names:
    """What stands before the block: features with their label, split, and a model that is not fitted yet."""
    cost_table(world)
    frame = world.fe.read_table(COST).to_pandas()
    spine = frame[["workspace_id", "usage_date"]].assign(label=frame["daily_dbu"] > 8)
    lookup = compat_lookup()
    training_set = world.fe.create_training_set(spine, [lookup], "label", exclude_columns=lookup.lookup_key)
    X = training_set.load_df().drop(columns="label")
    return {
        "fe": world.fe,
        "mlflow": mlflow,
        "X": X,
        "X_train": X,
        "y_train": training_set.load_df()["label"],
        "model": RandomForestClassifier(10, random_state=0),
        "training_set": training_set,
        "registered_name": "catalog.features.cost_anomaly_detector",
    }


def compat_lookup():
    from karat import FeatureLookup

    return FeatureLookup(COST, ["daily_dbu", "weekend"], lookup_key=["workspace_id", "usage_date"])


def signed(world: World, names: Names) -> None:
    loaded = world.models.load_model(names["registered_name"], "latest")
    assert (loaded.predict(names["X"]) == names["model"].predict(names["X"])).all()


# ---- document 002: features, registry, prediction API


def verbs(world: World) -> Names:
    """The listing's verbs as plain functions, with arguments of those names."""
    return {name: getattr(compat, name) for name in VERBS} | {
        "feature_name": "doc_access_count_7d",
        "feature_names": ["doc_access_count_7d", "email_open_rate_30d"],
        "entity_id": "user_123",
        "entity_ids": ["user_123"],
        "entity_type": "USER",
        "as_of_date": datetime(2024, 1, 1, tzinfo=UTC),
        "start_date": date(2024, 1, 1),
        "end_date": date(2024, 1, 3),
        "features": {"email_open_rate_30d": 0.75},
    }


VERBS = ("compute_feature", "compute_feature_set", "backfill_features", "validate_features")


def listed(world: World, names: Names) -> None:
    assert (names["is_valid"], names["errors"]) == (True, [])
    for call in ast.walk(ast.parse(block("002:147").text.replace(" -> (is_valid, errors)", ""))):
        if isinstance(call, ast.Call):
            parameters = inspect.signature(names[call.func.id]).parameters
            assert list(parameters)[: len(call.args)] == [a.id for a in call.args]
            assert list(inspect.signature(getattr(FeatureEngineer, call.func.id)).parameters)[1:] == list(parameters)


def engineer(world: World) -> Names:
    made = FeatureEngineer(world.fe)
    return {"FeaturePipeline": FeaturePipeline, "feature_engineer": made, "datetime": datetime}


def piped(world: World, names: Names) -> None:
    assert names["df"]["user_id"].to_list() == ["user_1", "user_2"]
    assert {"doc_access_count_7d", "day_of_week"} <= set(names["df"].columns)
    assert names["features"].found
    assert next(iter(names["features"])) == "doc_access_count_7d"


def trained(world: World) -> Names:
    return {"registry": world.models, "trained_model": world.forest}


def registered(world: World, names: Names) -> None:
    version = world.models.find("move_probability", "latest")
    assert version.tags["reported.accuracy"] == "0.85"
    assert version.tags["version"] == "v1.0.0"


def two_versions(world: World) -> Names:
    """Version 2 passes the gates."""
    shutil.copytree(world.registered, world.fe.settings.home / "mlflow", dirs_exist_ok=True)
    return {"registry": world.models}


def loaded(world: World, names: Names) -> None:
    assert (names["model"].version, names["model"].run_id) == (2, world.models.find("move_probability", 2).run_id)


def promoted(world: World, names: Names) -> None:
    assert world.models.find("move_probability_model").version == 2


def described(world: World, names: Names) -> None:
    assert {"version", "metrics", "parameters", "deployed_at"} <= set(names["metadata"])
    assert names["metadata"]["version"] == 2


def compared(world: World, names: Names) -> None:
    assert list(names["comparison"]["metrics"]) == ["accuracy", "precision", "recall"]
    assert names["comparison"]["metrics"]["recall"]["better"] == 2


def unit_tests(world: World) -> Names:
    connection, config = world.fe, {"project": "roi"}
    return {
        "FeatureEngineer": FeatureEngineer,
        "db_connection": connection,
        "config": config,
        "engineer": FeatureEngineer(connection, config),
    }


def run_tests(world: World, names: Names) -> None:
    tests = [f for name, f in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        result = test()
        if inspect.iscoroutine(result):
            asyncio.run(result)


def served(world: World) -> Names:
    """The application in this process, with the champion of the project's model."""
    fe = world.fe
    for table in ("behavioral_features", "temporal_features"):
        fe.publish_table(f"roi_dev.features.{table}")
    two_versions(world)
    champion = world.models.promote_model("move_probability", 2)
    champions = Champions(fe.settings)
    champions.want({str(champion.name): champion.version})
    while any(m["status"] == "loading" for m in champions.describe()):
        asyncio.run(asyncio.sleep(0.02))
    return {"app": make_app(champions), "AsyncClient": client_of, "pytest": SimpleNamespace(mark=ASYNCIO)}


#: pytest-asyncio's mark: here the test is run by ``run_tests``.
ASYNCIO = SimpleNamespace(asyncio=lambda test: test)


def client_of(app: Any, base_url: str) -> httpx.AsyncClient:
    """httpx's client as it was when the document was written; since 0.28 an application comes in a transport."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)


# ---- document 003: stages and configuration


def newest(world: World) -> Names:
    """Document 003's client, over the same registry."""
    names = {"client": MlflowClient(world.fe), "model_name": "move_probability"}
    latest = world.models.register_model(world.forest, "move_probability")
    return names | {"latest": latest}


def challenged(world: World, names: Names) -> None:
    assert world.models.find("move_probability", "Challenger").version == 1


def candidate(world: World) -> Names:
    """A champion, and a candidate that is better by more than the margin."""
    weak = RandomForestClassifier(30, max_depth=1, random_state=0)
    world.models.register_model(world.fitted(weak, ["doc_access_count_7d"]), "move_probability")
    world.models.promote_model("move_probability", 1)
    names = newest(world)
    return names | {"candidate_version": names["latest"].version}


def replaced(world: World, names: Names) -> None:
    assert world.models.find("move_probability", "Champion").version == 2
    assert world.models.find("move_probability", "Archived").version == 1


def configured(world: World) -> Names:
    """``yaml.load(...)``: the dots are the document's own; what it loads is the declaration of churn."""
    settings = world.fe.settings.model_copy(update={"projects": Path(__file__).parents[3] / "projects"})
    declared = FeatureEngineeringClient(settings=settings)
    load = lambda name: compat.load_model_config(name, declared)  # noqa: E731
    return {"load_model_config": load, "yaml": SimpleNamespace(load=lambda _: load("churn").model_dump())}


def typed(world: World, names: Names) -> None:
    assert names["features"] == "customers_dev.features.churn_features"
    assert names["config"]["data"]["features_table"] == names["features"]


# ---- document 004: the feature store by reference


def patients(world: World) -> Names:
    project = load_project("healthcare", world.fe.settings)
    for table in project.tables:
        compute_table(project, table, world.fe.lake)
        world.fe.publish_table(str(project.table_name(table)))
    rows = pl.DataFrame({"patient_id": ["PT123", "PT200"], "event_timestamp": [datetime(2024, 3, 10, tzinfo=UTC)] * 2})
    return {"feast": compat, "Feature": compat.Feature, "Int64": compat.Int64, "patients": rows}


def retrieved(world: World, names: Names) -> None:
    training = names["training_data"].to_df()
    assert training.columns == ["patient_id", "event_timestamp", "age_group", "blood_pressure"]
    assert training.null_count().sum_horizontal().item() == 0
    online = names["online_features"].to_dict()
    assert online["age_group"] == training["age_group"].to_list()[:1]
    assert online["blood_pressure"][0] is not None


# ---- how each block is run


@dataclass(frozen=True)
class Run:
    prepare: Callable[[World], Names]
    check: Callable[[World, Names], None]
    replaced: tuple[tuple[str, str], ...] = ()


HOW = {
    "000:71": Run(
        cost_table,
        logged,
        (
            IMPORTS,
            (
                'spark.table("catalog.features.cost_features")\n'
                '    .select("workspace_id", "usage_date")\n'
                '    .withColumn("label", ...)',
                'fe.read_table("catalog.features.cost_features")\n'
                '    .select("workspace_id", "usage_date", label=pl.col("daily_dbu") > 8)',
            ),
            ("training_df.toPandas()", "training_df.to_pandas()"),
        ),
    ),
    "000:131": Run(
        cost_champion,
        scored,
        (
            ("from databricks.feature_engineering import", "from karat import"),
            ('spark.table("catalog.gold_schema.fact_usage")', 'fe.read_table("catalog.gold_schema.fact_usage")'),
            ('.filter("usage_date >= current_date() - 1")', '.filter(pl.col("usage_date") >= yesterday)'),
            (
                'predictions.write.mode("overwrite").saveAsTable("catalog.features.cost_anomaly_predictions")',
                'fe.create_table("catalog.features.cost_anomaly_predictions", '
                '["workspace_id", "usage_date"], predictions)',
            ),
        ),
    ),
    "000:303": Run(cost_training, signed),
    # A listing of signatures and no program: an arrow after a call is no Python.
    "002:147": Run(
        verbs,
        listed,
        (("validate_features(features) -> (is_valid, errors)", "is_valid, errors = validate_features(features)"),),
    ),
    "002:166": Run(engineer, piped),
    "002:363": Run(trained, registered),
    "002:374": Run(two_versions, loaded),
    "002:379": Run(two_versions, promoted),
    "002:388": Run(two_versions, described),
    "002:394": Run(two_versions, compared),
    "002:708": Run(unit_tests, run_tests),
    "002:725": Run(served, run_tests),
    "003:94": Run(newest, challenged),
    "003:100": Run(candidate, replaced),
    "003:180": Run(configured, typed),
    "004:37": Run(patients, retrieved),
}


def block(name: str) -> Block:
    return next(b for b in BLOCKS if b.name == name)


def execute(one: Block, names: Names) -> None:
    text = one.text
    for before, after in HOW[one.name].replaced:
        assert before in text, before
        text = text.replace(before, after)
    exec(compile(text, one.name, "exec"), names)


@pytest.mark.parametrize("name", [b.name for b in BLOCKS])
def test_a_block_of_the_documents(world, name):
    names = HOW[name].prepare(world)
    execute(block(name), names)
    HOW[name].check(world, names)


def test_every_block_is_run():
    assert sorted(HOW) == sorted(b.name for b in BLOCKS)


@pytest.mark.shared_data
@pytest.mark.skipif(not SEEDS.is_dir(), reason="the documents are not beside this checkout")
def test_the_blocks_are_quoted_word_for_word_and_none_is_missing():
    found = []
    for path in sorted(SEEDS.glob("*.txt")):
        lines, begin = path.read_text(encoding="utf-8").split("\n"), None
        for number, line in enumerate(lines, start=1):
            if begin is None and line.strip() == "```python":
                begin = number
            elif begin is not None and line.strip() == "```":
                text = textwrap.dedent("\n".join(lines[begin : number - 1])) + "\n"
                found.append(Block(path.name[:3], begin, text))
                begin = None
    assert found == list(BLOCKS)
