"""Random tables of events: a request gives what batch scoring gives, before the event is stored and after.

Windows that hold the event itself or do not, delays, conditions, lookback windows and default values. Sums are of
eighths, so that no order of adding them changes one.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from karat.declare import Project, load_project
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound
from karat.features import compute_table
from karat.inference.batch import predict
from karat.lake import Lake
from karat.online import open_store, publish_table
from karat.settings import Settings
from tests.profiles import examples

from .one_row import ask, summing_model

GOLD = """
from karat.declare import Column, GoldTable

readings = GoldTable(
    name="readings", description="Readings", key=("num",), event_time="at",
    columns={
        "num": Column(dtype="int64"), "sensor": Column(dtype="string", nullable=False),
        "at": Column(dtype="timestamp", nullable=False), "value": Column(dtype="float64"),
        "tag": Column(dtype="string"),
    },
)
"""
SCHEMA = {
    "num": pl.Int64,
    "sensor": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "value": pl.Float64,
    "tag": pl.String,
}
KEY = ["sensor", "at", "num"]
NEW = 10_000
WINDOWS = ("90m", "3h", "1d", "40h")
COLUMNS = {
    "count": "None",
    "sum": "'value'",
    "mean": "'value * 2'",
    "max": "'value'",
    "last": "'value'",
    "count_distinct": "'tag'",
}
MINUTES = st.integers(1, 60 * 24 * 4)
VALUES = st.one_of(st.none(), st.integers(-80, 80).map(lambda n: n / 8))


@st.composite
def feature_lines(draw: st.DrawFn) -> list[str]:
    """Features of an event: its own, of windows, and one derived from them."""
    lines = ["from_event('own', 'value * 2', description='own')"] if draw(st.booleans()) else []
    functions = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    for i, function in enumerate(functions):
        more = {"window": repr(draw(st.sampled_from(WINDOWS)))}
        if draw(st.booleans()):
            more["where"] = repr("value > 0")
        if draw(st.booleans()):
            more["closed"] = repr(draw(st.sampled_from(["left", "right"])))
        if draw(st.booleans()):
            more["delay"] = repr(draw(st.sampled_from(["0s", "45m", "1d"])))
        shown = ", ".join(f"{k}={v}" for k, v in more.items())
        lines.append(f"aggregate('w{i}', {function!r}, {COLUMNS[function]}, {shown}, description='w{i}')")
    return [*lines, "from_sql('both', 'w0 + 1', description='both')"]


@st.composite
def declarations(draw: st.DrawFn) -> dict[str, str]:
    """The files of a project with a table of events, a daily one, and a model that reads both."""
    closed, delay = draw(st.sampled_from(["left", "right"])), draw(st.sampled_from(["0s", "30m", "2h"]))
    lines = "".join(f"        {line},\n" for line in draw(feature_lines()))
    tables = f"""
from karat.declare import FeatureTable, aggregate, from_event, from_sql

hourly = FeatureTable(
    name="hourly", description="A reading", source="readings", entity=("sensor",), grain="event", time="at",
    event_id="num", closed={closed!r}, delay={delay!r},
    features=(
{lines}    ),
)
daily = FeatureTable(
    name="daily", description="A day", source="readings", entity=("sensor",), time="day",
    features=(aggregate("sum_1d", "sum", "value", window="1d", description="Sum of the day"),),
)
"""
    lookups = []
    for table, feature in (("hourly", "w0"), ("daily", "sum_1d")):
        more = f", lookback_window: {draw(st.sampled_from(['30h', '2d']))}" if draw(st.booleans()) else ""
        more += f", default_values: {{{feature}: 7}}" if draw(st.booleans()) else ""
        lookups.append(f"{{table: {table}{more}}}")
    model = f"""description: The next reading
task: regression
kind: linear_regression
label: {{name: y, source: readings, expression: avg(value), horizon: 1h}}
spine: hourly
missing_features: {{share: {draw(st.sampled_from(["0.2", "0.5"]))}}}
lookups: [{", ".join(lookups)}]
"""
    return {
        "project.yaml": "description: A plant\nowner: plant team\n",
        "gold.py": GOLD,
        "features/tables.py": tables,
        "models/next.yaml": model,
    }


@st.composite
def events(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Of two sensors, of the last four days; several may share a time."""
    row = st.tuples(st.sampled_from("AB"), MINUTES, VALUES, st.sampled_from(["x", "y", None]))
    return draw(st.lists(row, min_size=2, max_size=14))


def store_events(project: Project, lake: Lake, rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    lake.merge(project.gold_name("readings"), frame)
    for name in ("hourly", "daily"):
        compute_table(project, name, lake)


@hypothesis_settings(
    max_examples=examples(6),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink an example takes minutes
)
@given(files=declarations(), drawn=events(), held_out=st.integers(0, 13))
def test_a_request_is_the_row_that_is_stored(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], drawn: list[tuple[Any, ...]], held_out: int
) -> None:
    home = tmp_path_factory.mktemp("random")
    for name, text in files.items():
        path = home / "projects" / "plant" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = Settings(home=home, projects=home / "projects")
    project, lake = load_project("plant", settings), Lake(settings.lake, "dev")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    rows = [(i, sensor, now - timedelta(minutes=m), value, tag) for i, (sensor, m, value, tag) in enumerate(drawn)]
    new = (NEW, *rows.pop(held_out % len(rows))[1:])
    midnight = now.replace(hour=0, minute=0)  # something that every lookup finds
    rows += [(1000 + n, "A", midnight - timedelta(hours=h), 1.5, "x") for n, h in enumerate((108, 95))]
    gold = project.gold["readings"]
    lake.create(project.gold_name("readings"), gold.schema, primary_key=gold.key, timeseries=gold.event_time)
    store_events(project, lake, rows)
    with closing(open_store(settings)) as store:
        for name in ("hourly", "daily"):
            publish_table(lake, store, project.table_name(name), projects=ProjectCatalog(None, project))
        predictor, data = summing_model(project, project.models["next"], lake, store)
        stored = data.select(KEY).sort("at", "num")
        scored = predict(lake, predictor.loaded, stored)
        for key, prediction, degraded in zip(
            stored.rows(named=True), scored["prediction"], scored["degraded"], strict=True
        ):
            whole = ask(predictor, keys=key)
            assert (whole["predicted_value"], whole["degraded"]) == (prediction, degraded), key
            if stored.filter(sensor=key["sensor"], at=key["at"])["num"].max() == key["num"]:
                past = ask(predictor, keys={"sensor": key["sensor"]}, as_of_date=key["at"])
                assert past["predicted_value"] == prediction, key

        event = dict(zip(SCHEMA, new, strict=True))
        brought = {c: event[c] for c in ("value", "tag") if c in predictor.types}
        if not brought and not any(row[1] == event["sensor"] and row[2] <= event["at"] for row in rows):
            with pytest.raises(EntityNotFound):  # nothing says that this first event is one
                ask(predictor, keys={c: event[c] for c in KEY})
            return
        asked = ask(predictor, keys={c: event[c] for c in KEY}, features=brought)
        unnamed = ask(predictor, keys={c: event[c] for c in KEY[:2]}, features=brought) if brought else asked
        store_events(project, lake, [new])
        once_stored = predict(lake, predictor.loaded, pl.DataFrame([event], schema=SCHEMA).select(KEY))
        assert asked["predicted_value"] == once_stored["prediction"][0], event
        assert unnamed["predicted_value"] == once_stored["prediction"][0], event
        assert asked["degraded"] == once_stored["degraded"][0]
