"""Metrics of a project's own, several seeds where the gain is not clear of 0, and what a training cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.errors import DeclarationError
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.settings import Settings
from tests.karat.conftest import write_files

METRICS = """
import polars as pl


def metrics(model, rows):
    if model == "next_week":
        raise KeyError("spent")
    called = rows.sort("probability", descending=True).head(20)
    return {"leavers_of_20": called["actual"].sum(), "ages": rows["age"].n_unique(), "nothing": float("nan")}
"""


@pytest.fixture
def own(shop_features: Project, settings: Settings, tmp_path: Path) -> Project:
    (tmp_path / "projects" / "shop" / "metrics.py").write_text(METRICS)
    return load_project("shop", settings.model_copy(update={"projects": tmp_path / "projects"}))


def test_they_are_on_the_card_and_in_mlflow(own: Project, lake: Lake, registry: Registry) -> None:
    version = make_candidate(ModelContext(own, own.models["leaver"], lake, registry)).version
    assert 10 < version.judged["custom_leavers_of_20"] <= 20
    assert version.judged["custom_ages"] > 20
    assert not any(name.startswith("custom") for name in version.metrics)
    card = registry.card(version)
    assert "| leavers_of_20 |" in card
    assert "metrics nothing of 'leaver' are not finite" in card


def test_an_error_in_them_is_a_warning(own: Project, lake: Lake, registry: Registry) -> None:
    made = make_candidate(ModelContext(own, own.models["next_week"], lake, registry))
    assert any("metrics of 'next_week' failed: KeyError: 'spent'" in line for line in made.warnings)


def test_a_file_without_the_function_is_told(settings: Settings, tmp_path: Path) -> None:
    write_files(tmp_path / "projects" / "shop")
    (tmp_path / "projects" / "shop" / "metrics.py").write_text("def metric(model, rows):\n    return {}\n")
    with pytest.raises(DeclarationError, match="defines no function 'metrics'"):
        load_project("shop", settings.model_copy(update={"projects": tmp_path / "projects"}))


def test_an_unclear_gain_is_tried_with_several_seeds(shop_features: Project, lake: Lake, registry: Registry) -> None:
    """Nobody leaves for the city: a forest's gain is chance, and another seed gives another."""
    spec = shop_features.models["leaver"]
    poor = spec.lookups[0].model_copy(update={"features": ("city",)})
    update = {"kind": "random_forest", "parameters": {"n_estimators": 5}, "lookups": (poor,), "seeds": 3}
    context = ModelContext(shop_features, spec.model_copy(update=update), lake, registry)
    version = make_candidate(context).version
    assert "fitted with 3 seeds" in registry.card(version)
    assert version.judged["seeds_roc_auc_std"] > 0
    # A clear gain, and a kind that draws nothing, are fitted once.
    clear = make_candidate(replace(context, spec=spec)).version
    assert "**Seeds**" not in registry.card(clear)


def test_metrics_see_what_a_batch_answers(own: Project, lake: Lake, registry: Registry) -> None:
    seen: list[pl.DataFrame] = []

    def metrics(model: str, rows: pl.DataFrame) -> dict[str, float]:
        seen.append(rows)
        return {}

    context = ModelContext(replace(own, metrics=metrics), own.models["leaver"], lake, registry)
    make_candidate(context)
    (rows,) = seen
    assert {"customer", "age", "actual", "prediction", "probability"} <= set(rows.columns)


def test_a_run_says_where_and_at_what_cost_it_was_made(shop_features: Project, lake: Lake, registry: Registry) -> None:
    version = make_candidate(ModelContext(shop_features, shop_features.models["leaver"], lake, registry)).version
    run = registry.client.get_run(version.run_id)
    folder = registry.connection.local(run.info.artifact_uri)
    assert folder is not None
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["libraries"]["polars"] == pl.__version__
    assert 0 < environment["seconds"] == version.judged["resources_seconds"]
    assert version.judged["resources_peak_memory_mib"] > 50
    assert set(json.loads((folder / "feature_importance.json").read_text())) == {"age", "city"}
    assert run.data.tags["mlflow.note.content"].startswith("Whether a member leaves")
    assert registry.client.get_registered_model(str(version.name)).description == "Whether a member leaves"
    assert "## Training" in registry.card(version)
