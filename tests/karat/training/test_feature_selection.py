"""Feature selection: noise is left out and signal kept, by validation rows alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from karat.declare import Project
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training.train import train
from tests.karat.training.test_calibration import rows, spec_of

NOISE = [f"noise_{k}" for k in range(6)]


@pytest.mark.parametrize(("label", "task"), [("value", "regression"), ("yes", "binary")])
def test_noise_is_left_out(label: str, task: str) -> None:
    random = np.random.default_rng(9)
    frame = rows(2000).with_columns(pl.Series(name, random.random(2000)) for name in NOISE)
    split = pl.Series(["train"] * 1600 + ["test"] * 400)
    spec = spec_of(task, "xgboost", feature_selection="permutation", parameters={"n_estimators": 20, "max_depth": 2})
    known = {"features": [*NOISE, "x"], "label": label, "split": split, "time": "day", "entity": ("id",)}
    result = train(spec, frame, **known)
    assert "x" in result.model.feature_names
    assert len(result.model.feature_names) < 5
    assert any("features were kept, without noise" in line for line in result.warnings)
    assert next(iter(result.importance)) == "x"


def test_a_version_reads_the_kept_features_alone(shop_features: Project, lake: Lake, registry: Registry) -> None:
    name = shop_features.table_name("people_features")
    lake.overwrite(name, lake.read(name).with_columns(city=pl.lit("Bern")))  # shuffling it changes nothing
    spec = shop_features.models["leaver"].model_copy(update={"feature_selection": "permutation"})
    context = ModelContext(shop_features, spec, lake, registry)
    version = make_candidate(context).version
    loaded = registry.load(version)
    assert loaded.features == loaded.model.feature_names == ["age"]
    assert "1 of 2 features were kept, without city" in registry.card(version)
