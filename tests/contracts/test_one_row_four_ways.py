"""One row of a model, asked for in four ways: training, batch scoring, by its whole key and as of its moment.

Each way gives the same inputs and the same prediction, to the last bit, for every shape of project: daily windows,
events with attributes of their own, one row an entity, a single series, a sequence. Sums are of eighths, so that no
order of adding them changes one.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.cli.example_request import example_call
from infra.cli.score import _typed
from infra.serve_application import champions_file
from karat.declare import DeclaredModel, Project, load_project
from karat.declare.models import Lookup
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound, InvalidRequest, NaiveTimestamp
from karat.features import compute_table
from karat.inference.batch import predict
from karat.inference.predictor import Predictor
from karat.lake import Lake
from karat.online import OnlineStore, open_store, publish_table
from karat.settings import Settings
from tests.profiles import examples

from .one_row import ask, moment, summing_model

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOURS = 24 * 8
FILES = {
    "project.yaml": "description: A plant\nowner: plant team\n",
    "gold.py": """
from karat.declare import Column, GoldTable

readings = GoldTable(
    name="readings", description="Readings", key=("num",), event_time="at",
    columns={
        "num": Column(dtype="int64"), "sensor": Column(dtype="string", nullable=False),
        "at": Column(dtype="timestamp", nullable=False), "value": Column(dtype="float64", minimum=-100, maximum=100),
    },
)
levels = GoldTable(
    name="levels", description="One reading of a sensor at a time", key=("sensor", "at"), event_time="at",
    columns={c: readings.columns[c] for c in ("sensor", "at", "value")},
)
sensors = GoldTable(
    name="sensors", description="Sensors", key=("sensor",),
    columns={"sensor": Column(dtype="string"), "height": Column(dtype="float64", minimum=0)},
)
""",
    "features/tables.py": """
from karat.declare import FeatureTable, aggregate, from_event

hourly = FeatureTable(
    name="hourly", description="A reading", source="readings", entity=("sensor",), grain="event", time="at",
    event_id="num", closed="right",
    features=(
        from_event("twice", "value * 2", description="Twice the reading"),
        aggregate("mean_3h", "mean", "value * 2", window="3h", description="Mean of three hours"),
        aggregate("sum_2d", "sum", "value", window="2d", description="Sum of two days"),
    ),
)
before = FeatureTable(
    name="before", description="What was before", source="readings", entity=("sensor",), grain="event", time="at",
    event_id="num", features=(aggregate("count_1d", "count", window="1d", description="Readings of a day before"),),
)
counted = FeatureTable(
    name="counted", description="Readings, itself among them", source="readings", entity=("sensor",), grain="event",
    time="at", event_id="num", closed="right",
    features=(
        from_event("hour", 'hour("at")', dtype="int64", description="Hour"),
        aggregate("count_2d", "count", window="2d", description="Readings of two days"),
    ),
)
level = FeatureTable(
    name="level", description="A reading, named by its time", source="levels", entity=("sensor",), grain="event",
    time="at", closed="right",
    features=(
        from_event("twice", "value * 2", description="Twice the reading"),
        from_event("hour", 'hour("at")', dtype="int64", description="Hour"),
        aggregate("sum_3h", "sum", "value", window="3h", description="Sum of three hours"),
        aggregate("times_1d", "count_distinct", '"at"', window="1d", description="Times of a day"),
    ),
)
daily = FeatureTable(
    name="daily", description="A day", source="readings", entity=("sensor",), time="day",
    features=(aggregate("sum_1d", "sum", "value", window="1d", description="Sum of the day"),),
)
rare = FeatureTable(
    name="rare", description="Days of high readings", source="readings", entity=("sensor",), time="day",
    where="value > 13", features=(aggregate("high_1d", "count", window="1d", description="High readings"),),
)
static = FeatureTable(
    name="static", description="A sensor", source="sensors", entity=("sensor",),
    features=(aggregate("height", "max", "height", description="Height"),),
)
""",
}
LABEL = "label: {name: y, source: readings, expression: avg(value), horizon: 1d}"
MODELS = {
    "days": f"{LABEL}\nspine: daily\nlookups: ['daily:*', 'rare:*', 'static:*']",
    "days_alone": f"{LABEL}\nspine: daily\nlookups: ['daily:*', 'rare:*']",
    "events": f"{LABEL}\nspine: hourly\nlookups: ['hourly:*', 'daily:*', 'static:*']",
    "events_alone": f"{LABEL}\nspine: hourly\nlookups: ['hourly:*', 'before:*', 'daily:*']",
    "counts": f"{LABEL}\nspine: counted\nlookups: ['counted:*', 'before:*', 'static:*']",
    "before_alone": f"{LABEL}\nspine: before\nlookups: ['before:*']",
    "levels": f"{LABEL}\nspine: level\nlookups: ['level:*', 'daily:*']",
    "entities": "label: {name: y, source: sensors, expression: height}\nlookups: ['static:*']",
}
#: By the copy of another: the kinds that read sequences take seconds to import.
SEQUENCES = (Lookup(table="hourly", sequence_length=4), Lookup(table="daily"))
NAMES = (*MODELS, "sequences")
AS_OF = ("days_alone", "events_alone", "before_alone", "levels", "sequences")
#: Model -> the gold table of its events, and the tables that are computed of it.
OF_EVENTS = {
    "events": ("readings", ("hourly", "daily")),
    "events_alone": ("readings", ("hourly", "before", "daily")),
    "counts": ("readings", ("counted", "before")),
    "before_alone": ("readings", ("before",)),
    "levels": ("levels", ("level",)),
}


@dataclass
class Plant:
    """The tables, computed and published."""

    project: Project
    settings: Settings
    lake: Lake
    store: OnlineStore

    def model(self, name: str) -> tuple[Predictor, pl.DataFrame]:
        """A fitted model of the declaration and its training data."""
        spec = self.project.models[name if name in MODELS else "events_alone"]
        if name == "sequences":
            spec = spec.model_copy(update={"lookups": SEQUENCES, "name": name})
        return summing_model(self.project, spec, self.lake, self.store)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    home = tmp_path_factory.mktemp("plant")
    models = {
        f"models/{n}.yaml": f"description: {n}\ntask: regression\nkind: linear_regression\n{t}\n"
        for n, t in MODELS.items()
    }
    for name, text in (FILES | models).items():
        path = home / "projects" / "plant" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    chosen = Settings(home=home, projects=home / "projects")
    project, lake = load_project("plant", chosen), Lake(chosen.lake, "dev")
    for name, frame in (
        ("readings", readings()),
        ("levels", readings().drop("num")),
        ("sensors", pl.DataFrame({"sensor": ["A", "B"], "height": [1.0, 2.5]})),
    ):
        gold = project.gold[name]
        lake.create(project.gold_name(name), gold.schema, primary_key=gold.key, timeseries=gold.event_time)
        lake.merge(project.gold_name(name), frame)
    store = open_store(chosen)
    for table in project.tables:
        compute_table(project, table, lake)
        publish_table(lake, store, project.table_name(table), projects=ProjectCatalog(None, project))
    publish_table(lake, store, project.table_name("hourly"), sequence_length=4)
    yield Plant(project, chosen, lake, store)
    store.close()


def readings() -> pl.DataFrame:
    """Of A a reading an hour until an hour ago, of B until three days ago; some hours are missing."""
    random, rows = np.random.default_rng(0), []
    for sensor, until in (("A", 1), ("B", 72)):
        for hours in range(until, HOURS):
            if random.random() < 0.9 or hours == until:
                rows.append((len(rows), sensor, NOW - timedelta(hours=hours), round(random.normal(10, 2) * 8) / 8))
    schema = {"num": pl.Int64, "sensor": pl.String, "at": pl.Datetime("us", "UTC"), "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize("name", NAMES)
def test_the_four_ways_agree(plant: Plant, name: str) -> None:
    predictor, data = plant.model(name)
    features, keys = predictor.features, [c for c in ("sensor", "day", "at", "num") if c in data.columns]
    trained = predictor.model.predict(data.select(features))
    scored = predict(plant.lake, predictor.loaded, data.select(keys))
    batch = scored["prediction"].to_list()
    assert batch == trained.tolist()
    places = [0, 1, 7, data.height // 2, *range(max(0, data.height - 6), data.height)]
    for place in sorted({p for p in places if p < data.height}):
        row = data.select(keys).row(place, named=True)
        whole = ask(predictor, keys={k: v for k, v in row.items() if k in predictor.key_columns})
        assert whole["predicted_value"] == batch[place], (name, row)
        assert whole["degraded"] == scored["degraded"][place]
        at = moment(row)
        if name in AS_OF:
            past = ask(predictor, keys={"sensor": row["sensor"]}, as_of_date=at)
            assert past["predicted_value"] == batch[place], (name, row)
            assert past["feature_statuses"] == whole["feature_statuses"]
    for (sensor,), rows in data.with_columns(batch=pl.Series(batch)).group_by("sensor"):
        order = [c for c in ("day", "at") if c in rows.columns]
        known = [r for r in (rows.sort(order) if order else rows).to_dicts() if (moment(r) or NOW) <= datetime.now(UTC)]
        assert ask(predictor, keys={"sensor": sensor})["predicted_value"] == known[-1]["batch"], (name, sensor)


@pytest.mark.parametrize("name", NAMES)
def test_a_csv_file_of_keys_is_scored_like_the_rows_themselves(plant: Plant, name: str) -> None:
    """Also where a lookup finds a row of a day by a time with its hour."""
    predictor, data = plant.model(name)
    keys = data.select(c for c in ("sensor", "day", "at", "num") if c in data.columns)
    texts = [[v.isoformat() if isinstance(v, date) else str(v) for v in row] for row in keys.rows()]
    typed = _typed(pl.DataFrame(texts, schema=keys.columns, orient="row"), predictor.loaded, Path("keys.csv"), None)
    assert predict(plant.lake, predictor.loaded, typed)["prediction"].to_list() == (
        predict(plant.lake, predictor.loaded, keys)["prediction"].to_list()
    )


@pytest.mark.parametrize("kind", ["text", "typed"])
@pytest.mark.parametrize("name", NAMES)
def test_naive_times_of_a_file_of_keys_are_of_the_zone_that_ingest_takes(plant: Plant, name: str, kind: str) -> None:
    predictor, data = plant.model(name)
    keys = data.select(c for c in ("sensor", "day", "at", "num") if c in data.columns)
    times = [c for c, t in keys.schema.items() if t == pl.Datetime("us", "UTC")]
    # Tokyo's clocks never change: each local time is one moment.
    local = keys.with_columns(pl.col(times).dt.convert_time_zone("Asia/Tokyo").dt.replace_time_zone(None))
    given = local.with_columns(pl.col(times).dt.strftime("%Y-%m-%d %H:%M:%S%.f")) if kind == "text" else local
    typed = _typed(given, predictor.loaded, Path("keys.csv"), "Asia/Tokyo")
    assert predict(plant.lake, predictor.loaded, typed)["prediction"].to_list() == (
        predict(plant.lake, predictor.loaded, keys)["prediction"].to_list()
    )
    if times:
        with pytest.raises(NaiveTimestamp, match="without a time zone") as error:
            _typed(given, predictor.loaded, Path("keys.csv"), None)
        assert "--timezone" in error.value.remedy


@pytest.mark.parametrize("name", NAMES)
def test_the_request_that_a_run_prints_gets_the_value_of_batch_scoring(
    plant: Plant, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its body is right for every shape, also after a way through JSON."""
    predictor, data = plant.model(name)
    keys = [c for c in ("sensor", "day", "at", "num") if c in data.columns]
    rows = data.select(keys).hstack(predict(plant.lake, predictor.loaded, data.select(keys)))
    spec = plant.project.models[name if name in MODELS else "events_alone"]
    model, table = DeclaredModel(plant.project, spec), plant.project.prediction_name(name)
    plant.lake.create(table, rows.to_arrow().schema, primary_key=model.spine.primary_key)
    plant.lake.overwrite(table, rows)
    monkeypatch.setattr(Project, "prediction_name", lambda *_: table)
    chosen = plant.settings
    assert example_call(chosen, plant.project, (spec.name,)) == ""  # no champion answers
    champions_file(chosen).parent.mkdir(exist_ok=True)
    champions_file(chosen).write_text(json.dumps({"champions": {str(model.name): 1}}))
    call = example_call(chosen, plant.project, ("days" if spec.name != "days" else "events", spec.name))
    champions_file(chosen).unlink()
    body = json.loads(shlex.split(call)[-1])
    order = [c for c in ("day", "at", "num") if c in keys]
    newest = (rows.sort(order) if order else rows).row(-1 if order else 0, named=True)
    assert ask(predictor, keys=body["keys"])["predicted_value"] == newest["prediction"], call


def test_a_new_event_gets_the_value_that_it_has_once_stored(plant: Plant) -> None:
    """The event counts in its own windows; without its columns, or with others of its features alone, it is refused."""
    predictor, data = plant.model("events_alone")
    for row in data.filter(sensor="A").sort("at").tail(3).to_dicts():
        value = row["twice"] / 2
        stored = ask(predictor, keys={k: row[k] for k in ("sensor", "at", "num")})
        again = ask(predictor, keys={k: row[k] for k in ("sensor", "at", "num")}, features={"value": value})
        assert again["predicted_value"] == stored["predicted_value"]
    at = NOW - timedelta(minutes=30)
    event = {"keys": {"sensor": "A", "at": at}, "features": {"value": 4.0}}
    new = ask(predictor, **event)
    table = plant.project.table_name("hourly")
    assert set(new["feature_statuses"].values()) == {"PRESENT"}
    for features in ({}, {"twice": 8.0}):
        with pytest.raises(InvalidRequest, match="can't be computed without its value"):
            ask(predictor, keys={"sensor": "A", "at": at}, features=features)
    with pytest.raises(InvalidRequest, match="can't be computed without its value"):
        ask(predictor, keys={"sensor": "A"}, features={"twice": 8.0})
    spine = pl.DataFrame(
        {"num": [10_000], "sensor": ["A"], "at": [at]}, schema_overrides={"at": pl.Datetime("us", "UTC")}
    )
    with stored_event(plant, "readings", spine, "hourly", "before"):
        assert plant.lake.scan(table).filter(num=10_000).collect().height == 1
        stored = predict(plant.lake, predictor.loaded, spine)["prediction"].to_list()
    assert stored == [new["predicted_value"]]


@settings(max_examples=examples(3), deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(OF_EVENTS)))
def test_a_first_event_gets_the_value_that_it_has_once_stored(plant: Plant, data: st.DataObject, name: str) -> None:
    """Of an entity that no store has seen: its own windows count it where declared, the others are empty, not unknown.

    Every event has an entity of its own, so that all are stored at once and none counts in the windows of another.
    """
    minutes = st.integers(1, 60 * 24 * 4)
    values = st.integers(-800, 800).map(lambda eighths: eighths / 8)
    events = data.draw(st.lists(st.tuples(minutes, values), min_size=1, max_size=8))
    source, tables = OF_EVENTS[name]
    predictor, _ = plant.model(name)
    rows, asked = [], []
    for place, (ago, value) in enumerate(events):
        keys = {"sensor": f"new {place}", "at": NOW - timedelta(minutes=ago), "num": 50_000 + place}
        keys = {k: v for k, v in keys.items() if k in predictor.key_columns}
        answer = ask(predictor, keys=keys, features={"value": value} if "value" in predictor.types else {})
        rows.append({**keys, "value": value})
        asked.append(answer)
    frame = pl.DataFrame(rows, schema_overrides={"at": pl.Datetime("us", "UTC")})
    with stored_event(plant, source, frame, *tables):
        stored = predict(plant.lake, predictor.loaded, frame.drop("value"))
    assert [a["predicted_value"] for a in asked] == stored["prediction"].to_list()
    assert [a["degraded"] for a in asked] == stored["degraded"].to_list()


@pytest.mark.parametrize("name", sorted(OF_EVENTS))
def test_a_first_event_without_time_is_of_now(plant: Plant, name: str) -> None:
    """A key alone is still unknown, and the error says how a new event is asked for."""
    predictor, _ = plant.model(name)
    with pytest.raises(EntityNotFound) as caught:
        ask(predictor, keys={"sensor": "nobody"})
    assert "name its time" in caught.value.remedy
    if "value" not in predictor.types:
        return
    answer = ask(predictor, keys={"sensor": "nobody"}, features={"value": 4.0})
    own = {f.name for t in OF_EVENTS[name][1] if t != "daily" for f in plant.project.tables[t].stored}
    statuses = answer["feature_statuses"]
    assert {statuses[f] for f in own} == {"PRESENT"}
    assert {statuses[f] for f in statuses.keys() - own} <= {"NOT_FOUND"}
    assert set(answer["missing_features"]) == statuses.keys() - own


def test_a_message_has_a_time_as_a_request_writes_it(plant: Plant) -> None:
    predictor, _ = plant.model("sequences")
    with pytest.raises(EntityNotFound) as caught:
        ask(predictor, keys={"sensor": "nobody", "at": NOW})
    assert caught.value.what.endswith(f"sensor='nobody', at={NOW.isoformat()}")


@contextmanager
def stored_event(plant: Plant, source: str, event: pl.DataFrame, *tables: str) -> Iterator[None]:
    """Events, by themselves with the value 4, in gold and in these tables; afterwards the plant is as it was."""
    gold = plant.project.gold_name(source)
    stored = event if "value" in event.columns else event.with_columns(value=pl.lit(4.0))
    if "num" in plant.project.gold[source].columns and "num" not in stored.columns:
        stored = stored.with_row_index("num", 50_000).with_columns(pl.col("num").cast(pl.Int64))
    event = stored
    plant.lake.merge(gold, stored)
    try:
        for name in tables:
            compute_table(plant.project, name, plant.lake)
        yield
    finally:
        plant.lake.delete(gold, event.select(plant.project.gold[source].key))
        for name in tables:
            compute_table(plant.project, name, plant.lake)


def test_a_new_event_is_as_old_as_itself(plant: Plant) -> None:
    """Not as the last event before it: its windows are not EXPIRED where the entity was idle for longer."""
    lookups = (Lookup(table="before", lookback_window=timedelta(days=1)), Lookup(table="daily"))
    spec = plant.project.models["events_alone"].model_copy(update={"lookups": lookups, "spine": "before"})
    predictor, _ = summing_model(plant.project, spec, plant.lake, plant.store)
    at = NOW - timedelta(hours=2)  # of B, whose last reading was three days ago
    asked = ask(predictor, keys={"sensor": "B", "at": at, "num": 20_000})
    assert asked["feature_statuses"]["count_1d"] == "PRESENT"
    row = {"num": [20_000], "sensor": ["B"], "at": [at]}
    spine = pl.DataFrame(row, schema_overrides={"at": pl.Datetime("us", "UTC")})
    with stored_event(plant, "readings", spine, "before"):
        stored = predict(plant.lake, predictor.loaded, spine)["prediction"].to_list()
    assert stored == [asked["predicted_value"]]


def test_a_new_event_that_its_time_names(plant: Plant) -> None:
    """Without an event id the event of that time is replaced by the request's, and a new one counts itself."""
    predictor, data = plant.model("levels")
    for row in data.filter(sensor="A").sort("at").tail(3).to_dicts():
        keys = {k: row[k] for k in ("sensor", "at")}
        stored = ask(predictor, keys=keys)
        assert (
            ask(predictor, keys=keys, features={"value": row["twice"] / 2})["feature_statuses"]
            == (stored["feature_statuses"])
        )
        assert (
            ask(predictor, keys=keys, features={"value": row["twice"] / 2})["predicted_value"]
            == (stored["predicted_value"])
        )
    at = NOW - timedelta(minutes=25)
    new = ask(predictor, keys={"sensor": "A", "at": at}, features={"value": 4.0})
    spine = pl.DataFrame({"sensor": ["A"], "at": [at]}, schema_overrides={"at": pl.Datetime("us", "UTC")})
    with stored_event(plant, "levels", spine, "level"):
        stored = predict(plant.lake, predictor.loaded, spine)["prediction"].to_list()
    assert stored == [new["predicted_value"]]


def test_an_event_is_named_by_its_id(plant: Plant) -> None:
    predictor, data = plant.model("events_alone")
    row = data.filter(sensor="B").row(5, named=True)
    whole = ask(predictor, keys={k: row[k] for k in ("sensor", "at", "num")})
    assert ask(predictor, keys={"sensor": "B", "num": row["num"]})["predicted_value"] == whole["predicted_value"]
    assert whole["feature_times"][str(plant.project.table_name("hourly"))] == row["at"].isoformat()


def test_a_past_date_of_a_table_without_time_is_refused(plant: Plant) -> None:
    predictor, _ = plant.model("days")
    with pytest.raises(InvalidRequest, match="static has no time and is younger than"):
        ask(predictor, keys={"sensor": "A"}, as_of_date=NOW - timedelta(days=3))


@pytest.mark.parametrize(
    ("name", "request_", "where", "reason"),
    [
        ("entities", {"features": {"height": -5.0}}, "features.height", "height is at least 0"),
        ("events", {"features": {"value": 500.0}}, "features.value", "value is between -100 and 100"),
        ("days_alone", {"features": {"high_1d": -1}}, "features.high_1d", "high_1d is at least 0"),
        ("entities", {"entity_type": "BANANA"}, "entity_type", "no entity 'BANANA'; its rows are by sensor"),
    ],
)
def test_what_the_contract_forbids_is_refused(
    plant: Plant, name: str, request_: dict[str, object], where: str, reason: str
) -> None:
    predictor, _ = plant.model(name)
    with pytest.raises(InvalidRequest, match=reason) as caught:
        ask(predictor, keys={"sensor": "A"}, **request_)
    assert caught.value.where == where
    assert ask(predictor, keys={"sensor": "A"}, entity_type="SENSOR")["degraded"] is False


@pytest.mark.parametrize(
    ("name", "column", "values", "reason"),
    [
        ("entities", "height", [1.0, -5.0], r"1 of 2 values .* height is at least 0; the first is -5\.0"),
        ("days_alone", "high_1d", [-1, -2], "2 of 2 values .* high_1d is at least 0"),
    ],
)
def test_batch_scoring_refuses_what_the_contract_forbids_too(
    plant: Plant, name: str, column: str, values: list[float], reason: str
) -> None:
    predictor, data = plant.model(name)
    frame, projects = data.head(2), ProjectCatalog(None, plant.project)
    with pytest.raises(InvalidRequest, match=reason):
        predict(plant.lake, predictor.loaded, frame.with_columns(pl.Series(column, values)), projects=projects)
    given = frame.with_columns(pl.Series(column, [3, None]))
    assert predict(plant.lake, predictor.loaded, given, projects=projects).height == 2
