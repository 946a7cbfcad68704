"""What docs/contract.md says of joins, on whole training sets through the lake, in several time zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from karat import FeatureLookup
from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.errors import EmptyTrainingSet, LabelOverlapsFeatures
from karat.lake import Lake
from karat.names import TableName
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.training_set import create_training_set
from tests.profiles import examples

DAY = timedelta(days=1)
NAME = TableName("demo_dev", "features", "visits")
START = datetime(2024, 2, 27, tzinfo=UTC)  # over a leap day, and a change of the clocks in Lord Howe's zone is near
shops, users = st.sampled_from(["a", "b"]), st.integers(0, 1)
days = st.integers(0, 5).map(lambda n: (START + n * DAY).date())
value = st.none() | st.integers(0, 9)


@st.composite
def cases(draw):
    stored = draw(
        st.lists(st.tuples(shops, users, days, value), min_size=1, max_size=15, unique_by=lambda r: (r[0], r[1], r[2]))
    )
    zone = draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/St_Johns", "Australia/Lord_Howe"]))
    moments = st.integers(0, 14).map(lambda n: START + n * timedelta(hours=12))
    row = st.tuples(st.none() | shops, st.none() | users, st.none() | moments)
    spine = draw(st.lists(row, min_size=1, max_size=10))
    features = pl.DataFrame(
        stored, schema={"shop": pl.String, "user": pl.Int64, "day": pl.Date, "x": pl.Int64}, orient="row"
    )
    asked = pl.DataFrame(
        spine, schema={"s": pl.String, "u": pl.Int64, "at": pl.Datetime("us", "UTC")}, orient="row"
    ).with_columns(pl.col("at").dt.convert_time_zone(zone), label=pl.int_range(pl.len()))
    return features, asked


def table(lake: Lake, rows: pl.DataFrame, lag: timedelta) -> None:
    lake.create(NAME, rows.to_arrow().schema, primary_key=["shop", "user", "day"], timeseries="day", grain=DAY, lag=lag)
    lake.overwrite(NAME, rows)


def fresh(row: dict, features: list[dict], lag: timedelta, lookback: timedelta | None) -> list[dict]:
    """The rows that a lookup may take for this spine row, the oldest first."""
    if None in (row["s"], row["u"], row["at"]):
        return []
    of = [(datetime(*f["day"].timetuple()[:3], tzinfo=UTC), f) for f in features]
    of = [(t, f) for t, f in of if (f["shop"], f["user"]) == (row["s"], row["u"]) and t + lag <= row["at"]]
    return [f for t, f in sorted(of, key=lambda o: o[0]) if lookback is None or t >= row["at"] - lookback]


def of_three(rows: list[dict]) -> list[float | None]:
    run: list[dict] = []
    for row in reversed(rows):
        if len(run) == 3 or (run and run[0]["day"] - row["day"] > DAY):
            break
        run.insert(0, row)
    return [None] * (3 - len(run)) + [None if r["x"] is None else float(r["x"]) for r in run]


spans = st.sampled_from([None, DAY, timedelta(days=9999)])  # the last is wider than the data


@settings(max_examples=examples(20), deadline=None)
@given(
    case=cases(), lag=st.sampled_from([timedelta(0), DAY]), lookback=st.sampled_from([None, DAY, timedelta(days=9999)])
)
def test_a_training_set_is_its_spine_and_what_plain_loops_find(tmp_path_factory, case, lag, lookback) -> None:
    features, spine = case
    lake = Lake(tmp_path_factory.mktemp("lake"), "dev")
    table(lake, features, lag)
    as_of = {"lookup_key": ["s", "u"], "timestamp_lookup_key": "at", "lookback_window": lookback}
    lookups = [
        FeatureLookup(str(NAME), "x", default_values={"x": -1}, **as_of),
        FeatureLookup(str(NAME), "x", sequence_length=3, rename_outputs={"x": "last"}, **as_of),
    ]
    found = [fresh(row, features.to_dicts(), lag, lookback) for row in spine.to_dicts()]
    if not any(found):
        with pytest.raises(EmptyTrainingSet, match="none of"):
            create_training_set(lake, spine, lookups, "label")
        return
    made = create_training_set(lake, spine, lookups, "label")
    expected = [rows[-1]["x"] if rows else -1 for rows in found]
    last = [of_three(rows) for rows in found]
    assert_frame_equal(made.data.select(spine.columns), spine)
    assert made.data["x"].to_list() == expected
    assert made.data["last"].to_list() == last
    assert create_training_set(lake, spine, lookups, "label").digest == made.digest


def test_a_null_key_keeps_its_row_and_is_counted(lake: Lake) -> None:
    rows = pl.DataFrame({"shop": ["a"], "user": [0], "day": [date(2024, 2, 29)], "x": [5]})
    table(lake, rows, timedelta(0))
    spine = pl.DataFrame(
        {"s": ["a", None, "a", "a"], "u": [0, 0, None, 0], "at": [*[date(2024, 3, 1)] * 3, None], "label": [1, 0, 1, 0]}
    )
    lookup = FeatureLookup(str(NAME), "x", lookup_key=["s", "u"], timestamp_lookup_key="at")
    made = create_training_set(lake, spine, [lookup], "label")
    assert made.data["x"].to_list() == [5, None, None, None]
    assert_frame_equal(made.data.select(spine.columns), spine)
    assert made.report["null_keys"].to_list() == [3]


def test_a_label_begins_where_the_features_end(shop_features: Project) -> None:
    spec = shop_features.models["next_week"]
    assert declared_lookups(DeclaredModel(shop_features, spec))[0].lookup_key == ["customer", "day"]
    early = spec.model_copy(update={"label": spec.label.model_copy(update={"offset": timedelta(0)})})
    with pytest.raises(LabelOverlapsFeatures, match="begins before the features"):
        declared_lookups(DeclaredModel(shop_features, early))


def test_of_events_of_one_second_the_highest_id_counts(lake: Lake) -> None:
    """A table with a row per event: as of a time its last event, and a sequence in the order of time and id."""
    name, at = TableName("demo_dev", "features", "payments"), START
    rows = pl.DataFrame(
        {
            "user": [1, 1, 1, 1, 2],
            "at": [at, at, at - DAY, at + DAY, at],
            "tx": [7, 9, 30, 1, 8],
            "amount": [70.0, 90.0, 30.0, 1.0, 80.0],
        }
    )
    lake.create(
        name,
        rows.to_arrow().schema,
        primary_key=["user", "at", "tx"],
        timeseries="at",
        grain="event",
        event_id="tx",
    )
    lake.overwrite(name, rows)
    spine = pl.DataFrame({"user": [1, 1, 2], "when": [at, at - timedelta(hours=1), at], "label": [1, 0, 1]})
    how = {"lookup_key": "user", "timestamp_lookup_key": "when"}
    lookups = [
        FeatureLookup(str(name), "amount", **how),
        FeatureLookup(str(name), "amount", sequence_length=3, rename_outputs={"amount": "last"}, **how),
    ]
    made = create_training_set(lake, spine, lookups, "label")
    assert made.data["amount"].to_list() == [90.0, 30.0, 80.0]
    assert made.data["last"].to_list() == [[30.0, 70.0, 90.0], [None, None, 30.0], [None, None, 80.0]]
    assert [(p.event_id, p.keys) for p in made.lookups] == [("tx", {"user": "user"})] * 2
