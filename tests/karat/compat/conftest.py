"""Small projects with the documents' names, their gold tables in a lake that is made once and copied for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier

from karat.client import FeatureEngineeringClient
from karat.compat import FeatureEngineer, FeaturePipeline, ModelRegistry
from karat.declare import load_project
from karat.declare.declared_model import DeclaredModel
from karat.features import compute_table
from karat.lake import Lake
from karat.quality import write_sample
from karat.registry import Registry
from karat.settings import Settings
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.labels import label_spine

PROJECTS = Path(__file__).parent / "projects"
#: Of roi's model those that tell most.
FEATURES = ["doc_access_count_30d", "email_open_rate_30d"]


def good_forest() -> RandomForestClassifier:
    """Not fitted yet; it will pass the gates."""
    return RandomForestClassifier(20, max_depth=4, min_samples_leaf=20, random_state=0)


@pytest.fixture(scope="session")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake with the gold tables of all the projects, and nothing else."""
    settings = Settings(home=tmp_path_factory.mktemp("gold"), projects=PROJECTS)
    lake = Lake(settings.lake, settings.environment)
    for name, end in (("roi", date(2024, 1, 31)), ("healthcare", date(2024, 3, 31))):
        write_sample(load_project(name, settings), lake, end=end)
    return settings.lake


@pytest.fixture
def home(settings: Settings, gold: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a home with that lake, in the environment too: a client without arguments finds it."""
    shutil.copytree(gold, settings.lake, copy_function=os.link)
    monkeypatch.setenv("KARAT_HOME", str(settings.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(PROJECTS))
    return settings.model_copy(update={"projects": PROJECTS})


@pytest.fixture(scope="session")
def computed(gold: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """The lake with roi's feature tables too, and the training rows of its model."""
    settings = Settings(home=tmp_path_factory.mktemp("computed"), projects=PROJECTS)
    shutil.copytree(gold, settings.lake, copy_function=os.link)
    lake, project = Lake(settings.lake, settings.environment), load_project("roi", settings)
    for table in project.tables:
        compute_table(project, table, lake)
    spec = project.models["move_probability"]
    made = declared_training_set(DeclaredModel(project, spec), lake, label_spine(DeclaredModel(project, spec), lake))
    return settings.lake, made.data.select(*made.features, "moves").drop_nulls().to_pandas()


@pytest.fixture
def rows(computed: tuple[Path, pd.DataFrame]) -> pd.DataFrame:
    return computed[1]


@pytest.fixture
def fitted(rows: pd.DataFrame) -> Callable[..., Any]:
    """``fitted(estimator, features)``: on the model's training rows."""

    def fit(estimator: Any, features: Sequence[str] = FEATURES) -> Any:
        return estimator.fit(rows[list(features)].astype("float64"), rows["moves"].astype(bool))

    return fit


@pytest.fixture
def forest(fitted: Callable[..., Any]) -> RandomForestClassifier:
    """A model that passes the gates."""
    return fitted(good_forest())


@pytest.fixture(scope="session")
def registered_before(
    computed: tuple[Path, pd.DataFrame], empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """MLflow's folder with a version of roi's model that is worth nothing and a second one that passes the gates."""
    settings = Settings(home=tmp_path_factory.mktemp("two"), projects=PROJECTS)
    shutil.copytree(computed[0], settings.lake, copy_function=os.link)
    (settings.home / "mlflow").mkdir()
    shutil.copy(empty_database, settings.home / "mlflow" / "mlflow.db")
    models, X = ModelRegistry(FeatureEngineeringClient(settings=settings)), computed[1][FEATURES].astype("float64")
    for estimator in (DummyClassifier(strategy="prior"), good_forest()):
        models.register_model(estimator.fit(X, computed[1]["moves"].astype(bool)), "move_probability_model")
    return settings.home / "mlflow"


@pytest.fixture
def two(models: ModelRegistry, registered_before: Path) -> ModelRegistry:
    """The registry with these two versions, none of them champion."""
    shutil.copytree(registered_before, models.client.settings.home / "mlflow", dirs_exist_ok=True)
    return models


@pytest.fixture
def models(fe: FeatureEngineeringClient, registry: Registry, computed: tuple[Path, pd.DataFrame]) -> ModelRegistry:
    """The registry, empty, over a lake with roi's feature tables."""
    shutil.rmtree(fe.settings.lake)
    shutil.copytree(computed[0], fe.settings.lake, copy_function=os.link)
    return ModelRegistry(fe)


@pytest.fixture
def fe(home: Settings) -> FeatureEngineeringClient:
    return FeatureEngineeringClient(settings=home)


@pytest.fixture
def engineer(fe: FeatureEngineeringClient) -> FeatureEngineer:
    return FeatureEngineer(fe)


@pytest.fixture
def pipeline(engineer: FeatureEngineer) -> FeaturePipeline:
    return FeaturePipeline(engineer)
