"""The shop: a small project of its own, run by flows in this process or by the platform's worker."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from karat.declare import Project, load_project
from karat.lake import Lake
from karat.settings import Settings

SHOP = Path(__file__).parent / "shop"


@dataclass(frozen=True)
class Shop:
    """A copy of the shop under a name that no other test has, so that its catalog is empty."""

    name: str
    settings: Settings

    @property
    def folder(self) -> Path:
        return self.settings.projects / self.name

    @property
    def project(self) -> Project:
        return load_project(self.name, self.settings)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake, self.settings.environment)

    def versions(self) -> dict[str, int]:
        """Every table of the catalog and its Delta version."""
        return {str(t): self.lake.version(t) for t in self.lake.tables(self.project.catalog)}

    def hold(self) -> None:
        """From now on the shard with the first customer waits."""
        (self.folder / "hold" / "wait").touch()

    def release(self) -> None:
        (self.folder / "hold" / "wait").unlink()

    @property
    def reached(self) -> bool:
        return (self.folder / "hold" / "reached").exists()


@pytest.fixture
def shop(platform: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop on the running platform; flows that are called here find it through the environment."""
    name = f"shop_{uuid.uuid4().hex[:8]}"
    shutil.copytree(SHOP, tmp_path / "projects" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "projects" / name / "hold").mkdir()
    settings = platform.model_copy(update={"projects": tmp_path / "projects"})
    for variable, value in settings.as_environment().items():
        monkeypatch.setenv(variable, value)
    return Shop(name, settings)
