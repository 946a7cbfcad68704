"""What the steps ask their jobs for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.code import ROOT
from karat.declare import load_project
from karat.settings import Settings
from tasks import pipeline_steps
from tasks.scope import Scope


def test_only_a_model_that_is_declared_so_is_taken_out_of_http(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that this run knows nothing of (its features failed) keeps its endpoint: MLflow knows its champion."""
    shutil.copytree(ROOT / "tests" / "shop_project", tmp_path / "projects" / "shop")
    settings = settings.model_copy(update={"projects": tmp_path / "projects"})
    project = load_project("shop", settings)
    first, second, *_ = project.models
    models = project.models | {second: project.models[second].model_copy(update={"online": False})}
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(pipeline_steps, "serves_versions", lambda *_: False)
    monkeypatch.setattr(pipeline_steps, "run_job", lambda *told: asked.append(told[3]) or ())
    pipeline_steps._serve_champions(Scope(settings, project, models), {second: 3})
    assert asked == [{"champions": {}, "without": [str(project.model_name(second))]}]
    pipeline_steps._serve_champions(Scope(settings, project, models), {first: 1, second: 3})
    assert asked[1]["champions"] == {str(project.model_name(first)): 1}
