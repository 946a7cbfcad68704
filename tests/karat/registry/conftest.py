"""A registry on a database of its own, without a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from karat.registry import Registry
from karat.settings import Settings


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes a second to make its tables: once for all tests."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert list(Registry(f"sqlite:///{path}").client.search_registered_models()) == []
    return path


@pytest.fixture
def registry(settings: Settings, empty_database: Path) -> Registry:
    folder = Path(settings.home) / "mlflow"
    folder.mkdir(parents=True)
    shutil.copy(empty_database, folder / "mlflow.db")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
