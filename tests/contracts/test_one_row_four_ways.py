"""One row of a model, asked for in four ways: training, batch scoring, by its whole key and as of its moment.

Each way gives the same inputs and the same prediction, to the last bit, for every shape of project: daily windows,
events with attributes of their own, one row an entity, a single series, a sequence. Sums are of eighths, so that no
order of adding them changes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from karat.declare import DeclaredModel, Project, load_project
from karat.declare.models import Lookup
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import InvalidRequest
from karat.features import compute_table
from karat.inference.batch import predict
from karat.inference.prediction_log import PredictionAnswer
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.online import OnlineStore, open_store, publish_table
from karat.registry import LoadedModel
from karat.registry.metadata import ModelMetadata
from karat.settings import Settings
from karat.training_sets.lookups import declared_lookups, pin
from karat.training_sets.training_set import create_training_set

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
    "entities": "label: {name: y, source: sensors, expression: height}\nlookups: ['static:*']",
}
#: By the copy of another: the kinds that read sequences take seconds to import.
SEQUENCES = (Lookup(table="hourly", sequence_length=4), Lookup(table="daily"))
NAMES = (*MODELS, "sequences")
AS_OF = ("days_alone", "events_alone", "sequences")


@dataclass
class Plant:
    """The tables, computed and published."""

    project: Project
    lake: Lake
    store: OnlineStore

    def model(self, name: str) -> tuple[Predictor, pl.DataFrame]:
        """A fitted model of the declaration and its training data."""
        spec = self.project.models[name if name in MODELS else "events_alone"]
        if name == "sequences":
            spec = spec.model_copy(update={"lookups": SEQUENCES, "name": name})
        declared = DeclaredModel(self.project, spec)
        spine = self.lake.read(declared.spine_name).select(declared.spine_columns)
        asked = declared_lookups(declared)
        lookups = tuple(pin(lookup, self.lake, spine) for lookup in asked)
        data = create_training_set(self.lake, spine, asked, None).data
        features = [out for lookup in lookups for out in lookup.outputs]
        model = Summing(features)
        metadata = ModelMetadata(
            task="regression",
            features=tuple(features),
            feature_types={},
            lookups=lookups,
            label=None,
            classes=[],
            threshold=0.5,
            pins={
                "spine": {"digest": "", "rows": 0, "schema": {c: str(t) for c, t in spine.schema.items()}},
                "lookups": [],
                "sources": {},
            },
            digest="",
            declaration=spec.model_dump(mode="json"),
        )
        loaded = LoadedModel(self.project.model_name(name), 1, "run", model, metadata)  # type: ignore[arg-type]
        return Predictor(loaded, self.store, self.lake, projects=ProjectCatalog(None, self.project)), data


class Summing:
    """A model that tells any two inputs apart: the inputs times their places, a null as -1000."""

    task, threshold, classes = "regression", 0.5, ()  # type: ignore[var-annotated]

    def __init__(self, features: list[str]) -> None:
        self.feature_names, self.feature_types = features, dict.fromkeys(features, "float64")

    def predict_row(self, values: list[object]) -> np.ndarray:
        """The prediction of one row."""
        total = 0.0
        for place, value in enumerate(values, 1):
            parts = value if isinstance(value, list) else [value]
            total += sum(place * (i + 1) * (-1000.0 if v is None else float(v)) for i, v in enumerate(parts))
        return np.array([total])

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """The predictions of a frame."""
        rows = ([list(v) if isinstance(v, pl.Series | tuple | list) else v for v in row] for row in frame.rows())
        return np.concatenate([self.predict_row(row) for row in rows])

    def outputs(self, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of a prediction."""
        return {"prediction": prediction}


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
    settings = Settings(home=home, projects=home / "projects")
    project, lake = load_project("plant", settings), Lake(settings.lake, "dev")
    for name, frame in (
        ("readings", readings()),
        ("sensors", pl.DataFrame({"sensor": ["A", "B"], "height": [1.0, 2.5]})),
    ):
        gold = project.gold[name]
        lake.create(project.gold_name(name), gold.schema, primary_key=gold.key, timeseries=gold.event_time)
        lake.merge(project.gold_name(name), frame)
    store = open_store(settings)
    for table in project.tables:
        compute_table(project, table, lake)
        publish_table(lake, store, project.table_name(table), projects=ProjectCatalog(None, project))
    publish_table(lake, store, project.table_name("hourly"), sequence_length=4)
    yield Plant(project, lake, store)
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


def ask(predictor: Predictor, **request: object) -> PredictionAnswer:
    return predictor.predict(PredictionRequest(**request))  # type: ignore[arg-type]


def moment(row: dict[str, object]) -> datetime | None:
    """When the row is the newest one known: an event at once, a day when it is over."""
    day, at = row.get("day"), row.get("at")
    if isinstance(day, date):
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    assert at is None or isinstance(at, datetime)
    return at


@pytest.mark.parametrize("name", NAMES)
def test_the_four_ways_agree(plant: Plant, name: str) -> None:
    predictor, data = plant.model(name)
    features, keys = predictor.features, [c for c in ("sensor", "day", "at", "num") if c in data.columns]
    trained = predictor.model.predict(data.select(features))
    batch = predict(plant.lake, predictor.loaded, data.select(keys))["prediction"].to_list()
    assert batch == trained.tolist()
    places = [0, 1, 7, data.height // 2, *range(max(0, data.height - 6), data.height)]
    for place in sorted({p for p in places if p < data.height}):
        row = data.select(keys).row(place, named=True)
        whole = ask(predictor, keys={k: v for k, v in row.items() if k in predictor.key_columns})
        assert whole["predicted_value"] == batch[place], (name, row)
        at = moment(row)
        if name in AS_OF:
            past = ask(predictor, keys={"sensor": row["sensor"]}, as_of_date=at)
            assert past["predicted_value"] == batch[place], (name, row)
            assert past["feature_statuses"] == whole["feature_statuses"]
    for (sensor,), rows in data.with_columns(batch=pl.Series(batch)).group_by("sensor"):
        order = [c for c in ("day", "at") if c in rows.columns]
        known = [r for r in (rows.sort(order) if order else rows).to_dicts() if (moment(r) or NOW) <= datetime.now(UTC)]
        assert ask(predictor, keys={"sensor": sensor})["predicted_value"] == known[-1]["batch"], (name, sensor)


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
    gold, table = plant.project.gold_name("readings"), plant.project.table_name("hourly")
    assert set(new["feature_statuses"].values()) == {"PRESENT"}
    for features in ({}, {"twice": 8.0}):
        with pytest.raises(InvalidRequest, match="can't be computed without its value"):
            ask(predictor, keys={"sensor": "A", "at": at}, features=features)
    with pytest.raises(InvalidRequest, match="can't be computed without its value"):
        ask(predictor, keys={"sensor": "A"}, features={"twice": 8.0})
    spine = pl.DataFrame(
        {"num": [10_000], "sensor": ["A"], "at": [at]}, schema_overrides={"at": pl.Datetime("us", "UTC")}
    )
    version = plant.lake.info(gold).version
    plant.lake.merge(gold, spine.with_columns(value=pl.lit(4.0)))
    for name in ("hourly", "before"):
        compute_table(plant.project, name, plant.lake)
    assert plant.lake.info(gold).version > version
    assert plant.lake.scan(table).filter(num=10_000).collect().height == 1
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
