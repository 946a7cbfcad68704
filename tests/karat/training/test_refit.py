"""Refit on all rows after the evaluation: the figures are those of the model before, and what was chosen stays."""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.declare import ModelSpec, Project
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training.refit import refit_on_all
from karat.training.train import train
from tests.karat.training.test_calibration import rows, spec_of


def test_a_refitted_model_has_seen_every_row_and_keeps_what_was_chosen() -> None:
    frame = rows(1000).with_columns(yes=pl.when(pl.int_range(pl.len()) < 800).then("yes").otherwise(1))
    frame[990, "yes"] = 0
    split = pl.Series(["train"] * 800 + ["test"] * 200)
    spec = spec_of("binary", "logistic_regression", calibration="platt", threshold={"maximize": "f1"})
    known = {"features": ["x", "z"], "label": "yes", "split": split, "time": "day", "entity": ("id",)}
    result = train(spec, frame, **known)
    again = refit_on_all(spec, result.model, frame, label="yes", time="day")
    assert (again.threshold, again.calibrator) == (result.model.threshold, result.model.calibrator)
    # The test rows are nearly all positive: a model that has learned from them says so.
    test = frame.filter(split == "test")
    assert again.predict(test).mean() > result.model.predict(test).mean() + 0.05


def test_rows_of_an_unknown_class_are_left_out_of_the_refit() -> None:
    random = np.random.default_rng(0)
    x = random.random(400)
    group = pl.Series(["a" if v < 0.5 else "b" for v in x[:399]] + ["new"])
    frame = pl.DataFrame({"x": x, "y": group})
    split = pl.Series(["train"] * 320 + ["test"] * 80)
    spec = spec_of("multiclass", "logistic_regression", metric="accuracy", gates={"perfect": "warn"})
    result = train(spec, frame, features=["x"], label="y", split=split)
    again = refit_on_all(spec, result.model, frame, label="y", time=None)
    assert again.predict(frame).shape == (400, 2)


def test_the_registry_serves_the_refitted_model_and_compares_the_judged_one(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    spec: ModelSpec = shop_features.models["leaver"]
    assert spec.refits
    assert not shop_features.models["odd_days"].refits
    context = ModelContext(shop_features, spec, lake, registry)
    version = make_candidate(context).version
    served, judged = registry.load(version), registry.load(version, judged=True)
    frame = pl.DataFrame({"age": [30, 60], "city": ["Bern", None]})
    assert served.model.predict(frame).tolist() != judged.model.predict(frame).tolist()
    assert "**Refitted**" in registry.card(version)
    assert promote(context, version.version).promoted
    plain = spec.model_copy(update={"refit": "none"})
    twin = ModelContext(shop_features, plain, lake, registry)
    other = make_candidate(twin).version
    assert registry.load(other).model.predict(frame).tolist() == judged.model.predict(frame).tolist()
    # The same model before the refit: no gain, whatever the refitted one has seen.
    assert "+0.00%" in promote(twin, other.version).reason
