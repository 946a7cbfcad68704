"""Retention keeps what live models pin: their training sets come back; what was let go is gone and says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.errors import RebuildFailed, WrongCall
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote, retain
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry
from karat.training_sets.reproduce import rebuild_training_set

KEEP, LATER = timedelta(days=30), datetime.now(UTC) + timedelta(days=90)


def older(project: Project, lake: Lake, by: int) -> None:
    """Another version of the feature table, all its rows rewritten."""
    name = project.table_name("people_features")
    lake.overwrite(name, lake.read(name).with_columns(pl.col("age") + by))


@pytest.fixture
def trained(shop_features: Project, lake: Lake, registry: Registry):
    """Three versions of a model on three versions of its table: once champion, superseded, champion."""
    made, spec = [], shop_features.models["leaver"]
    free = spec.model_copy(update={"gates": spec.gates.model_copy(update={"margin": 0.0, "floors": {}})})
    for by in (0, 1, 1):
        older(shop_features, lake, by)
        made.append(make_candidate(ModelContext(shop_features, free, lake, registry)).version)
        if by != 1 or len(made) == 3:
            registry.set_alias(made[-1], "champion", "for the test")
            registry.clear_alias(made[-1].name, "challenger", "it is champion")
    older(shop_features, lake, 5)
    return [registry.version(v.name, v.version) for v in made]


def test_pinned_versions_outlive_the_time_to_keep(
    shop_features: Project, lake: Lake, registry: Registry, trained
) -> None:
    first, second, third = trained
    assert [v.aliases for v in trained] == [(), (), ("champion",)]
    catalog = shop_features.catalog
    table = shop_features.table_name("people_features")
    young = retain(lake, registry, catalog, keep=KEEP, dry_run=False)
    assert (sum(t.files for t in young.tables), young.pins.released) == (0, ())
    plan = retain(lake, registry, catalog, keep=KEEP, now=LATER)
    assert [v.version for v in plan.pins.released] == [2]  # the first was champion once
    assert "karat.released" not in registry.version(second.name, 2).tags
    for version in trained:  # a dry run removes nothing
        rebuild_training_set(lake, registry.metadata(version).training_set)
    done = retain(lake, registry, catalog, keep=KEEP, now=LATER, dry_run=False)
    assert {t.table: t.files for t in done.tables} == {t.table: t.files for t in plan.tables}
    assert sum(t.files for t in done.tables) > 0
    for version in (first, third):
        made = rebuild_training_set(lake, registry.metadata(version).training_set)
        assert made.digest == version.tags["karat.digest"]
    with pytest.raises(RebuildFailed, match="cannot be rebuilt"):
        rebuild_training_set(lake, registry.metadata(second).training_set)
    assert "karat.released" in registry.version(second.name, 2).tags
    unread = next(t for t in done.tables if t.table == table).lost
    assert set(unread).isdisjoint(done.pins.tables[table])
    assert lake.read(table).height > 0
    assert retain(lake, registry, catalog, keep=KEEP, now=LATER, dry_run=False).tables[0].files == 0


def test_a_day_is_kept_at_least(shop_features: Project, lake: Lake, registry: Registry) -> None:
    with pytest.raises(WrongCall, match="a day at least"):
        retain(lake, registry, shop_features.catalog, keep=timedelta(hours=1))


def test_gold_that_a_spine_came_from_is_pinned(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["leaver"]
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    promote(ModelContext(shop_features, spec, lake, registry))
    gold = shop_features.gold_name("members")
    before = lake.read(gold, version=1)
    lake.overwrite(gold, lake.read(gold).with_columns(pl.col("age") + 1))
    done = retain(lake, registry, shop_features.catalog, keep=KEEP, now=LATER, dry_run=False)
    assert list(done.pins.tables[gold]) == [1]
    assert lake.read(gold, version=1).equals(before)
