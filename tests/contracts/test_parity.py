"""For every feature table of every project, in every store: what is served online is what the as-of join gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from karat.clock import microseconds
from karat.declare import FeatureTable, Project, load_project
from karat.declare.project_catalog import ProjectCatalog
from karat.declare.project_reader import project_names
from karat.features import Status, compute_table
from karat.inference.feature_reader import FeatureReader
from karat.inference.features import online_features
from karat.lake import Lake, TableInfo
from karat.online import KeySpace, OnlineStore, RowReader, backends, open_store, publish_table
from karat.quality import write_sample
from karat.settings import Settings
from karat.training_sets.feature_join import join_features
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin
from tests.projects.conftest import Bench
from tests.services import use_store

PROJECTS = Path(__file__).parents[2] / "projects"
SCALE, ENTITIES, LENGTH = 0.02, 25, 4
NOBODY: dict[Any, Any] = {pl.String: "nobody at all", pl.Int64: -(2**60)}
Made = tuple[Project, Lake]
#: Written as the flows write it, in one file a day; thousands of these would take longer than what is tested.
BY_DAY = "hydroponics"


@cache
def declared(name: str) -> Project:
    return load_project(name, Settings(projects=PROJECTS))


TABLES = [(name, table) for name in project_names(Settings(projects=PROJECTS)) for table in declared(name).tables]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """A project's small sample and its feature tables; made once. Its last day is the one that held the moment twelve
    hours ago: of yesterday's events an evening finds none any more that are younger than a day."""
    made: dict[str, Made] = {}
    last = (datetime.now(UTC) - timedelta(hours=12)).date()

    def make(name: str) -> Made:
        if name not in made:
            project, lake = declared(name), Lake(tmp_path_factory.mktemp(name) / "lake", "dev")
            if name == BY_DAY:
                write_sample(project, lake, scale=SCALE, end=last)
                for table in project.tables:
                    compute_table(project, table, lake)
            else:
                assert project.sample is not None
                gold = project.sample(scale=SCALE, end=last, tables=project.gold_of(project.tables))
                Bench(project, lake).write_whole(gold, project.tables)
            made[name] = project, lake
        return made[name]

    return make


@pytest.fixture(params=backends())
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[OnlineStore]:
    store = open_store(use_store(request.param, settings, request))
    yield store
    store.close()


def test_there_are_tables() -> None:
    assert {project for project, _ in TABLES} == set(project_names(Settings(projects=PROJECTS)))


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_served_is_what_the_offline_store_says(
    name: str, table: str, store: OnlineStore, computed: Callable[[str], Made]
) -> None:
    project, lake = computed(name)
    info = lake.info(project.table_name(table))
    numbers = [f.name for f in project.tables[table].stored if f.dtype in ("float64", "int64", "bool")]
    publish_table(
        lake,
        store,
        info.name,
        projects=ProjectCatalog(None, project),
        sequence_length=LENGTH if info.timeseries else None,
    )
    if project.tables[table].grain == "event":
        check_events(project, project.tables[table], lake, store)
    else:
        check_latest(project, info, lake, store)
    if info.timeseries:
        check_sequences(project, info, lake, store, numbers)
    publish_table(lake, store, info.name, index="exact")
    check_exact(info, lake, store)


def entities(project: Project, info: TableInfo, lake: Lake) -> pl.DataFrame:
    """Some that the table has, one that nobody knows, and the moment for which all are asked."""
    keys = list(project.tables[info.name.table].entity)
    known = lake.scan(info.name).select(keys).unique().sort(keys).collect()
    some = known.sample(min(ENTITIES, known.height), seed=1)
    nobody = pl.DataFrame({c: [NOBODY.get(t, v)] for (c, t), v in zip(some.schema.items(), some.row(0), strict=True)})
    moment = pl.lit(datetime.now(UTC), dtype=pl.Datetime("us", "UTC"))
    return pl.concat([some, nobody.cast(dict(some.schema))]).with_columns(moment.alias("__at"))


def as_of(project: Project, info: TableInfo, lake: Lake, spine: pl.DataFrame, **more: Any) -> PinnedLookup:
    keys = list(project.tables[info.name.table].entity)
    time = {"timestamp_lookup_key": "__at"} if info.timeseries else {}
    return pin(FeatureLookup(str(info.name), lookup_key=keys, **time, **more), lake, spine)


def check_latest(project: Project, info: TableInfo, lake: Lake, store: OnlineStore) -> None:
    """The rows known now, by a model's reader and by reference; with a lookback that some rows are older than."""
    spine = entities(project, info, lake)
    for lookback in (None, timedelta(days=20)) if info.timeseries else (None,):
        lookup = as_of(project, info, lake, spine, lookback_window=lookback)
        compare(lake, store, project, lookup, spine)
    filled = join_features(lake, spine, [as_of(project, info, lake, spine)])
    references = [f"{info.name}:{name}" for name in filled.values.columns]
    found = online_features(lake, store, references, spine.drop("__at").to_dicts())
    assert_same(found.values, filled.values.rows())
    assert [tuple(s) for s in found.statuses] == filled.statuses.rows()


def check_sequences(project: Project, info: TableInfo, lake: Lake, store: OnlineStore, numbers: list[str]) -> None:
    spine = entities(project, info, lake)
    compare(
        lake, store, project, as_of(project, info, lake, spine, feature_names=numbers, sequence_length=LENGTH), spine
    )


def compare(lake: Lake, store: OnlineStore, project: Project, lookup: PinnedLookup, spine: pl.DataFrame) -> None:
    filled = join_features(lake, spine, [lookup])
    reader = FeatureReader([lookup], lookup.outputs, store, lake, ProjectCatalog(None, project))
    for i, row in enumerate(spine.drop("__at").to_dicts()):
        vector = reader.read(row, None)
        assert_same([vector.values], [[plain(v) for v in filled.values.row(i)]])
        assert tuple(vector.statuses) == filled.statuses.row(i), row


def check_exact(info: TableInfo, lake: Lake, store: OnlineStore) -> None:
    """Every column of some rows under their whole keys."""
    rows = lake.read(info.name).sample(ENTITIES, seed=2, with_replacement=True)
    columns = [n for n in info.schema.names if n not in info.primary_key]
    reader = RowReader(store, KeySpace(str(info.name), "exact"), columns)
    keys = rows.select(info.primary_key).rows()
    found = reader.read_many(keys, microseconds(datetime.now(UTC)))
    assert_same([list(r.values) for r in found], rows.select(columns).rows())
    assert all(Status.NOT_FOUND not in r.statuses for r in found)


def check_events(project: Project, table: FeatureTable, lake: Lake, store: OnlineStore) -> None:
    """Events of the last day are served online the rows that the table has for them."""
    gold, projects = project.gold_name(table.source), ProjectCatalog(None, project)
    name = project.table_name(table.name)
    key = [*table.entity, str(table.time), str(table.event_id)]
    now = datetime.now(UTC)
    stored = lake.scan(name).filter(pl.col(str(table.time)).is_between(now - timedelta(hours=23), now)).collect()
    rows = stored.sample(min(ENTITIES, stored.height), seed=3)
    events = lake.scan(gold).join(rows.lazy().select(key), on=key, how="semi").collect()
    assert events.height == rows.height > 0
    spine = rows.select(key)
    features = [f.name for f in table.stored]
    lookup = pin(FeatureLookup(str(name), lookup_key=key), lake, spine)
    reader = FeatureReader([lookup], features, store, lake, projects)
    own = [c for c in reader.own_types if c not in key]
    for row in rows.join(events.select(str(table.event_id), *own), on=str(table.event_id), suffix="__own").to_dicts():
        given = {c: row.get(f"{c}__own", row[c]) for c in own}
        vector = reader.read({k: row[k] for k in key}, None, given)
        assert_same([vector.values], [[row[f] for f in features]])


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, pl.Series | tuple | list) else value


def assert_same(one: Any, other: Any) -> None:
    """Values equal to the last bit, but for floats that a request has summed itself."""
    for mine, yours in zip(one, other, strict=True):
        for a, b in zip(mine, yours, strict=True):
            if isinstance(a, float) and isinstance(b, float):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
            else:
                assert a == b
