"""A small project, ``shop``: orders by day and members without time; three models, one of each common task."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.lake import Lake
from karat.settings import Settings

FILES = {
    "project.yaml": "description: A small shop\nowner: shop team\n",
    "gold.py": """
from datetime import date, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable

orders = GoldTable(
    name="orders",
    description="One row per order",
    key=("order_id",),
    event_time="day",
    columns={
        "order_id": Column(dtype="int64"),
        "customer": Column(dtype="string", nullable=False),
        "day": Column(dtype="date", nullable=False),
        "amount": Column(dtype="float64"),
        "channel": Column(dtype="string"),
    },
)
members = GoldTable(
    name="members",
    description="One row per member",
    key=("customer",),
    columns={
        "customer": Column(dtype="string"),
        "city": Column(dtype="string"),
        "age": Column(dtype="int64"),
        "left": Column(dtype="string"),
    },
)


def sample(scale=1.0, seed=0, end=date(2026, 3, 1)):
    random = np.random.default_rng(seed)
    customers = [f"c{i:03d}" for i in range(int(60 * scale))]
    rate = dict(zip(customers, random.gamma(2.0, 10.0, len(customers))))
    rows = []
    for customer in customers:
        for back in range(60):
            if random.random() < 0.5:
                amount = rate[customer] * random.lognormal(0, 0.3)
                day = end - timedelta(days=59 - back)
                rows.append((len(rows), customer, day, amount, random.choice(["web", "shop"])))
    order = pl.DataFrame(rows, schema=["order_id", "customer", "day", "amount", "channel"], orient="row")
    n = int(600 * scale)
    age = random.integers(18, 80, n)
    leaves = random.random(n) < 1 / (1 + np.exp((age - 40) / 8))
    member = pl.DataFrame(
        {
            "customer": [f"c{i:03d}" for i in range(n)],
            "city": random.choice(["Bern", "Genf", None], n),
            "age": age,
            "left": np.where(leaves, "Yes", "No"),
        }
    )
    return {"orders": order, "members": member}
""",
    "features/spend.py": """
from karat.declare import FeatureTable, aggregate, from_sql

spend_features = FeatureTable(
    name="spend_features",
    description="What a customer spends",
    owner="shop team",
    source="orders",
    entity=("customer",),
    time="day",
    features=(
        aggregate("spent_7d", "sum", "amount", window="7d", description="Spent in 7 days"),
        aggregate("orders_7d", "count", window="7d", description="Orders in 7 days"),
        aggregate("mean_28d", "mean", "amount", window="28d", description="Mean order of 28 days"),
        from_sql("big", "spent_7d > 200", description="More than 200", dtype="bool"),
    ),
)
""",
    "features/people.py": """
from karat.declare import FeatureTable, aggregate

people_features = FeatureTable(
    name="people_features",
    description="Who a member is",
    source="members",
    entity=("customer",),
    features=(
        aggregate("age", "max", "age", description="Years", dtype="int64"),
        aggregate("city", "max", "city", description="City", dtype="string"),
    ),
)
""",
    "models/sales/next_week.yaml": """
description: Spent in the next seven days
task: regression
kind: linear_regression
label: {name: spent_next_7d, source: orders, expression: sum(amount), horizon: 7d, default: 0}
lookups: [{table: spend_features}, {table: people_features, features: [age]}]
baseline: {strategy: mean}
""",
    "models/people/leaver.yaml": """
description: Whether a member leaves
task: binary
kind: logistic_regression
label: {name: leaves, source: members, expression: "\\"left\\" = 'Yes'"}
lookups: [{table: people_features}]
minimum_rows: 100
gates: {floors: {roc_auc: 0.6}}
""",
    "models/sales/odd_days.yaml": """
description: Unusual days
task: anomaly
kind: isolation_forest
parameters: {n_estimators: 25}
label: {name: odd, source: orders, expression: "max(null::int)", horizon: 1d, offset: 0d}
lookups: [{table: spend_features, features: [spent_7d, orders_7d, mean_28d]}]
""",
}


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))


def write_gold(project: Project, lake: Lake, origin: str = "sample", **how: object) -> None:
    """The project's sample as gold tables, without going through ingestion."""
    assert project.sample is not None
    for name, frame in project.sample(**how).items():
        write_table(project, lake, name, frame, origin)


def write_table(project: Project, lake: Lake, name: str, frame: pl.DataFrame, origin: str) -> None:
    table = project.gold[name]
    lake.create(
        project.gold_name(name),
        table.schema,
        primary_key=table.key,
        properties={"karat.origin": origin},
    )
    lake.overwrite(project.gold_name(name), frame)


@pytest.fixture
def registry(settings: Settings, empty_database: Path):
    """A registry on a database of its own in ``settings.home``, without a server."""
    from karat.registry import open_registry

    folder = settings.home / "mlflow"
    folder.mkdir(parents=True)
    shutil.copy(empty_database, folder / "mlflow.db")
    return open_registry(settings)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Project:
    """The declarations of ``shop``; nothing is in the lake."""
    write_files(tmp_path / "projects" / "shop")
    return load_project("shop", settings.model_copy(update={"projects": tmp_path / "projects"}))


@pytest.fixture(scope="session")
def shop_lakes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Lakes of ``shop``, made once and copied by the tests: with its ``gold``, and with its ``features`` too."""
    from karat.features import compute_table

    folder = tmp_path_factory.mktemp("shop_lakes")
    write_files(folder / "projects" / "shop")
    made = Settings(home=folder / "home", projects=folder / "projects")
    project, lake = load_project("shop", made), Lake(made.lake, made.environment)
    write_gold(project, lake)
    shutil.copytree(made.lake, folder / "gold")
    for table in project.tables:
        compute_table(project, table, lake)
    return {"gold": folder / "gold", "features": made.lake}


@pytest.fixture
def shop_gold(shop: Project, lake: Lake, shop_lakes: dict[str, Path]) -> Project:
    """``shop`` with its gold tables, as sample data."""
    shutil.copytree(shop_lakes["gold"], lake.root, dirs_exist_ok=True)
    return shop


@pytest.fixture
def shop_features(shop: Project, lake: Lake, shop_lakes: dict[str, Path]) -> Project:
    """``shop`` with gold and feature tables."""
    shutil.copytree(shop_lakes["features"], lake.root, dirs_exist_ok=True)
    return shop


@pytest.fixture(scope="session")
def champions_home(shop_lakes: dict[str, Path], empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the lake of ``shop`` and a champion of each model: made once, copied by each test."""
    from karat.lifecycle import make_candidate, promote
    from karat.lifecycle.model_context import ModelContext
    from karat.registry import open_registry

    folder = tmp_path_factory.mktemp("champions")
    write_files(folder / "projects" / "shop")
    made = Settings(home=folder / "home", projects=folder / "projects")
    shutil.copytree(shop_lakes["features"], made.lake)
    (made.home / "mlflow").mkdir()
    shutil.copy(empty_database, made.home / "mlflow" / "mlflow.db")
    project, lake, registry = load_project("shop", made), Lake(made.lake, made.environment), open_registry(made)
    for spec in project.models.values():
        candidate = make_candidate(ModelContext(project, spec, lake, registry))
        if not promote(ModelContext(project, spec, lake, registry)).promoted:
            registry.set_alias(candidate.version, "champion", "for the test")
    return made.home


@pytest.fixture
def shop_champions(shop: Project, lake: Lake, registry: object, settings: Settings, champions_home: Path) -> Project:
    """``shop`` with its feature tables, and a champion of each model in ``registry``."""
    shutil.copytree(champions_home / "lake", lake.root, dirs_exist_ok=True)
    shutil.copytree(champions_home / "mlflow", settings.home / "mlflow", dirs_exist_ok=True)
    return shop
