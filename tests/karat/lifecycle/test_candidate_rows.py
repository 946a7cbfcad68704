"""A candidate from files is that of one process; where parts are sampled, its metrics are of all test rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.declare import Project
from karat.errors import RebuildFailed
from karat.executors import LocalExecutor
from karat.lake import Lake
from karat.lifecycle import make_candidate
from karat.lifecycle.candidate import training_run
from karat.lifecycle.candidate_rows import FOLDER, Sharding, candidate_rows
from karat.lifecycle.erasure import erase
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.version_training_set import rebuild, rebuild_files
from karat.registry import Registry
from karat.settings import TRAINING_FILES_ABOVE, Settings
from karat.training.evaluation import evaluate
from karat.training.split import split_training_set
from karat.training_sets import shard_lake, sharded_build
from karat.training_sets.row_sample import SampledTrainingSet

FILES = Sharding(LocalExecutor(), above=0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_lake, "BLOCK_ROWS", 300)


@pytest.fixture
def next_week(shop_features: Project, lake: Lake, registry: Registry) -> ModelContext:
    return ModelContext(shop_features, shop_features.models["next_week"], lake, registry)


def files_of(context: ModelContext) -> list[Path]:
    return sorted((context.lake.root / context.project.catalog / FOLDER).glob("*/*"))


def test_a_candidate_from_files_is_the_candidate_of_one_process(next_week: ModelContext) -> None:
    lake, registry = next_week.lake, next_week.registry
    made = make_candidate(next_week, sharding=FILES)
    assert made.retrained
    assert len(files_of(next_week)) == 1
    again = make_candidate(next_week)
    assert (again.retrained, again.version.version) == (False, made.version.version), "the digests are equal"
    alone = training_run(next_week, lake, candidate_rows(next_week, lake))
    assert alone.result.metrics == made.metrics
    assert alone.result.baseline == made.baseline
    metadata = registry.metadata(made.version)
    assert metadata.digest == alone.training_set.digest
    rebuilt = rebuild(lake, registry, made.version, next_week.functions)
    key = list(next_week.spine.primary_key)
    assert rebuilt.data.sort(key).equals(alone.training_set.data)
    for shards in (1, 2, 7):
        folder = next_week.lake.root.parent / f"rebuilt-{shards}"
        again_in_files = rebuild_files(next_week, made.version, folder, shards=shards)
        assert again_in_files.digest == metadata.digest
        assert again_in_files.files.scan().collect().sort(key).equals(alone.training_set.data)


def test_a_rebuild_in_files_names_what_differs(next_week: ModelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_candidate(next_week)
    real = sharded_build.join_features

    def changed(*given: object, **how: object) -> object:
        found = real(*given, **how)  # type: ignore[arg-type]
        return replace(found, values=found.values.with_columns(pl.col("age") + 1))

    monkeypatch.setattr(sharded_build, "join_features", changed)
    folder = next_week.lake.root.parent / "rebuilt"
    with pytest.raises(RebuildFailed, match=r"differs in: age \(shop_dev.features.people_features version"):
        rebuild_files(next_week, made.version, folder)
    assert not folder.exists()


def test_metrics_are_of_all_test_rows_where_the_test_is_sampled(next_week: ModelContext) -> None:
    lake = next_week.lake
    rows = candidate_rows(next_week, lake, Sharding(LocalExecutor(), above=0, test_rows=60))
    assert isinstance(rows, SampledTrainingSet)
    run = training_run(next_week, lake, rows)
    whole = candidate_rows(next_week, lake)
    test = whole.data.filter(split_training_set(whole, next_week.spec, time="day", entity=["customer"]) == "test")
    prediction = run.result.model.predict(test)
    expected = evaluate("regression", test[str(whole.label)], prediction)
    assert run.result.metrics == pytest.approx(expected)
    assert run.result.rows["test"] == test.height
    assert run.result.test.height <= 60
    alone = training_run(next_week, lake, whole).result
    assert run.result.metrics == pytest.approx(alone.metrics), "all training rows were learned from"
    assert run.result.baseline == pytest.approx(alone.baseline)
    note = f"plots, importance, the bootstrap and the gain are of {run.result.test.height} of {test.height} test rows"
    assert any(note in line for line in run.result.warnings)


def test_files_of_earlier_data_and_of_erased_people_are_deleted(next_week: ModelContext) -> None:
    lake, orders = next_week.lake, next_week.project.gold_name("orders")
    candidate_rows(next_week, lake, FILES)
    first = files_of(next_week)
    lake.overwrite(orders, lake.read(orders).with_columns(pl.col("amount") * 2))
    candidate_rows(next_week, lake, FILES)
    second = files_of(next_week)
    assert len(first) == len(second) == 1
    assert first != second
    erase(lake, next_week.registry, orders, pl.DataFrame({"order_id": [1]}))
    assert files_of(next_week) == []


def test_the_setting_decides(monkeypatch: pytest.MonkeyPatch, next_week: ModelContext) -> None:
    monkeypatch.setenv("KARAT_TRAINING_FILES_ABOVE", "12")
    assert Settings().training_files_above == 12
    assert Sharding(LocalExecutor()).above == TRAINING_FILES_ABOVE
    count = next_week.lake.count(next_week.spine_name)
    kinds = [
        isinstance(candidate_rows(next_week, next_week.lake, Sharding(LocalExecutor(), above=a)), SampledTrainingSet)
        for a in (count - 1, count)
    ]
    assert kinds == [True, False]


def test_every_task_streams_its_metrics(shop_features: Project, lake: Lake, registry: Registry) -> None:
    for name in ("leaver", "odd_days"):
        context = ModelContext(shop_features, shop_features.models[name], lake, registry)
        rows = candidate_rows(context, lake, Sharding(LocalExecutor(), above=0, test_rows=90))
        run = training_run(context, lake, rows)
        assert isinstance(rows, SampledTrainingSet)
        assert all(np.isfinite(v) for v in run.result.metrics.values())
        sampled = rows.sampled["test"][1] if name == "leaver" else run.result.test.height
        assert run.result.rows["test"] == sampled
