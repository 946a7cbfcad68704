"""Training, batch scoring, /v1/predict and /v1/features read the same values: those that plain loops find.

Every feature table of every project and a made-up table of events, in every online store.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from karat.clock import microseconds
from karat.declare import EventFeatureTable, Project, load_project
from karat.declare.project_catalog import ProjectCatalog
from karat.declare.project_reader import project_names
from karat.errors import EmptyTrainingSet
from karat.features import Status, compute_table
from karat.inference import inputs_of
from karat.inference.feature_reader import FeatureReader
from karat.inference.predictor import Predictor
from karat.lake import Lake, TableInfo
from karat.names import ModelName, TableName
from karat.online import KeySpace, OnlineStore, RowReader, backends, open_store, publish_table
from karat.quality import write_sample
from karat.registry import LoadedModel, ModelVersion
from karat.registry.metadata import ModelMetadata
from karat.settings import Settings
from karat.training_sets.feature_join import join_features
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin
from karat.training_sets.training_set import create_training_set
from serve.api.app import make_app
from serve.api.loaded_model import LoadedVersion
from tests.karat.features.events_oracle import GOLD, MORE, expected, same, table
from tests.projects.conftest import Bench
from tests.services import use_store

from .reading_oracle import said

PROJECTS = Path(__file__).parents[2] / "projects"
SCALE, ENTITIES, FEW, LENGTH = 0.02, 12, 4, 4
NOBODY: dict[Any, Any] = {pl.String: "nobody at all", pl.Int64: -(2**60)}
NUMBERS = ("float64", "int64", "bool")
#: Written as the flows write it, in one file a day; thousands of these would take longer than what is tested.
BY_DAY = "hydroponics"
WINDOWS = ("90m", "2d")
SHOP = {
    "project.yaml": "description: A shop\nowner: shop team\n",
    "gold.py": "from tests.karat.features.events_oracle import GOLD as payments\n",
    "features/paid.py": f"""
from tests.karat.features.events_oracle import MORE, table
paid = table(windows={WINDOWS!r}, closed="right", more=MORE)
""",
}
Said = tuple[list[Any], list[str] | None]


@cache
def declared(name: str) -> Project:
    return load_project(name, Settings(projects=PROJECTS))


TABLES = [(name, table) for name in project_names(Settings(projects=PROJECTS)) for table in declared(name).tables]
TABLES.append(("shop", "paid"))
READERS = [
    ("training", backends()[0]),
    ("batch", backends()[0]),
    *((reader, kind) for reader in ("/v1/predict", "/v1/features") for kind in backends()),
]


@dataclass(frozen=True)
class World:
    """A project's tables, computed and published."""

    project: Project
    settings: Settings
    lake: Lake
    store: OnlineStore

    @property
    def projects(self) -> ProjectCatalog:
        return ProjectCatalog(None, self.project)


@dataclass(frozen=True)
class Case:
    """Keys that are asked for through one lookup, and what plain loops find.

    ``own``: of each row the values of its own event. ``by_reference``: whether /v1/features can ask for it, which
    knows neither lookbacks nor defaults nor sequences.
    """

    name: str
    lookup: FeatureLookup
    keys: list[dict[str, Any]]
    expected: list[Said]
    at: datetime | None = None
    own: list[dict[str, Any]] = field(default_factory=list)
    by_reference: bool = False


# ---- worlds


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Project, Settings]]:
    """A project's small sample and its feature tables; made once. Its last day is the one that held the moment twelve
    hours ago: of yesterday's events an evening finds none any more that are younger than a day."""
    made: dict[str, tuple[Project, Settings]] = {}
    last = (datetime.now(UTC) - timedelta(hours=12)).date()

    def make(name: str) -> tuple[Project, Settings]:
        if name not in made:
            home = tmp_path_factory.mktemp(name)
            settings = Settings(home=home, projects=home / "projects" if name == "shop" else PROJECTS)
            lake = Lake(settings.lake, "dev")
            project = shop(home / "projects", lake) if name == "shop" else declared(name)
            if name in ("shop", BY_DAY):
                if name == BY_DAY:
                    write_sample(project, lake, scale=SCALE, end=last)
                for one in project.tables:
                    compute_table(project, one, lake)
            else:
                assert project.sample is not None
                gold = project.sample(scale=SCALE, end=last, tables=project.gold_of(project.tables))
                Bench(project, lake).write_whole(gold, project.tables)
            made[name] = project, settings
        return made[name]

    return make


def shop(projects: Path, lake: Lake) -> Project:
    """A project of events, many of them in the last hours and several of one second."""
    for name, text in SHOP.items():
        path = projects / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = load_project("shop", Settings(projects=projects))
    lake.create(project.gold_name("payments"), GOLD.schema, primary_key=GOLD.key, timeseries="paid_at")
    lake.merge(project.gold_name("payments"), payments())
    return project


@cache
def payments() -> pl.DataFrame:
    random, n, now = np.random.default_rng(0), 80, datetime.now(UTC).replace(microsecond=0)
    seconds = np.concatenate([random.integers(3600, 4 * 86_400, n - 8), np.repeat([7200, 9000], 4)])
    return pl.DataFrame(
        {
            "payment_id": random.permutation(n),
            "user": random.choice(["ann", "bob", "cid", "dee"], n),
            "shop": random.integers(1, 3, n),
            "paid_at": [now - timedelta(seconds=int(s)) for s in seconds],
            "amount": [None if i % 9 == 0 else float(i % 13) for i in range(n)],
            "items": random.integers(1, 5, n),
            "fraud": random.random(n) < 0.2,
            "what": random.choice(["card", "cash"], n),
        },
        schema_overrides={"paid_at": pl.Datetime("us", "UTC"), "amount": pl.Float64},
    )


@pytest.fixture(scope="module")
def worlds(computed: Callable[[str], tuple[Project, Settings]], request: pytest.FixtureRequest) -> Any:
    """``worlds(project, backend)``: all its tables in that online store; published once."""
    made: dict[tuple[str, str], World] = {}

    def make(name: str, backend: str) -> World:
        if (name, backend) not in made:
            project, settings = computed(name)
            settings = use_store(backend, settings.model_copy(deep=True), request)
            world = World(project, settings, Lake(settings.lake, "dev"), open_store(settings))
            for one in project.tables:
                info = world.lake.info(project.table_name(one))
                length = LENGTH if info.timeseries else None
                publish_table(world.lake, world.store, info.name, projects=world.projects, sequence_length=length)
                publish_table(world.lake, world.store, info.name, index="exact")
            made[name, backend] = world
        return made[name, backend]

    yield make
    for world in made.values():
        world.store.close()


# ---- the cases


def cases(world: World, name: str) -> list[Case]:
    """A table's cases; the readers of one table follow each other and share them."""
    key, now = (world.project.name, name), time.monotonic()
    if key not in _made or now - _made[key][0] > 60:
        _made[key] = now, make_cases(world, name)
    return _made[key][1]


_made: dict[tuple[str, str], tuple[float, list[Case]]] = {}


def make_cases(world: World, name: str) -> list[Case]:
    features = world.project.tables[name]
    info = world.lake.info(world.project.table_name(name))
    made = [*event_cases(world, name)] if isinstance(features, EventFeatureTable) else [*exact_cases(world, info)]
    if not isinstance(features, EventFeatureTable) and info.timeseries:
        made += as_of_cases(world, info)
    if info.timeseries:
        made.append(sequence_case(world, info))
    return made


def entities(world: World, info: TableInfo, count: int = ENTITIES) -> list[dict[str, Any]]:
    """Some that the table has, one that nobody knows, one that is null."""
    keys = list(world.project.tables[info.name.table].entity)
    known = world.lake.scan(info.name).select(keys).unique().sort(keys).collect()
    some = known.sample(min(count, known.height), seed=1)
    nobody = {c: NOBODY.get(t, v) for (c, t), v in zip(some.schema.items(), some.row(0), strict=True)}
    return [*some.to_dicts(), nobody, {**some.to_dicts()[0], keys[0]: None}]


def looked_up(
    world: World, info: TableInfo, name: str, keys: list[dict[str, Any]], *, at: datetime | None = None, **lookup: Any
) -> Case:
    """A case whose expected answers are those of plain loops over the table's rows."""
    asked = FeatureLookup(str(info.name), **lookup)
    spine = pl.DataFrame(schema=[*keys[0], "__at"])
    pinned = pin(asked, world.lake, spine)
    stored = world.lake.read(info.name)
    entity = list(world.project.tables[info.name.table].entity)
    wanted = pl.DataFrame([{e: k[e] for e in entity} for k in keys], schema={e: stored.schema[e] for e in entity})
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in stored.join(wanted.unique(), on=entity, how="semi").to_dicts():
        rows.setdefault(tuple(row[e] for e in entity), []).append(row)
    moment = at or datetime.now(UTC)
    answers = [said(pinned, rows.get(tuple(k[e] for e in entity), []), k, moment) for k in keys]
    plain = not (asked.lookback_window or asked.default_values or asked.sequence_length)
    return Case(name, asked, keys, answers, at, by_reference=plain)


def as_of_cases(world: World, info: TableInfo) -> list[Case]:
    """The rows known now and at a past time; with a time-to-live that some rows are older than, and with defaults."""
    keys, few = entities(world, info), entities(world, info, FEW)
    lookup = {"lookup_key": list(keys[0]), "timestamp_lookup_key": "__at"}
    past = datetime.now(UTC) - timedelta(days=9, hours=7)
    number = next((f.name for f in world.project.tables[info.name.table].stored if f.dtype == "float64"), None)
    short = {"lookback_window": timedelta(days=20)}
    made = [
        looked_up(world, info, "latest", keys, **lookup),
        looked_up(world, info, "past as_of", few, at=past, **lookup),
        looked_up(world, info, "lookback", keys, **lookup, **short),
        looked_up(world, info, "expired", few, **lookup, lookback_window=timedelta(seconds=1)),
        looked_up(world, info, "lookback, past as_of", few, at=past, **lookup, **short),
    ]
    if number is not None:
        lookup |= {"default_values": {number: 7.5}, "lookback_window": timedelta(seconds=1)}
        made.append(looked_up(world, info, "defaults", few, **lookup))
    return made


def sequence_case(world: World, info: TableInfo) -> Case:
    numbers = [f.name for f in world.project.tables[info.name.table].stored if f.dtype in NUMBERS]
    keys = entities(world, info)
    lookup = {"lookup_key": list(keys[0]), "timestamp_lookup_key": "__at"}
    return looked_up(world, info, "sequence", keys, **lookup, feature_names=numbers, sequence_length=LENGTH)


def exact_cases(world: World, info: TableInfo) -> list[Case]:
    """Rows by their whole keys, those of a static table among them; one that is unknown, one that is null."""
    columns = list(info.primary_key)
    rows = world.lake.read(info.name, columns=columns).select(columns)
    some = rows.sample(min(FEW, rows.height), seed=2)
    nobody = {c: NOBODY.get(t, v) for (c, t), v in zip(some.schema.items(), some.row(0), strict=True)}
    (entity, *_) = world.project.tables[info.name.table].entity
    keys = [*some.to_dicts(), nobody, {**some.to_dicts()[0], entity: None}]
    return [looked_up(world, info, "exact", keys, lookup_key=columns)]


def event_cases(world: World, name: str) -> list[Case]:
    """Events of the last day, which are finished online, and older ones: the rows that the table has for them."""
    features = world.project.tables[name]
    gold, stored = world.project.gold_name(features.source), world.project.table_name(name)
    key = [*features.entity, str(features.time), str(features.event_id)]
    now = datetime.now(UTC)
    recent = pl.col(str(features.time)).is_between(now - timedelta(hours=23), now)
    made = []
    past = pl.col(str(features.time)) < now - timedelta(hours=25)
    for title, chosen, count in (("event of today", recent, ENTITIES), ("event of the past", past, FEW)):
        rows = world.lake.scan(stored).filter(chosen).collect()
        rows = rows.sample(min(count, rows.height), seed=3)
        events = world.lake.scan(gold).join(rows.lazy().select(key), on=key, how="semi").collect()
        assert events.height == rows.height > 0
        lookup = pin(FeatureLookup(str(stored), lookup_key=key), world.lake, rows.select(key))
        reader = FeatureReader([lookup], lookup.outputs, world.store, world.lake, world.projects)
        own = [c for c in reader.own_types if c not in key]
        named = {e[str(features.event_id)]: {c: e[c] for c in own} for e in events.to_dicts()}
        keys = [{k: row[k] for k in key} for row in rows.to_dicts()]
        truth = expected(table(windows=WINDOWS, closed="right", more=MORE), payments()) if name == "paid" else None
        answers = []
        for row in rows.to_dicts():
            values = [row[c] for c in lookup.columns]
            if truth is not None:  # of the made-up events plain loops over gold are the truth
                values = [truth[tuple(row[k] for k in key)][c] for c in lookup.columns]
                assert all(same(row[c], v, scale=1e4) for c, v in zip(lookup.columns, values, strict=True))
            answers.append((values, ["NULL" if v is None else "PRESENT" for v in values]))
        asked = FeatureLookup(str(stored), lookup_key=key)
        own_values = [named[k[str(features.event_id)]] for k in keys]
        made.append(Case(title, asked, keys, answers, own=own_values, by_reference=True))
    return made


# ---- the readers: each gives values and statuses of every row; None for a row that it refuses


def spine_of(world: World, case: Case) -> pl.DataFrame:
    stored = world.lake.scan(TableName.parse(case.lookup.table_name)).collect_schema()
    keys = pl.DataFrame(case.keys, schema={c: stored[c] for c in case.keys[0]})
    return keys.with_columns(pl.lit(case.at or datetime.now(UTC), dtype=pl.Datetime("us", "UTC")).alias("__at"))


def rows_of(values: pl.DataFrame, statuses: pl.DataFrame) -> list[Said | None]:
    lines = zip(values.rows(), statuses.rows(), strict=True)
    return [([plain(v) for v in row], list(status)) for row, status in lines]


def by_training(world: World, case: Case) -> list[Said | None]:
    """As a training set has it, at the pinned versions."""
    spine = spine_of(world, case)
    lookup = pin(case.lookup, world.lake, spine)
    joined = join_features(world.lake, spine, [lookup], pinned=True)
    try:
        data = create_training_set(world.lake, spine, [case.lookup], None).data
    except EmptyTrainingSet:  # no row of its keys has values
        assert {s for row in joined.statuses.rows() for s in row} <= {"NOT_FOUND", "EXPIRED", "DEFAULTED"}
    else:
        assert joined.values.equals(data.select(lookup.outputs))
    return rows_of(joined.values, joined.statuses)


def by_batch(world: World, case: Case) -> list[Said | None]:
    """As batch scoring gives it to a model."""
    spine = spine_of(world, case)
    lookup = pin(case.lookup, world.lake, spine)
    inputs = inputs_of(world.lake, loaded(lookup), spine, missing="null")
    statuses = join_features(world.lake, spine, [lookup]).statuses
    assert inputs.unknown.to_list() == [set(s) == {"NOT_FOUND"} for s in statuses.rows()]
    return rows_of(inputs.values, statuses)


def by_predict(world: World, case: Case) -> list[Said | None]:
    """As POST /v1/predict gives it to a model; None where it refuses a null key or an unknown entity."""
    lookup = pin(case.lookup, world.lake, spine_of(world, case))
    log = Log()
    predictor = Predictor(loaded(lookup), world.store, world.lake, log=log, projects=world.projects)  # type: ignore[arg-type]
    version = ModelVersion(MODEL, 1, "run", "", (), datetime.now(UTC), {}, {}, {})
    app = make_app(One(world.settings, LoadedVersion(version, predictor, True, datetime.now(UTC))))  # type: ignore[arg-type]
    bodies = [
        {"keys": as_json(keys), "features": as_json(own), "as_of_date": as_json(case.at)}
        for keys, own in zip(case.keys, case.own or [{}] * len(case.keys), strict=True)
    ]
    with TestClient(app) as http:  # one loop for all requests
        responses = [http.post("/v1/predict/one", json=body) for body in bodies]
    out: list[Said | None] = []
    logs = iter(log.taken)
    for keys, answer in zip(case.keys, responses, strict=True):
        if answer.status_code == 200:
            logged = next(logs)
            assert list(answer.json()["feature_statuses"]) == list(lookup.outputs)
            out.append(([plain(v) for v in logged.values], list(answer.json()["feature_statuses"].values())))
        else:
            assert answer.status_code == (422 if None in keys.values() else 404), answer.text
            out.append(None)
    return out


def by_features(world: World, case: Case) -> list[Said | None]:
    """As POST /v1/features answers, all rows at once."""
    lookup = pin(case.lookup, world.lake, spine_of(world, case))
    owns = case.own or [{}] * len(case.keys)
    body = {
        "features": [f"{lookup.table}:{column}" for column in lookup.columns],
        "entities": [as_json({**keys, **own}) for keys, own in zip(case.keys, owns, strict=True)],
        "as_of_date": as_json(case.at),
    }
    answer = TestClient(make_app(One(world.settings, None))).post("/v1/features", json=body)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return [(row["values"], row["statuses"]) for row in answer.json()["results"]]


ASK = {"training": by_training, "batch": by_batch, "/v1/predict": by_predict, "/v1/features": by_features}
MODEL = ModelName("shop_dev", "one")


class Echo:
    """A model that says nothing, and whose inputs are what a reader gave."""

    task, threshold, classes = "regression", 0.5, ()  # type: ignore[var-annotated]

    def __init__(self, features: tuple[str, ...]) -> None:
        self.feature_names, self.feature_types = list(features), {}  # type: ignore[var-annotated]

    def predict_row(self, values: Any) -> np.ndarray:
        return np.zeros(1)

    def thresholds(self, frame: pl.DataFrame) -> float:
        return self.threshold

    def row_threshold(self, values: Any) -> float:
        return self.threshold

    def outputs(self, prediction: np.ndarray, threshold: Any = None) -> dict[str, np.ndarray]:
        return {"prediction": prediction}


def loaded(lookup: PinnedLookup) -> LoadedModel:
    metadata = ModelMetadata(
        task="regression",
        features=lookup.outputs,
        feature_types={},
        lookups=(lookup,),
        label=None,
        classes=[],
        threshold=0.5,
        pins={"spine": {"digest": "", "rows": 0, "schema": {}}, "lookups": [], "sources": {}},
        digest="",
    )
    return LoadedModel(MODEL, 1, "run", Echo(lookup.outputs), metadata)  # type: ignore[arg-type]


@dataclass
class One:
    """Champions of which there is one."""

    settings: Settings
    version: LoadedVersion | None

    def find(self, text: str) -> LoadedVersion | None:
        return self.version


class Log:
    """What a prediction log is handed."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def add(self, logged: Any) -> None:
        self.taken.append(logged)


# ---- the tests


def test_there_are_tables() -> None:
    assert {project for project, _ in TABLES} == {*project_names(Settings(projects=PROJECTS)), "shop"}


def readings() -> Iterator[Any]:
    """Every reader of every table, and every store. In another store than the first each table is read over HTTP in
    one of the two ways, in turn; every night in both."""
    for place, (project, name) in enumerate(TABLES):
        for reader, backend in READERS:
            turn = place + list(ASK).index(reader) + backends().index(backend)
            later = backend != backends()[0] and turn % 2 == 1
            yield pytest.param(project, name, reader, backend, marks=[pytest.mark.nightly] if later else [])


@pytest.mark.parametrize(("name", "table", "reader", "backend"), readings())
def test_every_reader_says_what_plain_loops_say(
    name: str, table: str, reader: str, backend: str, worlds: Callable[[str, str], World]
) -> None:
    world = worlds(name, backend)
    for case in cases(world, table):
        if reader == "/v1/features" and not case.by_reference:
            continue
        answers = ASK[reader](world, case)
        assert len(answers) == len(case.keys)
        for keys, answer, (values, statuses) in zip(case.keys, answers, case.expected, strict=True):
            where = (case.name, keys)
            if answer is None:
                assert set(statuses or ()) <= {Status.NOT_FOUND, Status.DEFAULTED}, where
                continue
            wanted = [as_json(v) for v in values] if reader == "/v1/features" else values
            assert_same(answer[0], wanted, where)
            assert answer[1] == statuses, where


@pytest.mark.parametrize(("name", "table"), TABLES)
@pytest.mark.parametrize("backend", backends())
def test_the_exact_index_has_every_column(
    backend: str, name: str, table: str, worlds: Callable[[str, str], World]
) -> None:
    """Every column of some rows under their whole keys."""
    world = worlds(name, backend)
    info = world.lake.info(world.project.table_name(table))
    rows = world.lake.read(info.name).sample(ENTITIES, seed=2, with_replacement=True)
    columns = [n for n in info.schema.names if n not in info.primary_key]
    reader = RowReader(world.store, KeySpace(str(info.name), "exact"), columns)
    keys = rows.select(info.primary_key).rows()
    found = reader.read_many(keys, microseconds(datetime.now(UTC)))
    for key, row, values in zip(keys, found, rows.select(columns).rows(), strict=True):
        assert_same(row.values, values, key)
    assert all(Status.NOT_FOUND not in r.statuses for r in found)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, pl.Series | tuple | list) else value


def as_json(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value


def assert_same(one: Any, other: Any, where: Any) -> None:
    """Values equal to the last bit, but for floats that a request has summed itself."""
    for a, b in zip(one, other, strict=True):
        if isinstance(a, float) and isinstance(b, float):
            assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b)), (a, b, where)
        else:
            assert a == b, where
