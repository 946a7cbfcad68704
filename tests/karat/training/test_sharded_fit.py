"""Shards of a fit: together they are the rows, the validation rows and the weights of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import TrainingError
from karat.kinds import Model, WorkerPlace
from karat.training import sharded_fit as module
from karat.training.fit_files import write_learned_rows
from karat.training.sharded_fit import FileShard, load_fitted, sharded_fit
from tests.contracts.together import FrameRows, fit_in_threads
from tests.profiles import examples


@settings(max_examples=examples(40), deadline=None)
@given(rows=st.integers(40, 400), workers=st.integers(1, 7), batch=st.integers(1, 150), seed=st.integers(0, 99))
def test_the_shards_of_any_number_of_workers_are_the_rows(rows, workers, batch, seed):
    draw = np.random.default_rng(seed)
    X = pl.DataFrame({"a": draw.normal(size=rows), "b": draw.choice(["x", "y"], rows)})
    y = pl.Series("y", draw.random(rows) < 0.3)
    model = Model("xgboost", "binary", {"validation_fraction": 0.3}, seed=seed, class_weight="balanced")
    target, weight = model.fit_encoder(X, y), draw.random(rows)
    assert target is not None
    fit = sharded_fit(model, FrameRows(X.with_columns(y), batch), "y", target, weight=weight)
    aside = model.kind.validation_rows(target, None)
    of_class = rows / (2 * np.bincount(target, minlength=2))
    shards = [FileShard(fit, WorkerPlace(rank, workers)) for rank in range(workers)]
    batches = [b for shard in shards for b in shard.batches()]
    np.testing.assert_array_equal(np.concatenate([b.X for b in batches]), model.encoder.encode(X))
    np.testing.assert_array_equal(np.concatenate([b.y for b in batches]), target)
    np.testing.assert_array_equal(np.concatenate([b.aside for b in batches]), aside)
    weights = np.concatenate([b.weight for b in batches if b.weight is not None])
    np.testing.assert_allclose(weights, of_class[target] * weight)
    assert [shard.first for shard in shards] == [sum(s.rows for s in shards[:k]) for k in range(workers)]
    for shard in shards:
        found = [b for b in shard.validation() if b.aside.all()]
        assert sum(len(b.y) for b in found) == aside.sum() == fit.statistics.validation_rows
        if aside.any():
            np.testing.assert_array_equal(np.concatenate([b.X for b in found]), model.encoder.encode(X)[aside])


def test_many_validation_rows_are_thinned_out_evenly(monkeypatch):
    monkeypatch.setattr(module, "_MOST_VALIDATION_ROWS", 20)
    X, y = pl.DataFrame({"a": np.arange(400.0)}), pl.Series("y", np.arange(400.0))
    model = Model("xgboost", "regression", {"validation_fraction": 0.2})
    target = model.fit_encoder(X, y)
    assert target is not None
    fit = sharded_fit(model, FrameRows(X.with_columns(y), 7), "y", target)
    kept = np.concatenate([b.y for b in FileShard(fit, WorkerPlace(0, 3)).validation()])
    np.testing.assert_array_equal(kept, np.flatnonzero(model.kind.validation_rows(target, None))[::4])


def test_workers_learn_from_weights_as_one_process_does(tmp_path: Path):
    draw = np.random.default_rng(1)
    X = pl.DataFrame({"a": draw.integers(0, 9, 2000), "b": draw.integers(0, 5, 2000)})
    y = pl.Series("y", X["a"].to_numpy() + X["b"].to_numpy() + draw.normal(size=2000))
    weight = np.where(X["b"].to_numpy() > 2, 3.0, 0.5)
    parameters = {"n_estimators": 10, "early_stopping_rounds": 0}
    one = Model("xgboost", "regression", parameters).fit(X, y, weight=weight)
    unweighted = Model("xgboost", "regression", parameters).fit(X, y)
    model = Model("xgboost", "regression", parameters)
    target = model.fit_encoder(X, y)
    assert target is not None
    fit = sharded_fit(model, FrameRows(X.with_columns(y)), "y", target, weight=weight)
    fit_in_threads(fit, tmp_path)
    np.testing.assert_allclose(model.predict(X), one.predict(X), rtol=1e-5)
    assert np.abs(unweighted.predict(X) - one.predict(X)).max() > 1e-3


def test_rows_are_written_once_for_a_fit(tmp_path: Path):
    X, y = (
        pl.DataFrame({"a": [1.0, 2.0], "s": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2))}),
        pl.Series("y", [1, 2]),
    )
    files = write_learned_rows(tmp_path / "rows", X, y, key="one")
    assert pl.concat([pl.from_arrow(b) for b in files.batches()]).equals(X.with_columns(y))
    again = write_learned_rows(tmp_path / "rows", X, y, key="one")
    assert again == files


def test_workers_that_ended_without_a_model_are_an_error(tmp_path: Path):
    with pytest.raises(TrainingError, match="the workers ended without a model"):
        load_fitted(Model("xgboost", "regression"), tmp_path)
