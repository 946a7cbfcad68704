"""Erasing a person wins over pins: no file holds them any more, and what is left comes back by its digest."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from karat.declare import Project
from karat.errors import RebuildFailed, WrongCall
from karat.features import compute_table
from karat.features.quality_gate import aside_name
from karat.lake import Lake
from karat.lifecycle import erase, make_candidate, pins_of, retain
from karat.lifecycle import erasure as module
from karat.lifecycle.model_context import ModelContext
from karat.names import TableName
from karat.quality import ingest, quarantine_name
from karat.registry import ModelVersion, Registry
from karat.training_sets.rebuild_record import ErasedRows
from karat.training_sets.reproduce import rebuild_training_set

GONE = pl.DataFrame({"customer": ["c007", "c011"]})


@pytest.fixture
def models(shop_features: Project, lake: Lake, registry: Registry) -> list[ModelVersion]:
    """Two live versions on two versions of the table; then the table moves on."""
    name, made = shop_features.table_name("people_features"), []
    for _ in range(2):
        made.append(make_candidate(ModelContext(shop_features, shop_features.models["leaver"], lake, registry)).version)
        lake.overwrite(name, lake.read(name).with_columns(pl.col("age") + 1))
    return made


def holds(lake: Lake, catalog: str, schemas: tuple[str, ...]) -> list[str]:
    """The files under these schemas that have one of the two in any column of text."""
    found = []
    for schema in schemas:
        for file in (lake.root / catalog / schema).rglob("*.parquet"):
            if "_delta_log" in file.parts:
                continue
            frame = pl.read_parquet(file, hive_partitioning=False)
            texts = frame.select(pl.col(pl.String))
            if texts.width and texts.select(pl.any_horizontal(pl.all().is_in(GONE["customer"].to_list())).any()).item():
                found.append(str(file))
    return found


def again(lake: Lake, registry: Registry, version: ModelVersion):
    version = registry.version(version.name, version.version)
    return rebuild_training_set(
        lake, registry.metadata(version).training_set, erased=ErasedRows.from_json(version.own_tags.erased)
    )


def test_no_file_holds_them_and_models_come_back_without(
    shop_features: Project, lake: Lake, registry: Registry, models
) -> None:
    name = shop_features.table_name("people_features")
    before = [again(lake, registry, v) for v in models]
    assert holds(lake, "shop_dev", ("features", "models"))
    done = erase(lake, registry, name, GONE)
    assert (done.rows, done.models) == (2, {v.uri: 2 for v in models})
    assert [f for f in holds(lake, "shop_dev", ("features", "models")) if "people_features" in f or "spine" in f] == []
    for version, was in zip(models, before, strict=True):
        made = again(lake, registry, version)
        kept = was.data.filter(~pl.col("customer").is_in(GONE["customer"].to_list()))
        assert made.data.equals(kept)
        assert made.erased_rows == 2
        tags = registry.version(version.name, version.version).tags
        assert tags["karat.rebuildable"] == f"all but 2 of {was.data.height} rows, which were erased"
        assert registry.spine(version).filter(pl.col("customer").is_in(GONE["customer"].to_list())).is_empty()
    with pytest.raises(RebuildFailed, match="2 of 600 rows are missing"):
        rebuild_training_set(lake, registry.metadata(models[0]).training_set)
    assert lake.read(name).filter(pl.col("customer").is_in(GONE["customer"].to_list())).is_empty()
    other = pl.DataFrame({"customer": ["c020", "nobody"]})  # a second time, another one
    assert erase(lake, registry, name, other).models == {v.uri: 3 for v in models}
    assert again(lake, registry, models[0]).erased_rows == 3
    assert erase(lake, registry, name, other).rows == 0
    for table in (t for t in lake.tables("shop_dev", "models") if t.table.startswith("pinned__")):
        lake.overwrite(table, lake.read(table).tail(5))  # what is left is checked too
    with pytest.raises(RebuildFailed, match="what the erasure of"):
        again(lake, registry, models[0])
    registry.delete(models[0])
    registry.delete(models[1])
    retain(lake, registry, "shop_dev", keep=module._KEEP, dry_run=False)
    assert [t for t in lake.tables("shop_dev", "models") if t.table.startswith("pinned__")] == []


@pytest.mark.parametrize("step", ["_copy_remaining_rows", "_remove_earlier_files", "_finish_erasure"])
def test_killed_in_the_middle_the_next_call_does_the_rest(
    shop_features: Project, lake: Lake, registry: Registry, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    version = make_candidate(ModelContext(shop_features, shop_features.models["leaver"], lake, registry)).version
    name, inner = shop_features.table_name("people_features"), getattr(module, step)

    def killed(*args: object, **kwargs: object) -> object:
        inner(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            erase(lake, registry, name, GONE)
    assert erase(lake, registry, name, GONE).models == {version.uri: 2}
    assert [f for f in holds(lake, "shop_dev", ("features", "models")) if "people_features" in f or "spine" in f] == []
    made = again(lake, registry, version)
    assert (made.erased_rows, made.digest) == (
        2,
        ErasedRows.from_json(registry.version(version.name, 1).own_tags.erased).digest,
    )


def set_aside_files(lake: Lake, table: TableName) -> str:
    """The text of every file that the table has on the disk."""
    files = [f for f in lake.path(table).rglob("*.parquet") if "_delta_log" not in f.parts]
    return "\n".join(str(pl.read_parquet(f).rows()) for f in files)


def test_rows_that_were_set_aside_go_too(shop: Project, lake: Lake, registry: Registry, tmp_path: Path) -> None:
    """Under the contract's name of the key and under another, of a file and of the checks of a feature table."""
    gold = shop.gold_name("members")
    file = tmp_path / "members.csv"
    file.write_text(
        "customer,city,age,left\nc001,Bern,30,No\nc007,Bern,old,No\nc020,c007,old,No\nc0071,Bern,old,No\nc011,Bern,1,2,3,4\n"
    )
    ingest(shop, "members", [file], lake)
    export, maps = tmp_path / "export.csv", shop.path / "maps"
    export.write_text("Kunde,city,age,left\nc011,Basel,old,No\nc021,Basel,old,No\nc002,Basel,31,No\n")
    maps.mkdir(exist_ok=True)
    (maps / "export.yaml").write_text(
        "description: another system\ntable: members\ncolumns: {customer: Kunde, city: city, age: age, left: left}\n"
    )
    ingest(shop, "members", [export], lake, map_path=maps / "export.yaml")
    aside = quarantine_name(gold)
    assert lake.count(aside) == 6
    done = erase(lake, registry, gold, GONE)
    assert done.set_aside == 3
    left = lake.read(aside)["row"].to_list()
    assert [key for key in ("c020", "c0071", "c021") if any(key in row for row in left)] == ["c020", "c0071", "c021"]
    assert len(left) == 3
    assert "'c011" not in set_aside_files(lake, aside)
    assert '"c011"' not in set_aside_files(lake, aside)
    assert erase(lake, registry, gold, GONE).set_aside == 0

    features = shop.table_name("people_features")
    compute_table(shop, "people_features", lake)
    beside, keys = aside_name(features), ["c007", "c030"]
    rows = pl.DataFrame({"customer": keys, "_reason": ["young", "young"]})
    lake.create(beside, rows.to_arrow().schema, primary_key=["customer"])
    lake.merge(beside, rows)
    assert erase(lake, registry, features, GONE).set_aside == 1
    assert lake.read(beside)["customer"].to_list() == ["c030"]
    assert "c007" not in set_aside_files(lake, beside)


def test_who_is_not_there_and_what_is_no_key(shop_features: Project, lake: Lake, registry: Registry) -> None:
    name = shop_features.table_name("people_features")
    version = make_candidate(ModelContext(shop_features, shop_features.models["leaver"], lake, registry)).version
    done = erase(lake, registry, name, pl.DataFrame({"customer": ["nobody"]}))
    assert (done.rows, done.models) == (0, {})
    assert again(lake, registry, version).erased_rows == 0
    assert "karat.erased" not in registry.version(version.name, 1).tags
    with pytest.raises(WrongCall, match="no key column"):
        erase(lake, registry, name, pl.DataFrame({"city": ["Bern"]}))
    with pytest.raises(WrongCall, match="nobody is named"):
        erase(lake, registry, name, GONE.clear())
    assert name in pins_of(registry, module._KEEP, version.created).tables
