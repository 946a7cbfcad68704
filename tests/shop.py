"""The shop: a small project of its own, run by flows in processes of their own or by the platform's worker."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.code import ROOT
from infra.local.environment import platform_environment
from infra.prefect_api import Prefect, Run
from karat.declare import Project, load_project
from karat.lake import Lake
from karat.settings import Settings
from tests import warm

SHOP = Path(__file__).parent / "shop_project"


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

    def run(self, flow: str, **parameters: Any) -> dict[str, Any]:
        """``feature_pipeline`` and so on, to its end: its outcomes (name -> state), or its error and text."""
        entry = f"flows.{flow}:{flow}"
        done = warm.run(
            [sys.executable, "-m", "tests.run_flow", entry, json.dumps({"project": self.name, **parameters})],
            cwd=ROOT,
            env=os.environ | platform_environment(self.settings),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr[-3000:]
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def last_run(self) -> Run:
        """The latest run of this shop that is no pipeline within another."""
        runs = Prefect(self.settings).recent(50)
        return next(r for r in runs if r.parameters.get("project") == self.name)

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
def shop(platform: Settings) -> Iterator[Shop]:
    """The shop on the running platform, among its projects: for other projects Serve would start its replicas anew."""
    made = Shop(f"shop_{uuid.uuid4().hex[:8]}", platform)
    shutil.copytree(SHOP, made.folder, ignore=shutil.ignore_patterns("__pycache__"))
    (made.folder / "hold").mkdir()
    yield made
    shutil.rmtree(made.folder)
