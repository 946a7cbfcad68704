"""Small projects with the documents' names, their gold tables in a lake that is made once and copied for each test."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from karat.client import FeatureEngineeringClient
from karat.compat import FeatureEngineer, FeaturePipeline
from karat.declare import load_project
from karat.lake import Lake
from karat.quality import write_sample
from karat.settings import Settings

PROJECTS = Path(__file__).parent / "projects"


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
    shutil.copytree(gold, settings.lake)
    monkeypatch.setenv("KARAT_HOME", str(settings.home))
    monkeypatch.setenv("KARAT_PROJECTS", str(PROJECTS))
    return settings.model_copy(update={"projects": PROJECTS})


@pytest.fixture
def fe(home: Settings) -> FeatureEngineeringClient:
    return FeatureEngineeringClient(settings=home)


@pytest.fixture
def engineer(fe: FeatureEngineeringClient) -> FeatureEngineer:
    return FeatureEngineer(fe)


@pytest.fixture
def pipeline(engineer: FeatureEngineer) -> FeaturePipeline:
    return FeaturePipeline(engineer)
